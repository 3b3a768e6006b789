"""The recovery of the lineage from end to end on a small tree whose answers are known; and more of the tables."""

import csv
import gzip
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json
from bloodcell.data.kaggle import CLASSES, Known, find_images, originals_of
from bloodcell.data.lineage_table import (
    IMAGES,
    MICROGRAPHS,
    PAIRS,
    SHIPPED,
    Lineage,
    across_split,
    check_hashes,
    read_lineage,
    write_lineage,
)
from bloodcell.data.micrographs import Cell, as_copy, open_micrograph
from bloodcell.data.synthetic import render_smear
from bloodcell.lineage import main
from bloodcell.studies.lineage.outcome import lineage_outcome
from bloodcell.studies.lineage.recover import recover

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Command = Callable[..., tuple[int, list[str]]]
WIDTH, HEIGHT = 320, 240


def raw(name: str) -> list[dict[str, str]]:
    """A shipped table, read without the package."""
    content = (SHIPPED / name).read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    return list(csv.DictReader(text.decode().splitlines()))


# The shipped tables, row by row.


def test_each_image_has_the_class_side_and_group_of_its_photograph() -> None:
    rows, photographs = raw(IMAGES), {row["micrograph"]: row for row in raw(MICROGRAPHS)}
    assert len(rows) == len({row["file"] for row in rows}) == 12515
    assert len({row["sha256"] for row in rows}) == 12513, "two pictures stand twice in TEST_SIMPLE"
    members = Counter(row["group"] for row in photographs.values())
    for row in rows:
        subset, label, _ = row["file"].split("/")
        photograph = photographs[row["micrograph"]]
        assert (row["subset"], row["label"]) == (subset, label)
        # Neither was used to place it.
        assert photograph["label"] == label, row["file"]
        assert photograph["subset"] == subset.removesuffix("_SIMPLE"), row["file"]
        assert photograph["group"] == row["group"], row["file"]
        # Only a photograph of the same field comes near.
        alone = members[row["group"]] == 1
        assert int(row["inliers"]) > (2 if alone else 1) * int(row["runner_up"]), row["file"]


def test_copies_of_a_photograph_are_as_many_as_of_others_of_its_class() -> None:
    copies = Counter(
        (row["subset"], row["label"], row["micrograph"]) for row in raw(IMAGES) if row["subset"] != "TEST_SIMPLE"
    )
    assert len(copies) == 348
    for subset in ("TRAIN", "TEST"):
        for label in CLASSES:
            numbers = [number for key, number in copies.items() if key[:2] == (subset, label)]
            # The authors drew whole shuffled epochs of a class: each photograph nearly equally often.
            assert max(numbers) - min(numbers) <= 5, (subset, label, sorted(numbers))


def test_two_pictures_of_test_simple_stand_twice_and_two_photographs_are_absent() -> None:
    rows = {row["file"]: row["micrograph"] for row in raw(IMAGES) if row["subset"] == "TEST_SIMPLE"}
    twice = {name: {file.split("/")[-1] for file, one in rows.items() if one == name} for name in ("93", "139")}
    assert twice == {"93": {"_0_5239.jpeg", "_4_8814.jpeg"}, "139": {"_1_5031.jpeg", "_6_7701.jpeg"}}
    tested = {row["micrograph"] for row in raw(MICROGRAPHS) if row["subset"] == "TEST"}
    assert tested - set(rows.values()) == {"62", "95"}


def test_pairs_across_the_split_are_told_from_the_others() -> None:
    side = {row["micrograph"]: row["subset"] for row in raw(MICROGRAPHS)}
    ends = [(row["first"], row["second"]) for row in raw(PAIRS)]
    crossing = [pair for pair in ends if {side[name] for name in pair} == {"TRAIN", "TEST"}]
    assert [(pair.first, pair.second) for pair in across_split(read_lineage())] == crossing


