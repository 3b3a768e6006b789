"""The trainings: each source with each way of colours, a sweep over the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bloodcell.common.files import write_csv
from bloodcell.config.compose import quoted
from bloodcell.studies.transfer.cutouts import CutSet
from bloodcell.studies.transfer.stain import STAINS

# Images that a training sees, each time counted: a small set is gone over more often than a large one.
SEEN = 15_000
TABLES = "tables"


@dataclass(frozen=True)
class SourceSweep:
    """The trainings on one source: a seed each.

    Attributes:
        source: Names of the sets that are learnt from, joined by ``+``.
        stain: How the colours are treated.
        seeds: Seeds of the trainings.
        epochs: Of each.
        crops: Folder of the crops, absolute.
        table: Which of these are learnt from, and which are tested.
    """

    source: str
    stain: str
    seeds: tuple[int, ...]
    epochs: int
    crops: Path
    table: Path

    @property
    def name(self) -> str:
        """The name of its directory."""
        return f"{self.source} {self.stain}".replace(" ", "-")

    @property
    def jobs(self) -> int:
        """Number of its trainings."""
        return len(self.seeds)

    @property
    def fixed(self) -> list[str]:
        """What all its trainings have in common; the words of the user come after."""
        stain = STAINS[self.stain]
        return [
            "experiment=transfer",
            f"data.root={quoted(self.crops / stain.colours)}",
            f"data.table={quoted(self.table)}",
            f"trainer.max_epochs={self.epochs}",
            *stain.words,
        ]

    @property
    def grid(self) -> list[str]:
        """What they differ in."""
        return [f"seed={','.join(map(str, self.seeds))}"]


def sources_of(sets: Sequence[CutSet]) -> list[list[CutSet]]:
    """List what is learnt from: each set alone and, for more than two, all but one together."""
    alone = [[one] for one in sets]
    return alone if len(sets) < 3 else [*alone, *([one for one in sets if one is not left] for left in sets)]


def source_sweeps(
    sets: Sequence[CutSet], stains: Sequence[str], seeds: Sequence[int], crops: Path, out: Path
) -> list[SourceSweep]:
    """List the sweeps, and write the table of each source: what it learns from, and what it is tested on."""
    found = []
    for learnt in sources_of(sets):
        names = [one.name for one in learnt]
        source = "+".join(names)
        table = out.absolute() / TABLES / f"{source}.csv"
        lines = [
            [crop, one.classes[label], group, "train" if one.name in names else "test"]
            for one in sets
            for crop, label, group in zip(one.crop.tolist(), one.label.tolist(), one.group.tolist(), strict=True)
        ]
        write_csv(table, ["file", "class", "group", "split"], lines)
        epochs = max(1, round(SEEN / sum(map(len, learnt))))
        found += [SourceSweep(source, stain, tuple(seeds), epochs, crops.absolute(), table) for stain in stains]
    return found
