"""``python -m bloodcell.demo``: one page that answers in a browser as bloodcell.predict does, and sends nothing."""

import base64
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bloodcell
from bloodcell.common.env import cache_dir
from bloodcell.data.crops.cut import Crop
from bloodcell.data.crops.finder import FINDER_VERSION
from bloodcell.model.attribution import attribute
from bloodcell.prediction.nearest import nearest_cells
from bloodcell.prediction.page import build, runtime
from bloodcell.prediction.predictor import Predictor
from tests.helpers import write_cells

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PACKAGE = cache_dir() / f"onnxruntime-web-{runtime.VERSION}.tgz"  # as it is outside of the tests
Ask = Callable[..., list[Any]]

QUESTION = """
const net = await ready, found = [];
for (const [name, text] of Object.entries(QUESTIONS)) {
  const file = new File([bytesOf(text)], name), cells = await answersFor(net, await decoded(file));
  if (EXPLAIN && cells.length) cells[0].heat = [...(await occlusion(net, cells[0])).heat];
  found.push({ learnt: await isLearnt(net, file), cells: cells.map(({ images, view, ...cell }) => cell) });
}
await fetch("ADDRESS", { method: "POST", mode: "no-cors", body: JSON.stringify(found) });
"""


def test_the_finder_of_the_page_is_that_of_python() -> None:
    assert f'const FINDER_VERSION = "{FINDER_VERSION}";' in (build.HERE / "finder.js").read_text()


def test_a_runtime_of_other_bytes_is_refused(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.demo import main

    Path("other.tgz").write_bytes(b"something else")
    monkeypatch.setattr(sys, "argv", ["demo", "--model", str(net), "--runtime", "other.tgz"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "other.tgz: expected onnxruntime-web" in said
    assert "--runtime FILE" in said
    assert not list(Path.cwd().rglob("*.html"))


@pytest.fixture(scope="module")
def page(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the tiny net, by the command; around a package that is no runtime where none is at hand."""
    from bloodcell.demo import main

    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("page") / "demo.html"
    with pytest.MonkeyPatch.context() as patch:
        package = _package(out.with_name("empty.tgz"), patch)
        patch.setattr(sys, "argv", ["demo", "--model", str(net), "--out", str(out), "--runtime", package])
        main()
    return out


def _package(empty: Path, patch: pytest.MonkeyPatch) -> str:
    if PACKAGE.is_file():
        return str(PACKAGE)
    with tarfile.open(empty, "w:gz") as package:
        for name in (runtime.SCRIPT, runtime.BINARY):
            package.addfile(tarfile.TarInfo(f"package/dist/{name}"), io.BytesIO())
    patch.setattr(runtime, "SHA512", hashlib.sha512(empty.read_bytes()).hexdigest())
    return str(empty)


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_may_reach_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "connect-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.slow
def test_a_strangers_words_are_shown_and_not_obeyed(net: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    trained, words = bloodcell.load(net).trained, "</script><script>alert(1)</script><img src=x>"
    about = {"not_for": [words], "metrics": {"balanced_acc": words}}
    classes = (words, *trained.card.classes[1:])
    hostile = replace(trained, card=replace(trained.card, classes=classes, about=about), name=words)
    build.write_page(hostile, runtime.Runtime(b"", b""), None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script") == 7
    assert "<img" not in text


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """``ask(page, pictures)`` opens the page from disk in a real browser, and gives what it answers."""
    if BROWSER is None or not PACKAGE.is_file():
        pytest.skip("no Chromium, or make demo was never typed")
    answered: list[bytes] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answered.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *args: object) -> None:
            pass

    done = threading.Event()
    server = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(page: Path, pictures: Sequence[Path], explain: bool = False) -> list[Any]:
        address = f"http://127.0.0.1:{server.server_port}/"
        questions = {str(path): base64.b64encode(path.read_bytes()).decode() for path in pictures}
        question = QUESTION.replace("ADDRESS", address).replace("QUESTIONS", json.dumps(questions))
        question = question.replace("EXPLAIN", json.dumps(explain))
        text = page.read_text(encoding="utf-8").replace("connect-src 'none'", f"connect-src {address}")
        asking = tmp_path / "asking.html"
        asking.write_text(text.replace("</script>\n</body>", f"{question}</script>\n</body>"), encoding="utf-8")
        command = [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'browser'}",
        ]
        browser = subprocess.Popen(
            [*command, "--remote-debugging-port=0", asking.as_uri()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        try:
            assert done.wait(240), "the browser does not answer"
        finally:
            browser.terminate()
            browser.wait(20)
        found: list[Any] = json.loads(answered[0])
        return found

    yield run
    server.shutdown()
    server.server_close()


def check_answers(net: Predictor, pictures: Sequence[Path], found: Sequence[Any]) -> None:
    """Hold what a browser answered to what Python does."""
    for path, one in zip(pictures, found, strict=True):
        expected = [cell for cell in net.predict(path) if cell.name]
        assert [tuple(cell["box"]) for cell in one["cells"]] == [cell.box for cell in expected], path
        for cell, own in zip(one["cells"], expected, strict=True):
            assert cell["shares"] == pytest.approx([*own.probabilities.values()], abs=1e-4), path
            assert cell["doubt"] == pytest.approx(own.doubt, abs=1e-3), path
            assert (cell["name"], cell["reason"], cell["possible"] or []) == (own.name, own.reason, list(own.possible))
        assert one["learnt"] == bool(expected and expected[0].learnt)


@pytest.mark.slow
def test_a_browser_answers_as_python_does(page: Path, net: Path, ask: Ask, tmp_path: Path) -> None:
    opened = bloodcell.load(net)
    pictures = sorted(write_cells(tmp_path / "new", ("",), 2, seed=9).rglob("*.png"))
    found = ask(page, pictures, explain=True)
    check_answers(opened, pictures, found)
    view = Image.open(pictures[0]).convert("RGB")
    pixels = opened.squeezed(view)[None]
    shares, features = opened.trained.outputs(pixels)
    near = nearest_cells(opened.trained, features, 1)[0][0]
    first = found[0]["cells"][0]
    assert (first["nearest"][0]["photograph"], first["nearest"][0]["label"]) == near[:2]
    pytest.importorskip("captum")
    images = opened.trained.images(pixels)
    heat = attribute(opened.trained.net, images, torch.tensor([int(shares.argmax())]), "occlusion")[0] / 3
    assert np.array(first["heat"]).reshape(heat.shape) == pytest.approx(heat.numpy(), abs=1e-4)


@pytest.mark.real
@pytest.mark.slow
def test_a_browser_finds_the_same_cells_in_photographs(
    real: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bloodcell.data.kaggle import find_images, originals_of
    from bloodcell.demo import main

    monkeypatch.setattr(sys, "argv", ["demo", "--out", "demo.html", "--runtime", str(PACKAGE)])
    main()
    images = find_images(real)
    photographs = sorted(originals_of(images).glob("*.jpg"))[::30]
    pictures = [*photographs, *sorted((images / "TEST_SIMPLE").rglob("*.jpeg"))[::20]]
    for path in photographs[:3]:  # and what is cut out already
        pictures.append(tmp_path / f"{path.stem}.png")
        Image.fromarray(Crop("found", 280).cut(np.asarray(Image.open(path)), (np.nan, np.nan))).save(pictures[-1])
    check_answers(bloodcell.load(), pictures, ask(Path("demo.html"), pictures))