@pytest.mark.parametrize("name", [IMAGES, MICROGRAPHS, PAIRS])
@pytest.mark.parametrize("content", [None, b"", b"file,label\n", "a short row"])
def test_what_is_no_such_table_is_named(tmp_path: Path, name: str, content: bytes | str | None) -> None:
    write_lineage(Lineage({}, {}, []), tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    elif isinstance(content, str):
        text = (",".join(raw(name)[0]) + "\nonly one cell\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="make lineage") as raised:
        read_lineage(tmp_path)
    assert name in str(raised.value)


def test_hashes_tell_another_image_and_leave_unknown_files_alone() -> None:
    lineage = read_lineage()
    good = {file: row.sha256 for file, row in list(lineage.images.items())[:5]}
    check_hashes({**good, "TRAIN/MONOCYTE/mine.jpeg": "0" * 64}, lineage)
    first, second = sorted(good)[1:3]
    with pytest.raises(InputError, match=r"and 1 more that differ") as raised:
        check_hashes({**good, second: "0" * 64, first: "1" * 64}, lineage)
    assert str(raised.value).startswith(first)


# A tree that is made here, so that every answer is known.


@dataclass(frozen=True)
class Tree:
    """Where the images are, and for each: its photograph and the map; for each photograph the cell's box."""

    images: Path
    origin: Mapping[str, str]
    matrix: Mapping[str, Matrix]
    box: Mapping[str, Cell]


def keras_map(rng: np.random.Generator, flips: tuple[bool, bool]) -> Matrix:
    """Rotation within 20 degrees, shear within 0.2, shifts within a tenth, flips; about the centre, 3x3."""
    turn, shear = np.radians(rng.uniform(-20, 20)), rng.uniform(-0.2, 0.2)
    shift = rng.uniform(-0.1, 0.1, 2) * (WIDTH, HEIGHT)
    rotation = np.array([(np.cos(turn), -np.sin(turn), 0), (np.sin(turn), np.cos(turn), 0), (0, 0, 1)])
    sheared = np.array([(1, -np.sin(shear), 0), (0, np.cos(shear), 0), (0, 0, 1)])
    flipped = np.diag([-1.0 if flips[0] else 1.0, -1.0 if flips[1] else 1.0, 1.0])
    centre, back = np.eye(3), np.eye(3)
    centre[:2, 2], back[:2, 2] = (-WIDTH / 2, -HEIGHT / 2), (WIDTH / 2 + shift[0], HEIGHT / 2 + shift[1])
    return np.asarray(back @ flipped @ rotation @ sheared @ centre)


def warp(photograph: Pixels, matrix: Matrix) -> Image.Image:
    """Pillow's map with black fill: none of the code under test."""
    inverse = np.linalg.inv(matrix)
    return Image.fromarray(photograph).transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, inverse[:2].ravel().tolist(), Image.Resampling.BILINEAR
    )


def jpeg(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=75)


def annotation(cell: Cell) -> str:
    edges = (cell.x - cell.width / 2, cell.y - cell.height / 2, cell.x + cell.width / 2, cell.y + cell.height / 2)
    keys = ("xmin", "ymin", "xmax", "ymax")
    boxes = [(1, 1, 630, 470), [round(2 * edge) for edge in edges]]
    written = ["".join(f"<{k}>{v}</{k}>" for k, v in zip(keys, box, strict=True)) for box in boxes]
    objects = zip(("RBC", "WBC"), written, strict=True)
    inner = "".join(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>" for name, box in objects)
    return f"<annotation>{inner}</annotation>"


def big_picture(seed: int) -> Pixels:
    """Four smears side by side, 480x640: crops of it overlap as photographs of one slide do."""
    rng = np.random.default_rng(seed)
    four = [render_smear(name, rng) for name in CLASSES]
    return np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])


