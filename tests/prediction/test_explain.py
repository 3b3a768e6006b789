"""``python -m bloodcell.explain``: maps show where an answer comes from, and a blind net shows something else."""

import sys
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import bloodcell
from bloodcell.common.files import read_csv, read_json
from bloodcell.data.lineage_table import read_lineage
from bloodcell.model.attribution import METHODS, Method, attribute, randomised
from bloodcell.prediction.board import EACH
from bloodcell.prediction.nearest import nearest_cells, photograph_of
from tests.helpers import CLASSES

pytest.importorskip("captum")


class Corner(nn.Module):
    """Two classes; the second is the redness of the upper left quarter, and of nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.zeros_(self.look.weight).data[0, 0] = 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = torch.zeros_like(images)
        corner[:, :, :16, :16] = images[:, :, :16, :16]
        red = self.look(corner).mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(red), red], dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_shows_where_an_answer_comes_from(method: Method) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = attribute(Corner(), images, torch.tensor([1, 1]), method)
    assert maps.shape == (2, 32, 32)
    assert bool((maps >= 0).all())
    assert float(maps[:, :16, :16].sum() / maps.sum()) > 0.9  # occluding patches reach over the edge


def test_a_randomised_net_has_the_same_layers_and_other_weights() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    state = torch.random.get_rng_state()
    other = randomised(net)
    assert torch.equal(state, torch.random.get_rng_state())
    assert other.state_dict().keys() == net.state_dict().keys()
    assert not torch.equal(other[0].weight, net[0].weight)
    assert torch.equal(other[0].weight, randomised(net)[0].weight)


def test_the_command_writes_a_picture_and_the_numbers_of_each_cell(
    net: Path, cells: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.explain import main

    folder = cells / "val" / "EOSINOPHIL"
    with zipfile.ZipFile("EOSINOPHIL.zip", "w") as archive:
        archive.write(next(folder.iterdir()), "EOSINOPHIL/one.png")
    words = ["explain", str(folder), "EOSINOPHIL.zip", "--model", str(net), "--out", "maps"]
    monkeypatch.setattr(sys, "argv", words)
    main()
    rows = read_csv(Path("maps/explained.csv"))
    assert len(rows) == 9
    for row in rows:
        assert Image.open(Path("maps") / row["drawn"]).height == 320
        assert -1 <= float(row["alike_when_randomised"] or 0) <= 1
        near = [one.rsplit(" ", 2) for one in row["nearest"].split("; ")]
        assert len({file for file, _, _ in near}) == 5
        assert {label for _, label, _ in near} <= set(CLASSES)
        distances = [float(distance) for _, _, distance in near]
        assert distances == sorted(distances)
    assert read_json(Path("maps/explained.json"))["cells"] == 9
    assert "method: gradcam" in capsys.readouterr().out
    events = EventAccumulator("maps/tensorboard", size_guidance={"images": 0}).Reload()
    answers = [row["class"] for row in rows]
    expected = {f"gradcam/{name}": min(answers.count(name), EACH) for name in answers}
    mistakes = sum(name != "EOSINOPHIL" for name in answers)  # as the folder says
    assert mistakes
    found = {tag: len(events.Images(tag)) for tag in events.Tags()["images"]}
    assert found == expected | {"gradcam/mistakes": min(mistakes, EACH)}


def test_published_files_are_named_by_their_photograph() -> None:
    assert photograph_of("ORIGINAL/NEUTROPHIL/BloodImage_00003.jpg") == "3"
    row = next(row for row in read_lineage().images.values() if row.micrograph)
    assert photograph_of(row.file) == row.micrograph
    assert photograph_of("train/EOSINOPHIL/a_1.png") == "train/EOSINOPHIL/a_1.png"


def test_a_learnt_cell_is_nearest_to_itself_and_its_photograph_comes_once() -> None:
    trained = bloodcell.load().trained
    known = trained.learnt
    assert known is not None
    rows = [0, 700, 1300]
    for row, near in zip(rows, nearest_cells(trained, known.points[rows] * known.scale + known.centre), strict=True):
        assert near[0].photograph == photograph_of(str(known.files[row]))
        assert near[0].distance < 1e-3
        assert len({one.photograph for one in near}) == 5
