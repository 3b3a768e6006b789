"""``python -m bloodcell.transfer``: two laboratories that spell their classes differently."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json
from bloodcell.studies.transfer.asking import LABELLED, NOTHING, UNLABELLED, adapted_to, labelled
from bloodcell.studies.transfer.cutouts import cut_crops, read_crops
from bloodcell.studies.transfer.scale import red_cell_width
from bloodcell.studies.transfer.sets import FOLDS, find_sets
from bloodcell.studies.transfer.source_runs import source_sweeps, sources_of
from bloodcell.studies.transfer.stain import white_balanced
from bloodcell.tracking.predictions import read_predictions
from bloodcell.transfer import main
from tests.helpers import write_cells

Type = Callable[..., int]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two sets as typed; one has a class more."""
    root = tmp_path_factory.mktemp("sets")
    write_cells(root / "here", ("",), 8, ("EOSINOPHIL", "MONOCYTE"))
    write_cells(root / "there", ("",), 8, ("eos", "Monocytes", "blast"), seed=4)
    return [f"here={root / 'here'}", f"there={root / 'there'}"]


@pytest.fixture
def transfer(folders: list[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["transfer", *words])
        try:
            main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
        return 0

    return run


def test_classes_are_shared_whatever_they_are_called(folders: list[str]) -> None:
    here, there = find_sets(folders, None)
    assert here.index.classes == there.index.classes == ("eosinophil", "monocyte")
    assert len(here.index) == len(there.index) == 16
    assert there.said.startswith(
        "left out, as the net does not know them: blast (8 images); taken: Monocytes as monocyte, "
    )
    for one in (here, there):
        for fold in range(FOLDS):
            assert set(one.index.label[one.fold == fold].tolist()) == {0, 1}
            assert not set(one.index.group[one.fold == fold]) & set(one.index.group[one.fold != fold])
    assert len(find_sets(folders, 6)[0].index) == 12


def test_sources_are_each_set_and_all_but_one(folders: list[str], tmp_path: Path) -> None:
    third = f"third={folders[0].partition('=')[2]}"
    widths = dict.fromkeys(("here", "there", "third"), 12.0)
    cut_crops(find_sets([*folders, third], None), widths, tmp_path)
    sets = read_crops(tmp_path)
    names = [[one.name for one in source] for source in sources_of(sets)]
    assert names == [["here"], ["there"], ["third"], ["there", "third"], ["here", "third"], ["here", "there"]]
    todo = source_sweeps(sets, ["off"], [0, 1], tmp_path, tmp_path)
    assert len({one.name for one in todo}) == 6
    assert [one.epochs for one in todo[2:4]] == [938, 469]  # both see as many images
    lines = (tmp_path / "tables" / "here+there.csv").read_text().splitlines()[1:]
    stained = [one.fixed[-1] for one in source_sweeps(sets[:2], ["white", "varied"], [0], tmp_path, tmp_path)]
    assert stained == 2 * ["trainer.max_epochs=938", "++data.augment.stain=1.0"]
    split = {line.partition("/")[0]: line.rpartition(",")[2] for line in lines}
    assert split == {"here": "train", "there": "train", "third": "test"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "pbc"], "error: --set: expected two sets or more, each name once, got pbc"),
        (["--set", "pbc", "--set", "mine"], "error: BLOODCELL|error: data=pbc|error: --set mine"),
        (["--seeds", "a"], "error: --seeds: expected whole numbers"),
        (["--red-cell", "pbc"], "error: --red-cell pbc: expected NAME=PIXELS, as pbc=69"),
    ],
)
def test_what_cannot_be_is_one_line(
    transfer: Type, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.delenv("BLOODCELL_PBC", raising=False)
    assert transfer(*words) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith(tuple(said.split("|")))


def _smear(width: int, number: int = 9) -> np.ndarray:
    """Red cells of one width that lie alone, and one nucleus."""
    image = np.full((5 * width, 5 * width, 3), (230, 225, 220), np.uint8)
    y, x = np.mgrid[: 5 * width, : 5 * width]
    for cell in range(number):
        middle = width * (0.8 + 1.5 * (cell // 3)), width * (0.8 + 1.5 * (cell % 3))
        inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < (width / 2) ** 2
        image[inside] = (210, 160, 160) if cell else (90, 40, 150)
    return image


def test_red_cells_are_measured_and_nuclei_are_none() -> None:
    for width in (40, 90):
        assert red_cell_width([_smear(width)] * 4, "some") == pytest.approx(width, rel=0.06)
    with pytest.raises(InputError, match=r"--set some: expected 20 or more red cells .*--red-cell some=90"):
        red_cell_width([_smear(40)] * 2, "some")


def test_crops_are_at_one_scale_and_cut_once(folders: list[str], tmp_path: Path) -> None:
    sets = find_sets(folders, 5)
    widths = {"here": 12.0, "there": 6.0}
    cut_crops(sets, widths, tmp_path)
    here, there = read_crops(tmp_path)
    assert (here.red_cell, there.red_cell, len(here), len(there)) == (12, 6, 10, 10)
    assert not set(here.group) & set(there.group)
    assert [here.classes[label] in file for label, file in zip(here.label.tolist(), here.crop.tolist(), strict=True)]
    crops = sorted(tmp_path.rglob("*.jpg"))
    assert len(crops) == 2 * 20
    assert {Image.open(path).size for path in crops} == {(128, 128)}
    made = [path.stat().st_mtime_ns for path in crops]
    cut_crops(sets, widths, tmp_path)
    assert made == [path.stat().st_mtime_ns for path in crops]
    cut_crops(sets, widths | {"there": 8.0}, tmp_path)
    assert [path.stat().st_mtime_ns == before for path, before in zip(crops, made, strict=True)] == [
        "here" in path.parts for path in crops
    ]


def test_white_balance_makes_empty_slide_grey() -> None:
    background = np.array([250, 220, 200], np.uint8)
    crop = np.stack([background, background // 2])[None]
    assert white_balanced(crop, background).tolist() == [[[235, 235, 235], [118, 118, 118]]]


def test_a_net_takes_the_statistics_of_a_target_and_nothing_else() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2)).eval()
    images = 3 + torch.randn(10, 3, 4, 4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    adapted = adapted_to(net, images, torch.device("cpu"))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    changed = {name for name, value in adapted.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    seen = net[0](images).mean(dim=(0, 2, 3))
    assert torch.allclose(adapted.state_dict()["1.running_mean"], seen, atol=1e-5)


@pytest.mark.slow
def test_all_ways_once_and_again_from_the_predictions(
    transfer: Type, folders: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--set",
        folders[0],
        "--set",
        folders[1],
        "--red-cell",
        "here=12",
        "--red-cell",
        "there=12",
        "--seeds=0",
        "--stain=varied",
    )
    tiny = ("model=small_cnn", "model.widths=[4,8,8,8]", "data.image_size=[32,32]", "data.batch_size=8")
    out = tmp_path / "out"
    assert transfer(*words, *tiny, "trainer.max_epochs=2", f"--out={out}") == 0, capfd.readouterr().err
    content = read_json(out / "transfer.json")
    looks = [NOTHING, UNLABELLED, *map(labelled, LABELLED)]
    expected = [
        (source, target, "varied", look) for source, target in (("here", "there"), ("there", "here")) for look in looks
    ]
    rows = content["rows"]
    assert [(row["source"], row["target"], row["stain"], row["looked_at"]) for row in rows] == expected
    for row in rows:
        low, high = row["balanced_acc"]["interval"]
        assert 0 <= low <= row["balanced_acc"]["mean"] <= high <= 1
        assert row["images"] == 16
    # Without a look at the target, the answers are what the run itself has measured, but for mirrored views.
    first = read_predictions(out / content["predictions"][0]["file"])
    assert sorted(set(first.view.tolist())) == [f"fold {number}" for number in range(FOLDS)]
    assert content["predictions"][2]["labelled"] == {"eosinophil": 5, "monocyte": 5}
    assert content["predictions"][4]["labelled"] == {"eosinophil": 6, "monocyte": 6}
    table = (out / "transfer.md").read_text()
    assert "**here to there**" in table
    assert "100 labelled cells a class (eosinophil 6, monocyte 6)" in table
    kept = read_json(out / "trainings.json")["trainings"]
    assert len(kept) == 2
    assert {one["manifest"]["data"]["images"]["test"] for one in kept} == {16}
    made = {path: path.stat().st_mtime_ns for path in [*out.rglob("last.ckpt"), *out.glob("predictions/*")]}
    lost = [path for path in made if "there-to-here" in path.name]
    answers = {path: path.read_bytes() for path in lost}
    assert len(answers) == len(looks)
    lost[0].unlink()
    cut = f"--crops={out / 'crops'}"  # the images are not asked for where the crops are
    assert transfer(cut, "--seeds=0", "--stain=varied", *tiny, "trainer.max_epochs=2", f"--out={out}") == 0
    changed = {path for path in made if path.stat().st_mtime_ns != made[path]}
    assert changed == set(lost)  # nothing is trained or asked a second time but for the net whose answers are lost
    assert {path: path.read_bytes() for path in lost} == answers
    for noted in out.glob("asked/here*.json"):
        noted.write_text(noted.read_text().replace('"weights": "', '"weights": "0'))
    assert transfer(cut, "--seeds=0", "--stain=varied", *tiny, "trainer.max_epochs=2", f"--out={out}") == 0
    asked = {path for path in made if path.stat().st_mtime_ns != made[path]} - changed
    assert asked == {path for path in made if "here-to-there" in path.name}  # answers of other weights are not taken
    before = (out / "transfer.json").read_bytes()
    assert transfer("--again", str(out)) == 0
    assert (out / "transfer.json").read_bytes() == before
    assert (out / "transfer.png").stat().st_size > 10_000
    assert transfer(cut, "optim.lr=1", f"--out={out}") == 1
    assert "expected a folder of trainings with the same overrides" in capfd.readouterr().err
