import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from bloodcell import download as typed
from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.data import fetch as download
from bloodcell.data import kaggle
from bloodcell.data.fetch import check, fetch, fingerprint
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.index import index_folders
from bloodcell.data.kaggle import CLASSES, IMAGES, KAGGLE, ORIGINALS, SUBSETS, Known, find_images, locate

BY_HAND = (kaggle.PAGE, "make data FROM=/path/to/archive.zip", "BLOODCELL_DATA=/path/to/folder")


def write_kaggle_tree(root: Path) -> Path:
    """Kaggle's tree with two images of each class and three micrographs."""
    for i, folder in enumerate(f"{IMAGES}/{subset}/{name}" for subset in SUBSETS for name in CLASSES):
        (root / folder).mkdir(parents=True)
        for j in range(2):
            Image.new("RGB", (8, 6), (20 * i, 90 * j, 200)).save(root / folder / f"_{j}_{i}.jpeg")
    (root / ORIGINALS).mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (16, 12), (i, i, i)).save(root / ORIGINALS / f"BloodImage_{i:05}.jpg")
    (root / ORIGINALS).parent.joinpath("labels.csv").write_text("Image,Category\n")
    return root


def zip_of(folder: Path, archive: Path, below: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, below + path.relative_to(folder).as_posix())
    return archive


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody writes to it."""
    return write_kaggle_tree(tmp_path_factory.mktemp("kaggle"))


@pytest.fixture(scope="session")
def tiny(tree: Path) -> Known:
    files = [path for path in (tree / IMAGES).rglob("*.jpeg")]
    counts = {f"{subset}/{name}": 2 for subset in SUBSETS for name in CLASSES}
    return Known(counts=counts, originals=3, fingerprint=fingerprint(files, tree / IMAGES))


@pytest.fixture
def archive(tree: Path, tmp_path: Path) -> Path:
    return zip_of(tree, tmp_path / "archive.zip")


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no credentials of the user, no cache of kagglehub, and nothing beyond this machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(download, "ENDPOINT", f"http://127.0.0.1:{closed_port()}")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def left_in_cache() -> list[str]:
    return sorted(path.name for path in cache_dir().iterdir()) if cache_dir().is_dir() else []


def assert_by_hand(error: pytest.ExceptionInfo[InputError]) -> None:
    line = str(error.value)
    assert "\n" not in line
    for words in BY_HAND:
        assert words in line


# --- where the data are ---


@pytest.mark.parametrize("below", ["", "dataset2-master", "dataset2-master/dataset2-master", IMAGES])
def test_every_folder_down_to_images_is_taken(tree: Path, below: str) -> None:
    assert find_images(tree / below) == tree / IMAGES


def test_find_images_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"TRAIN and TEST there, in images, .*dataset2-master/images") as error:
        find_images(tmp_path)
    assert_by_hand(error)
    with pytest.raises(InputError, match="no such folder"):
        find_images(tmp_path / "absent")


def test_cache_dir_follows_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("BLOODCELL_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg/bloodcell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / "home/.cache/bloodcell"


def test_locate_prefers_the_argument_then_the_variable_then_the_cache(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate(None) is None
    cached = cache_dir() / "blood-cells"
    shutil.copytree(tree, cached)
    assert locate(None) == cached
    named = shutil.copytree(tree, tmp_path / "named")
    monkeypatch.setenv("BLOODCELL_DATA", str(named))
    assert locate(None) == locate("") == named
    assert locate(tree) == tree


def test_a_named_place_without_the_data_is_never_skipped(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tree, cache_dir() / "blood-cells")
    with pytest.raises(InputError, match=r"^data\.root=/nowhere: expected .* got no such folder"):
        locate("/nowhere")
    monkeypatch.setenv("BLOODCELL_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"^BLOODCELL_DATA="):
        locate(None)


def test_a_dangling_link_in_the_cache_is_an_error(tmp_path: Path) -> None:
    cache_dir().mkdir()
    (cache_dir() / "blood-cells").symlink_to(tmp_path / "unplugged")
    with pytest.raises(InputError, match=r"a link to .*unplugged, which is gone"):
        locate(None)


# --- counts and fingerprint ---


def test_a_complete_set_passes(tree: Path, tiny: Known) -> None:
    report = check(tree / IMAGES, tiny)
    assert (report.counts, report.originals, report.as_known) == (tiny.counts, 3, True)


def test_a_missing_image_is_counted(tree: Path, tiny: Known, tmp_path: Path) -> None:
    root = shutil.copytree(tree, tmp_path / "short")
    (root / IMAGES / "TEST/MONOCYTE/_0_6.jpeg").unlink()
    with pytest.raises(InputError, match="expected 2 images in TEST/MONOCYTE, got 1;"):
        check(root / IMAGES, tiny)


def test_a_missing_class_is_named(tree: Path, tiny: Known, tmp_path: Path) -> None:
    root = shutil.copytree(tree, tmp_path / "short")
    shutil.rmtree(root / IMAGES / "TRAIN/LYMPHOCYTE")
    with pytest.raises(InputError, match="expected 2 images in TRAIN/LYMPHOCYTE, got no such folder;"):
        check(root / IMAGES, tiny)


def test_some_missing_originals_are_an_error_but_none_at_all_is_not(tree: Path, tiny: Known, tmp_path: Path) -> None:
    root = shutil.copytree(tree, tmp_path / "short")
    next((root / ORIGINALS).iterdir()).unlink()
    with pytest.raises(InputError, match="expected 3 images in JPEGImages, got 2;"):
        check(root / IMAGES, tiny)
    shutil.rmtree(root / "dataset-master")
    assert check(root / IMAGES, tiny).originals is None


def test_other_bytes_are_reported_and_companions_of_macos_ignored(tree: Path, tiny: Known, tmp_path: Path) -> None:
    root = shutil.copytree(tree, tmp_path / "other")
    folder = root / IMAGES / "TRAIN/LYMPHOCYTE"
    (folder / "._0_1.jpeg").write_bytes(b"finder")
    assert check(root / IMAGES, tiny).as_known
    (folder / "_0_1.jpeg").write_bytes((folder / "_1_1.jpeg").read_bytes())
    assert not check(root / IMAGES, tiny).as_known


def test_fingerprint_depends_on_names_and_bytes_alone(tree: Path, tmp_path: Path) -> None:
    index = index_folders(tree / IMAGES, ["TRAIN", "TEST"])
    names, known = index.file.tolist(), fingerprint_of(index.digests)
    lines = (f"{name} {hashlib.sha256((index.root / name).read_bytes()).hexdigest()}\n" for name in sorted(names))
    assert known == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert fingerprint(names, index.root) == known
    assert fingerprint([index.root / name for name in reversed(names)], index.root) == known
    assert fingerprint(names[1:], index.root) != known
    with pytest.raises(InputError, match=r"absent\.jpeg: expected a file that can be read"):
        fingerprint(["absent.jpeg"], tmp_path)


def test_the_known_counts_are_kaggles() -> None:
    totals = [
        sum(number for folder, number in KAGGLE.counts.items() if folder.startswith(f"{subset}/")) for subset in SUBSETS
    ]
    assert totals == [9957, 2487, 71]


@pytest.mark.real
def test_the_real_set_is_as_known(real: Path) -> None:
    report = check(find_images(real))
    assert report.as_known
    assert report.originals in (None, 367)


# --- archives and folders ---


@pytest.mark.parametrize("below", ["", "blood-cells/"])
def test_an_archive_is_extracted_into_the_cache(tree: Path, tiny: Known, tmp_path: Path, below: str) -> None:
    path = fetch(zip_of(tree, tmp_path / "any name.zip", below), 1, tiny)
    assert path == cache_dir() / "blood-cells" == locate(None)
    assert check(find_images(path), tiny).as_known
    assert left_in_cache() == ["blood-cells"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # for others as readable as any folder


def test_an_archive_of_the_images_alone_is_enough(tree: Path, tiny: Known, tmp_path: Path) -> None:
    path = fetch(zip_of(tree / IMAGES, tmp_path / "images.zip"), 1, tiny)
    assert check(find_images(path), tiny).as_known


def test_a_set_in_the_cache_is_kept(archive: Path, tiny: Known) -> None:
    path = fetch(archive, 1, tiny)
    (path / "mine").touch()
    assert fetch(archive, 1, tiny) == fetch(None, 1, tiny) == path
    assert fetch(path / "dataset2-master", 1, tiny) == path
    assert (path / "mine").exists()


def test_an_incomplete_set_in_the_cache_is_an_error(archive: Path, tiny: Known) -> None:
    path = fetch(archive, 1, tiny)
    shutil.rmtree(path / IMAGES / "TEST/NEUTROPHIL")
    with pytest.raises(InputError, match=r"remove it to get the set anew.*TEST/NEUTROPHIL"):
        fetch(archive, 1, tiny)


def test_a_folder_is_linked_not_copied_and_an_archive_replaces_the_link(
    tree: Path, archive: Path, tiny: Known, tmp_path: Path
) -> None:
    path = fetch(tree, 1, tiny)
    assert path.is_symlink()
    assert path.resolve() == tree.resolve()
    again = shutil.copytree(tree, tmp_path / "again")
    assert fetch(again / IMAGES, 1, tiny).resolve() == (again / IMAGES).resolve()
    assert not fetch(archive, 1, tiny).is_symlink()
    assert (again / IMAGES).is_dir()
    assert left_in_cache() == ["blood-cells"]


def test_a_folder_with_other_counts_is_refused(tree: Path, tiny: Known) -> None:
    known = replace(tiny, counts={**tiny.counts, "TRAIN/MONOCYTE": 5})
    with pytest.raises(InputError, match="expected 5 images in TRAIN/MONOCYTE, got 2;"):
        fetch(tree, 1, known)
    assert left_in_cache() == []


def test_a_truncated_archive_leaves_nothing(archive: Path, tiny: Known) -> None:
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"archive\.zip: expected a complete \.zip archive.*BadZipFile") as error:
        fetch(archive, 1, tiny)
    assert_by_hand(error)
    assert left_in_cache() == []


def test_a_damaged_archive_leaves_nothing(archive: Path, tiny: Known) -> None:
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        last = [member for member in opened.infolist() if member.file_size][-3]
    start = last.header_offset + 30 + len(last.filename)
    content[start : start + 40] = bytes(40)
    archive.write_bytes(content)
    with pytest.raises(InputError, match="expected a complete"):
        fetch(archive, 1, tiny)
    assert left_in_cache() == []


def test_ctrl_c_leaves_nothing(archive: Path, tiny: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = zipfile.ZipFile.extract

    def interrupted(self: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
        if "TEST" in member.filename:
            raise KeyboardInterrupt
        return extract(self, member, path)

    monkeypatch.setattr(zipfile.ZipFile, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, 1, tiny)
    assert left_in_cache() == []


def link_entry() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("dataset2-master/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    [zipfile.ZipInfo(name) for name in ("../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt")]
    + [link_entry()],
    ids=lambda entry: str(entry.filename),
)
def test_entries_that_lead_elsewhere_are_refused(
    archive: Path, tiny: Known, tmp_path: Path, entry: zipfile.ZipInfo
) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="do not trust this archive"):
        fetch(archive, 1, tiny)
    assert left_in_cache() == []
    assert list(tmp_path.rglob("evil*")) == []


def test_zip_bombs_are_refused(archive: Path, tiny: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"at most 50000 and 1000 bytes, got .* files of"):
        fetch(archive, 1, tiny)
    monkeypatch.setattr(download, "MAX_FILES", 3)
    with pytest.raises(InputError, match="at most 3 and"):
        fetch(archive, 1, tiny)


def test_two_at_once_are_fine(archive: Path, tiny: Known) -> None:
    failures: list[BaseException] = []

    def one() -> None:
        try:
            assert check(find_images(fetch(archive, 1, tiny)), tiny).as_known
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert left_in_cache() == ["blood-cells"]


def test_a_cache_that_cannot_be_written_is_named(
    archive: Path, tiny: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"a folder to write to.*BLOODCELL_CACHE"):
        fetch(archive, 1, tiny)


# --- the download ---


@dataclass
class FakeKaggle:
    """What the server that stands for Kaggle's answers, and what it was asked."""

    content: bytes = b""
    status: int = 200
    promised: int = 0
    silent_after: int | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKaggle]:
    """A server that kagglehub takes for Kaggle: the same paths, JSON, redirect and archive."""
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    fake = FakeKaggle()
    released = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.reply(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.asked.append(f"{self.path} {json.dumps(body)}")
            if fake.status != 200:
                self.reply(fake.status)
            elif self.path.endswith("/GetDataset"):
                self.reply(200, json.dumps({"currentVersionNumber": 6}).encode(), "application/json")
            else:
                self.reply(302, location=f"{fake.url}/archive.zip")

        def do_GET(self) -> None:
            fake.asked.append(self.path)
            if fake.silent_after is None:
                self.reply(200, fake.content, "application/zip")
                return
            self.reply(200, fake.content[: fake.silent_after], "application/zip", len(fake.content))
            self.wfile.flush()
            released.wait(10)

        def reply(
            self, status: int, body: bytes = b"", kind: str = "text/html", length: int = 0, location: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or fake.promised or len(body)) if body else "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(download, "ENDPOINT", fake.url)
    # kagglehub has no variable for the address, only for the choice of one from this table.
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, fake.url)
    yield fake
    released.set()
    server.shutdown()
    server.server_close()