def crop(picture: Pixels, x: int, y: int) -> Pixels:
    return picture[y : y + HEIGHT, x : x + WIDTH]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Twelve photographs of 640x480, two of them of one field, two copies of each, and two strangers."""
    pytest.importorskip("cv2")
    root = tmp_path_factory.mktemp("kaggle")
    images = root / "dataset2-master" / "dataset2-master" / "images"
    folder, notes = originals_of(images), originals_of(images).parent / "Annotations"
    notes.mkdir(parents=True)
    rng = np.random.default_rng(5)
    slide = big_picture(1)
    photographs = {str(n): render_smear(CLASSES[n % 4], np.random.default_rng(n)) for n in range(12)}
    photographs |= {"3": crop(slide, 100, 60), "7": crop(slide, 170, 100)}
    box = {
        name: Cell(*rng.uniform((60, 60), (260, 180)).round(), *rng.uniform(50, 90, 2).round()) for name in photographs
    }
    for name, pixels in photographs.items():
        large = Image.fromarray(pixels).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
        jpeg(large, folder / f"BloodImage_{int(name):05d}.jpg")
        (notes / f"BloodImage_{int(name):05d}.xml").write_text(annotation(box[name]))
    (notes / "BloodImage_00005.xml").unlink()
    lines = [f"{n},{name},{CLASSES[int(name) % 4]}" for n, name in enumerate(photographs)]
    (folder.parent / "labels.csv").write_text("\n".join([",Image,Category", *lines]) + "\n")
    train, _ = train_test_split(list(photographs), test_size=0.2, random_state=10)
    origin, matrix = {}, {}
    for number, name in enumerate([*photographs] * 2):
        side = "TRAIN" if name in train else "TEST"
        file = f"{side}/{CLASSES[int(name) % 4]}/_{number}_{rng.integers(10000)}.jpeg"
        origin[file], matrix[file] = name, keras_map(rng, ((number // 2) % 2 == 0, (number // 4) % 2 == 0))
        small = np.asarray(as_copy(Image.open(folder / f"BloodImage_{int(name):05d}.jpg")))
        jpeg(warp(small, matrix[file]), images / file)
    # One that was made from a photograph which is not there, and one without any structure.
    strangers = ("TRAIN/MONOCYTE/_90_1.jpeg", "TRAIN/MONOCYTE/_91_2.jpeg")
    jpeg(
        warp(render_smear("MONOCYTE", np.random.default_rng(99)), keras_map(rng, (True, False))), images / strangers[0]
    )
    jpeg(Image.new("RGB", (WIDTH, HEIGHT), (200, 180, 190)), images / strangers[1])
    return Tree(images, origin | dict.fromkeys(strangers, ""), matrix, box)


@pytest.fixture(scope="module")
def recovered(tree: Tree) -> Lineage:
    return recover(tree.images, workers=2)


def test_copies_are_placed_in_their_photograph_and_strangers_nowhere(tree: Tree, recovered: Lineage) -> None:
    assert {file: row.micrograph for file, row in recovered.images.items()} == tree.origin
    mirrored = Counter(bool(np.linalg.det(one) < 0) for one in tree.matrix.values())
    assert min(mirrored.values()) >= 8, "both mirror images are tried"


def test_white_cells_are_where_the_map_put_them(tree: Tree, recovered: Lineage) -> None:
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101)), axis=-1).reshape(-1, 2)
    grid = grid[(grid**2).sum(axis=1) <= 1]
    shares = []
    for file, matrix in tree.matrix.items():
        row, box = recovered.images[file], tree.box[tree.origin[file]]
        if tree.origin[file] == "5":
            assert np.isnan([row.cell_x, row.cell_y, row.cell_inside]).all(), "no box, no place"
            continue
        x, y, _ = matrix @ (box.x, box.y, 1)
        assert np.hypot(row.cell_x - x, row.cell_y - y) < 2, file
        there = np.c_[grid * (box.width / 2, box.height / 2) + (box.x, box.y), np.ones(len(grid))] @ matrix[:2].T
        inside = ((there >= 0) & (there <= (WIDTH, HEIGHT))).all(axis=1).mean()
        assert row.cell_inside == pytest.approx(inside, abs=0.03), file
        shares.append(inside)
    assert min(shares) < 0.99, "some cell is cut by the frame"


def test_photographs_of_one_field_are_one_group(recovered: Lineage) -> None:
    (pair,) = recovered.pairs
    # In pixels of the 640x480 originals, twice those of the crops.
    assert (pair.first, pair.second) == ("3", "7")
    assert (pair.shift_x, pair.shift_y) == pytest.approx((140, 80), abs=2)
    assert pair.overlap == pytest.approx(250 * 200 / (WIDTH * HEIGHT), abs=0.02)
    groups = {name: row.group for name, row in recovered.micrographs.items()}
    assert groups == {**{name: name for name in groups}, "7": "3"}
    assert {row.group for row in recovered.images.values() if row.micrograph == "7"} == {"3"}


def test_the_recovery_is_checked_by_what_it_was_not_told(recovered: Lineage, tmp_path: Path) -> None:
    said = lineage_outcome(recovered)
    assert said["other class than its micrograph"] == said["other side than its micrograph"] == []
    assert (said["images"], said["placed"]) == (26, 24)
    # A copy that lies on the wrong side shows.
    row = next(row for row in recovered.images.values() if row.subset == "TEST")
    moved = row._replace(file=row.file.replace("TEST", "TRAIN"), subset="TRAIN")
    told = lineage_outcome(Lineage({**recovered.images, moved.file: moved}, recovered.micrographs, recovered.pairs))
    assert told["other side than its micrograph"] == [moved.file]
    write_lineage(recovered, tmp_path)
    again = read_lineage(tmp_path)
    assert [one[:8] for one in again.images.values()] == [one[:8] for one in recovered.images.values()]
    assert again.pairs[0][:4] == recovered.pairs[0][:4]


def test_an_image_whose_photograph_is_not_in_the_atlas_is_not_placed(tree: Tree) -> None:
    from bloodcell.studies.lineage.registration import Atlas

    files = sorted(originals_of(tree.images).glob("*.jpg"))
    photographs = {str(int(path.stem[-5:])): open_micrograph(path) for path in files}
    # Neither 3 nor 4 is there; 7 shows more than half of what 3 shows.
    with ThreadPoolExecutor(1) as pool:
        atlas = Atlas({name: one for name, one in photographs.items() if name not in ("3", "4")}, pool)
    asked = [file for file, name in tree.origin.items() if name in ("2", "3", "4")]
    found = {file: atlas.place(np.asarray(Image.open(tree.images / file))).name for file in asked}
    assert found == {file: "2" if tree.origin[file] == "2" else "" for file in asked}


def test_several_slides_are_kept_apart() -> None:
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage import overlaps as fields

    # (slide, x, y): within a slide two overlap by a fifth of the frame or hardly at all.
    places = [(0, 0, 0), (0, 160, 80), (0, 310, 235), (1, 0, 0), (1, 8, 120), (1, 320, 240), (2, 100, 100)]
    slides, rng = [big_picture(10 + slide) for slide in range(3)], np.random.default_rng(0)
    photographs = [
        (crop(slides[slide], x, y) + rng.normal(0, 3, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        for slide, x, y in places
    ]
    wanted = {}
    for one, (slide, x, y) in enumerate(places):
        for other, (slide_there, x_there, y_there) in enumerate(places[one + 1 :], start=one + 1):
            share = max(0, WIDTH - abs(x - x_there)) * max(0, HEIGHT - abs(y - y_there)) / (WIDTH * HEIGHT)
            if slide == slide_there and share > 0.05:
                wanted[one, other] = (x_there - x, y_there - y)
    found = fields.overlaps(photographs, 1, lambda: None)
    assert {(pair.first, pair.second): (pair.x, pair.y) for pair in found} == wanted
    assert len(wanted) == 3
    assert all(pair.votes and pair.evidence for pair in found), "each search finds them by itself"


def test_a_tenth_of_the_frame_in_common_is_found_where_no_points_agree() -> None:
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage import overlaps as fields

    slides, rng = [big_picture(10 + slide) for slide in range(4)], np.random.default_rng(0)
    places = [(0, 20, 10), (0, 220, 186), *((slide, x, y) for slide in (1, 2, 3) for x, y in ((0, 0), (310, 230)))]
    photographs = [
        (crop(slides[slide], x, y) + rng.normal(0, 3, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        for slide, x, y in places
    ]
    (pair,) = fields.overlaps(photographs, 1, lambda: None)
    assert (pair.first, pair.second, pair.x, pair.y, pair.votes) == (0, 1, 200, 176, 0)
    assert pair.share == pytest.approx(0.1)
    assert pair.evidence > fields.LEAST_EVIDENCE


@pytest.mark.real
def test_the_weakest_real_overlap_is_told_from_the_strongest_chance_one(real: Path) -> None:
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage.correlation import best_shift, spectrum
    from bloodcell.studies.lineage.overlaps import LEAST_EVIDENCE
    from bloodcell.studies.lineage.registration import smooth_grey

    folder = originals_of(find_images(real))

    def evidence(first: int, second: int) -> float:
        files = (folder / f"BloodImage_{number:05d}.jpg" for number in (first, second))
        one, other = (spectrum(smooth_grey(open_micrograph(file)).astype(np.float32)) for file in files)
        return best_shift(one, other)[0]

    for first, second in ((147, 148), (311, 312)):
        (pair,) = [one for one in read_lineage().pairs if one.first == str(first)]
        assert evidence(first, second) == pytest.approx(pair.evidence, rel=1e-3)
        assert pair.evidence > 1.05 * LEAST_EVIDENCE
    assert evidence(167, 174) < 0.95 * LEAST_EVIDENCE


# The command.


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Types ``python -m bloodcell.lineage``; the exit code and the lines of stdout and stderr come back."""

    def run(*words: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["lineage", *words])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capfd.readouterr()
        return code, [*out.strip().splitlines(), *err.strip().splitlines()]

    return run


