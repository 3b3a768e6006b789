"""``--help`` of the two commands that Hydra runs."""

import sys

import pytest
import yaml

from bloodcell.audit import main as audit
from bloodcell.train import main as train


def page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", [*words])
    {"train": train, "audit": audit}[words[0]]()
    return capsys.readouterr().out


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_groups_and_keys_that_a_user_can_type(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    shown = page(capsys, monkeypatch, "train", word)
    assert "\nmodel: efficientnet_lite, paper_cnn, small_cnn, timm, torchvision\n" in shown
    assert "\noptim/scheduler: cosine, one_cycle, plateau\n" in shown
    assert not {"_common", "hydra/launcher"} & set(shown.replace(",", " ").split())
    keys = yaml.safe_load(shown.partition("== Keys and their values now ==\n")[2])
    assert keys["optim"]["lr"] == 1e-3
    assert "hydra" not in keys


def test_words_beside_it_show_in_the_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page(capsys, monkeypatch, "train", "data=folder", "--help", "data.image_size=[32]")
    assert "image_size:\n  - 32\n" in shown


def test_audit_has_data_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    groups = page(capsys, monkeypatch, "audit", "--help").partition("== Groups ==\n")[2].partition("\n\n")[0]
    assert groups == "data: blood_cells, blood_cells_or_smears, folder, pbc, synthetic"