def test_kagglehub_downloads_into_the_cache(
    kaggle: FakeKaggle, archive: Path, tiny: Known, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kaggle.content = archive.read_bytes()
    path = fetch(None, 5, tiny)
    assert check(find_images(path), tiny).as_known
    assert left_in_cache() == ["blood-cells"]
    assert not (tmp_path / "home/.cache/kagglehub").exists()
    assert "KAGGLEHUB_CACHE" not in os.environ
    handle = '"ownerSlug": "paultimothymooney", "datasetSlug": "blood-cells"'
    assert kaggle.asked == [
        f"/api/v1/datasets.DatasetApiService/GetDataset {{{handle}}}",
        f'/api/v1/datasets.DatasetApiService/DownloadDataset {{{handle}, "datasetVersionNumber": 6}}',
        "/archive.zip",
    ]
    assert "100%" in capfd.readouterr().err  # the bar of kagglehub itself


@pytest.mark.parametrize(("status", "words"), [(404, "404 Client Error"), (500, "500 Server Error"), (403, "403")])
def test_errors_of_the_server_are_one_line(kaggle: FakeKaggle, tiny: Known, status: int, words: str) -> None:
    kaggle.status = status
    with pytest.raises(InputError, match=words) as error:
        fetch(None, 5, tiny)
    assert_by_hand(error)
    assert left_in_cache() == []


def test_a_download_that_is_cut_off_leaves_nothing(kaggle: FakeKaggle, archive: Path, tiny: Known) -> None:
    kaggle.content = archive.read_bytes()[:4000]
    kaggle.promised = 9000
    with pytest.raises(InputError, match=r"IncompleteRead") as error:
        fetch(None, 5, tiny)
    assert_by_hand(error)
    assert left_in_cache() == []


def test_a_download_that_is_no_archive_leaves_nothing(kaggle: FakeKaggle, archive: Path, tiny: Known) -> None:
    kaggle.content = archive.read_bytes()[:4000]
    with pytest.raises(InputError, match="Unsupported archive type") as error:
        fetch(None, 5, tiny)
    assert_by_hand(error)
    assert left_in_cache() == []


def test_a_download_of_too_few_images_leaves_nothing(
    kaggle: FakeKaggle, tree: Path, tiny: Known, tmp_path: Path
) -> None:
    root = shutil.copytree(tree, tmp_path / "short")
    (root / IMAGES / "TRAIN/MONOCYTE/_0_2.jpeg").unlink()
    kaggle.content = zip_of(root, tmp_path / "short.zip").read_bytes()
    with pytest.raises(InputError, match="expected 2 images in TRAIN/MONOCYTE, got 1"):
        fetch(None, 5, tiny)
    assert left_in_cache() == []


def test_a_download_that_stalls_ends(
    kaggle: FakeKaggle, archive: Path, tiny: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_S", 0.4)
    kaggle.content, kaggle.silent_after = archive.read_bytes(), 2000
    started = time.monotonic()
    with pytest.raises(InputError, match=r"[Tt]ime") as error:
        fetch(None, 5, tiny)
    assert time.monotonic() - started < 4
    assert_by_hand(error)
    assert left_in_cache() == []


def test_offline_is_one_line_at_once(tiny: Known) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="Connection refused") as error:
        fetch(None, 5, tiny)
    assert time.monotonic() - started < 3
    assert_by_hand(error)
    assert left_in_cache() == []


def test_a_server_that_never_answers_costs_no_more_than_the_timeout(
    tiny: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(download, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(InputError, match=r"[Tt]ime") as error:
            fetch(None, 0.5, tiny)
    assert time.monotonic() - started < 2
    assert_by_hand(error)


def test_a_name_that_takes_for_ever_to_look_up_costs_no_more_than_the_timeout(
    tiny: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(5) and [])
    started = time.monotonic()
    with pytest.raises(InputError, match=r"no answer within 0\.3 s"):
        fetch(None, 0.3, tiny)
    assert time.monotonic() - started < 2
    released.set()


def test_without_kagglehub_the_user_is_told(tiny: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match=r"expected the package kagglehub.*make setup") as error:
        fetch(None, 1, tiny)
    assert_by_hand(error)


# --- the command ---


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tiny: Known) -> Callable[..., None]:
    """``command("archive.zip")`` types ``python -m bloodcell.download archive.zip`` for the tiny set."""
    get_and_check = typed._get_and_check

    def run(*words: str, known: Known = tiny) -> None:
        monkeypatch.setattr(sys, "argv", ["download", *words])
        monkeypatch.setattr(typed, "_get_and_check", lambda source, timeout_s: get_and_check(source, timeout_s, known))
        typed.main()

    return run


def test_the_command_shows_counts_and_what_to_type_next(
    command: Callable[..., None], archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(str(archive))
    said = capsys.readouterr().out
    for words in (
        "EOSINOPHIL",
        "TEST_SIMPLE",
        "as expected",
        str(cache_dir()),
        'make train ARGS="data=blood_cells"',
    ):
        assert words in said
    assert "note:" not in said
    command(str(archive))
    assert "was not used" in capsys.readouterr().out


def test_another_fingerprint_is_a_note(
    command: Callable[..., None],
    tree: Path,
    tiny: Known,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BLOODCELL_DATA", str(tree))
    command(known=replace(tiny, fingerprint="0" * 64))
    said = capsys.readouterr().out
    assert "note: the counts are right" in said
    assert left_in_cache() == []


def test_a_variable_that_wins_over_the_cache_is_pointed_out(
    command: Callable[..., None],
    tree: Path,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BLOODCELL_DATA", str(tree))
    command(str(archive))
    assert f"note: training reads BLOODCELL_DATA={tree}" in capsys.readouterr().out


def test_the_command_fails_in_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bloodcell.download", str(tmp_path / "absent.zip")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "no such" in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_useless_timeout_is_refused(
    command: Callable[..., None], seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command("--timeout", seconds)
    assert "--timeout" in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(typed, "fetch", interrupt)
    with pytest.raises(SystemExit, match="130"):
        command()
    assert "interrupted" in capsys.readouterr().err