@pytest.mark.slow
@pytest.mark.real
def test_check_says_that_all_images_are_those_of_the_table(real: Path, command: Command) -> None:
    assert command(str(real), "--check") == (0, ["all 12,515 images and 367 originals are those of the lineage tables"])
    assert not Path("runs").exists()


def test_the_command_writes_tables_pictures_and_what_they_say(
    tree: Tree, recovered: Lineage, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the tree as if it were complete; it is recovered by the fixture."""
    counts = Counter("/".join(file.split("/")[:2]) for file in tree.origin)
    monkeypatch.setattr("bloodcell.studies.lineage.run.KAGGLE", Known(counts, 12, ""))
    monkeypatch.setattr("bloodcell.studies.lineage.run.recover", lambda *_: recovered)
    code, said = command(str(tree.images.parents[2]), "--out", "tables")
    assert code == 0, said
    assert said[-1] == "tables: tables"
    assert set(read_lineage(tmp_path / "tables").images) == set(tree.origin)
    assert read_json(tmp_path / "tables" / "lineage.json")["placed"] == 24
    assert read_json(tmp_path / "tables" / "manifest.json")["wall_seconds"] >= 0
    widths = {path.stem: Image.open(path).size for path in (tmp_path / "tables").glob("*.jpg")}
    assert set(widths) == {"pairs", "pairs_across_split", "pairs_with_two_labels"}
    next(iter((tree.images / "TRAIN" / "MONOCYTE").iterdir())).rename(tmp_path / "gone.jpeg")
    try:
        code, (line,) = command(str(tree.images.parents[2]), "--out", "tables")
    finally:
        lost = next(file for file in tree.origin if not (tree.images / file).exists())
        (tmp_path / "gone.jpeg").rename(tree.images / lost)
    assert code == 1
    assert f"expected {counts['TRAIN/MONOCYTE']} images in TRAIN/MONOCYTE, got" in line
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "expected OpenCV, got none" in command(str(tree.images.parents[2]))[1][0]


def test_the_command_needs_the_real_set(command: Command) -> None:
    for words in ([], ["--check"]):
        code, (line,) = command(*words)
        assert code == 1
        assert "BLOODCELL_DATA" in line


@pytest.mark.slow
@pytest.mark.real
def test_real_images_of_every_class_are_found_again_from_their_pixels(real: Path) -> None:
    """Among forty photographs: theirs, and all around the pair with two labels."""
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage.registration import Atlas

    lineage, images = read_lineage(), find_images(real)
    rows = list(lineage.images.values())[::1043]
    assert {row.label for row in rows} == set(CLASSES)
    assert {row.subset for row in rows} >= {"TRAIN", "TEST"}
    theirs = {row.micrograph for row in rows}
    others = [name for name in lineage.micrographs if int(name) in range(200, 240) and name not in theirs]
    names = [*theirs, *others[: 40 - len(theirs)]]
    files = {name: originals_of(images) / f"BloodImage_{int(name):05d}.jpg" for name in names}
    with ThreadPoolExecutor(2) as pool:
        atlas = Atlas(dict(zip(files, pool.map(open_micrograph, files.values()), strict=True)), pool)
        found = list(pool.map(lambda row: atlas.place(np.asarray(Image.open(images / row.file))), rows))
    assert [one.name for one in found] == [row.micrograph for row in rows]
