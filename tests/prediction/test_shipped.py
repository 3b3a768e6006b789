"""The net of the package: small, with a card that says what it is worth, and it doubts what is no cell."""

import json
from pathlib import Path

import numpy as np
import pytest

import bloodcell
from bloodcell.common.env import RESULTS
from bloodcell.common.files import read_json
from bloodcell.prediction.predictor import SHIPPED, Predictor
from bloodcell.studies.doubt.strange import made_pictures
from bloodcell.studies.net.card import card_text


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return bloodcell.load()


def test_it_is_small_and_its_card_says_what_was_measured(shipped: Predictor) -> None:
    assert SHIPPED.stat().st_size <= 5_000_000
    about = shipped.trained.card.about
    value, low, high, groups = about["metrics"]["balanced_acc"]
    assert 0.25 < low < value < high < 1
    assert groups > 300
    assert about["held_out"]["by"] == "5 folds by field group"
    assert {f"recall/{name}" for name in shipped.classes} <= about["metrics"].keys()
    assert json.loads(SHIPPED.with_suffix(".json").read_text())["about"] == about
    assert shipped.trained.seen is not None


def test_its_card_says_what_is_doubted_and_that_other_laboratories_are(shipped: Predictor) -> None:
    doubt = shipped.trained.card.about["doubt"]
    alarms, measured = doubt["held-out cells flagged"], doubt["measured"]
    assert alarms[1] < doubt["false_alarms"] < alarms[2]
    for name in ("text pages", "noise", "flat colour", "everyday pictures"):
        share, low, high = measured[name]["flagged"]
        assert 0.99 <= share <= high, name
        assert low < measured[name]["auroc"][0], name
    assert len([name for name in measured if name.startswith("PBC ")]) == 8
    assert measured == {
        name: {"pictures": one["pictures"], "flagged": one["flagged"], "auroc": one["auroc, fifth neighbour"]}
        | ({"right": one["right"]} if "right" in one else {})
        for name, one in read_json(RESULTS / "doubt" / "doubt.json")["sets"].items()
    }
    said = card_text(SHIPPED.with_suffix(".json"))
    assert "refuses to answer there" in said
    assert "18 field groups of the rarest class allow no more than 94%" in said


def test_it_doubts_text_noise_and_flat_colour(shipped: Predictor) -> None:
    for name, pictures in made_pictures().items():
        doubted = [all(cell.reason for cell in shipped.predict(picture)) for picture in pictures[::4]]
        assert np.mean(doubted) >= 0.95, name


@pytest.mark.real
def test_the_published_test_pictures_are_answered_and_called_learnt(shipped: Predictor, real: Path) -> None:
    from bloodcell.data.kaggle import find_images

    cells = shipped.predict(find_images(real) / "TEST_SIMPLE")
    largest = {cell.file: cell for cell in reversed(cells)}
    assert len(largest) == 71
    assert {cell.learnt for cell in cells if cell.name} == {"same field"}
    right = [cell.name == Path(cell.file).parent.name for cell in largest.values()]
    assert np.mean(right) > 0.8  # these photographs were learnt
    assert np.mean([(cell.doubt or 0) > 1 for cell in largest.values()]) < 0.15
