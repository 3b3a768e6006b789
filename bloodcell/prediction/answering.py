"""From what was typed to a table of answers, and what is to be said of it."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from bloodcell.common.console import counted, progress_bar
from bloodcell.common.errors import InputError, is_number
from bloodcell.evidence.intervals import Estimate
from bloodcell.evidence.scores import score
from bloodcell.prediction.answers_file import AnswersFile, table_rows
from bloodcell.prediction.inputs import STDIN, check_words, find_pictures
from bloodcell.prediction.predictor import BATCH, UNLIKE, UNREADABLE, CellAnswer, Predictor, View


@dataclass
class Outcome:
    """What a table of answers holds.

    Attributes:
        classes: Cells by class.
        doubtful: Cells by the reason of their doubt.
        unreadable: Pictures that could not be read.
        empty: Pictures in which no white cell was found.
        learnt: Cells of pictures, or of field groups, that the weights have learnt.
        evaluation: What the answers are worth where the folders name the classes; ``""`` where they do not.
    """

    classes: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    empty: int = 0
    learnt: int = 0
    evaluation: str = ""

    @property
    def cells(self) -> int:
        """Cells with an answer."""
        return self.classes.total()


def answer_pictures(predictor: Predictor, words: Sequence[str], out: Path, view: View = "auto") -> Outcome:
    """Answer for pictures, into a table.

    Args:
        predictor: The net.
        words: As of :func:`bloodcell.prediction.inputs.find_pictures`.
        out: The table, which is replaced; what was begun for it by the same net and view is gone on with.
        view: Of :meth:`bloodcell.prediction.predictor.Predictor.views`.

    Raises:
        InputError: If there are no pictures, or the table cannot be written.
    """
    check_words(words)
    pictures = find_pictures(words)
    total = None if STDIN in words else sum(1 for _ in find_pictures(words))
    if total == 0:
        raise InputError(" ".join(words), expected="pictures", got="none", fix="check the folder")
    by = f"{predictor.trained.digest[:16]}-{view}"
    try:
        with progress_bar("pictures") as progress, AnswersFile(out, predictor.classes, by) as table:
            task = progress.add_task("answering", total=total)

            def counting() -> Iterator[list[CellAnswer]]:
                for cells in predictor.answers(table.left(pictures), view):
                    progress.advance(task)
                    yield cells

            waiting: list[CellAnswer] = []
            for number, cells in enumerate(counting(), 1):
                waiting += cells
                if number % BATCH == 0:
                    table.add(waiting)
                    waiting = []
            table.add(waiting)
            table.finish()
    except OSError as error:
        raise InputError(
            str(out), expected="a file that can be written", got=error.strerror or str(error), fix="give another --out"
        ) from error
    return outcome_of(out, predictor)


def outcome_of(path: Path, predictor: Predictor) -> Outcome:
    """Read a finished table once, and say what is in it."""
    found, labelled = Outcome(), _Labelled(predictor.classes)
    for row in table_rows(path):
        if not row["class"]:
            found.unreadable += row["reason"].startswith(UNREADABLE)
            found.empty += not row["reason"].startswith(UNREADABLE)
            continue
        found.classes[row["class"]] += 1
        found.learnt += bool(row["learnt"])
        if row["reason"]:
            found.doubtful["unlike" if row["reason"] == UNLIKE else "undecided"] += 1
        labelled.add(row)
    found.evaluation = labelled.evaluation()
    return found


def class_by_folder(file: str, classes: Sequence[str]) -> str | None:
    """Give the class that the innermost folder called like one names; ``None`` where none is."""
    names = {name.casefold(): name for name in classes}
    parents = (names.get(part.casefold()) for part in reversed(PurePosixPath(file).parts[:-1]))
    return next((one for one in parents if one is not None), None)


class _Labelled:
    """Answers for pictures in folders called like the classes; a million are 50 MB here."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.labels, self.shares, self.clean = array("h"), array("d"), array("b")
        self.groups: list[str] = []

    def add(self, row: dict[str, str]) -> None:
        name = class_by_folder(row["file"], self.classes)
        if name is not None:
            self.labels.append(self.classes.index(name))
            self.shares.extend(float(row[f"p_{name}"]) for name in self.classes)
            self.clean.append(not row["learnt"])
            self.groups.append(row["group"] or row["file"])

    def evaluation(self) -> str:
        """Compare with the folders what was not learnt, or else everything."""
        if not len(self.labels):
            return ""
        kept = np.array(self.clean, dtype=bool) if any(self.clean) else np.ones(len(self.labels), dtype=bool)
        labels, groups = np.array(self.labels, dtype=np.int64)[kept], np.array(self.groups)[kept]
        found = score(labels, np.array(self.shares).reshape(-1, len(self.classes))[kept], groups, self.classes)
        return _evaluation(found.intervals["balanced_acc"], found.values["acc"], int(kept.sum()), self.clean)


def _evaluation(balanced: Estimate, accuracy: float, cells: int, clean: Sequence[int]) -> str:
    ends = f"95 % interval {balanced.low:.3f}-{balanced.high:.3f}"
    said = f"by their folders: balanced accuracy {balanced.value:.3f} ({ends}), accuracy {accuracy:.3f} of "
    said += counted(cells, "cell")
    if not any(clean):
        return f"{said}; WARNING: all of them, or their field groups, were learnt: this is memory, not a result"
    left = len(clean) - cells
    return f"{said}; {counted(left, 'cell')} left out that were learnt" if left else said


def summary(outcome: Outcome, predictor: Predictor, out: Path) -> Iterator[str]:
    """Say in a few lines what a table holds and what it is worth."""
    each = ", ".join(f"{name} {outcome.classes[name]:,}" for name in predictor.classes)
    yield f"{counted(outcome.cells, 'cell')}: {each}"
    trained = predictor.trained
    if outcome.doubtful:
        unlike, undecided = (f"{outcome.doubtful[name]:,}" for name in ("unlike", "undecided"))
        yield f"doubtful: {unlike} unlike the learnt cells, {undecided} that could be several classes or none"
    if trained.learnt is None:
        yield "this net cannot doubt: python -m bloodcell.export RUN --to net makes one of it that can"
    if outcome.learnt:
        yield f"WARNING: {outcome.learnt:,} of them, or others of their field groups, were learnt (column learnt)"
    if outcome.evaluation:
        yield outcome.evaluation
    metrics = trained.card.about.get("metrics")
    honest = metrics.get("balanced_acc") if isinstance(metrics, dict) else None
    if isinstance(honest, list) and len(honest) == 4 and all(is_number(one, 0, 1) for one in honest[:3]):
        yield "on held-out photographs this recipe reaches a balanced accuracy of {:.3f} ({:.3f}-{:.3f})".format(
            *honest
        )
    if outcome.empty:
        yield f"no white cell found in {counted(outcome.empty, 'picture')}"
    if outcome.unreadable:
        yield f"{counted(outcome.unreadable, 'picture')} could not be read (column reason)"
    yield f"table: {out}"
