"""The table of the bench: speeds, ratios, shares of the ceiling; on the terminal and for the README."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

OURS = "bloodcell"
OURS_FLOAT = "bloodcell, float32"
OURS_TWO = "bloodcell, two jobs side by side"
BARE = "its step in a bare loop"
PYTORCH = "plain PyTorch, float32"
KERAS = "Keras, float32"
KERAS_BF16 = "Keras, mixed_bfloat16"


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name: What is measured.
        module: The program.
        bf16: Whether it multiplies in bfloat16.
    """

    name: str
    module: str
    bf16: bool


def pipeline(
    first: Mapping[str, float], later: Mapping[str, float], images_per_s: float, images: int
) -> dict[str, float]:
    """What the pipeline costs: filling the cache, mapping it again, and later epochs as shares of an epoch."""
    epoch = images / images_per_s
    return {
        "fill_images_per_s": round(first["images"] / first["setup"], 1),
        "map_seconds": round(later["setup"], 3),
        "gather_images_per_s": round(later["train"] / later["gather"], 1),
        "gather_share_of_epoch": round(later["gather"] / epoch, 4),
        "augment_share_of_epoch": round((later["prepare"] - later["gather"]) / epoch, 4),
    }


def ratio(found: Mapping[str, Sequence[Sequence[float]]], one: str, other: str) -> dict[str, float] | None:
    """How many times as fast one row is as another: the median over rounds of the ratio of medians, and its range."""
    if other not in found:
        return None
    pairs = zip(found[one], found[other], strict=True)
    each = [statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs]
    return {"median": round(statistics.median(each), 3), "min": round(min(each), 3), "max": round(max(each), 3)}


def summary(
    rows: Sequence[Row], found: Mapping[str, Sequence[Sequence[float]]], ceiling: Mapping[str, float], flops: int
) -> list[dict[str, Any]]:
    """The table: speed with its spread, ratio to plain PyTorch, and share of what the machine can do at most."""
    table = []
    for row in rows:
        each = [speed for one in found[row.name] for speed in one]
        middle = statistics.median(each)
        most = ceiling["bfloat16" if row.bf16 else "float32"]
        against = ratio(found, row.name, PYTORCH)
        assert against is not None
        table.append(
            {
                "name": row.name,
                "images_per_s": round(middle, 1),
                "min": round(min(each), 1),
                "max": round(max(each), 1),
                "ratio_vs_pytorch": against["median"],
                "share_of_ceiling": round(middle * flops / most, 3),
            }
        )
    return table


def show(content: Mapping[str, Any]) -> None:
    """Print the table and what stands below it."""
    work, most = content["work"], content["ceiling_flops_per_s"]
    title = f"training epochs, {work['images']:,} images ({work['source']}), {work['rounds']} rounds"
    table = Table(title=title, title_justify="left")
    for column in ("", "images/s", "range", "x PyTorch", "ceiling"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in content["rows"]:
        table.add_row(
            row["name"],
            f"{row['images_per_s']:.0f}",
            f"{row['min']:.0f}-{row['max']:.0f}",
            f"{row['ratio_vs_pytorch']:.2f}",
            f"{row['share_of_ceiling']:.0%}",
        )
    Console().print(table)
    print(f"ceiling: {most['float32'] / 1e9:.0f} GFLOP/s in float32, {most['bfloat16'] / 1e9:.0f} in bfloat16")
    for line in said(content):
        print(line)


def said(content: Mapping[str, Any]) -> list[str]:
    """What stands below the table, a line each."""
    lines = []
    for name, label in (
        ("ratio_vs_pytorch", "plain PyTorch"),
        ("ratio_vs_keras_bf16", "Keras mixed_bfloat16"),
    ):
        if content[name]:
            one = content[name]
            lines.append(f"{one['median']:.2f} times {label} ({one['min']:.2f} to {one['max']:.2f} by round)")
    beside = content["overhead"]
    lines.append(
        f"{beside['ratio']['median']:.2f} times a bare loop of the same step, on an epoch of {beside['images']:,} "
        f"images ({beside['ratio']['min']:.2f} to {beside['ratio']['max']:.2f} by round)"
    )
    side, pipe = content["ratio_side_by_side"], content["pipeline"]
    lines.append(
        f"two jobs side by side do {side['median']:.2f} times the work of one alone "
        f"({side['min']:.2f} to {side['max']:.2f} by round)"
    )
    lines.append(
        f"pixels: decoded into the cache at {pipe['fill_images_per_s']:,.0f} images/s, mapped again in "
        f"{pipe['map_seconds']:.2f} s; a later epoch spends {pipe['gather_share_of_epoch']:.1%} on getting batches and "
        f"{pipe['augment_share_of_epoch']:.1%} on augmenting them"
    )
    lines.append(f"evaluation: {content['evaluation_images_per_s']:,.0f} images/s in float32")
    waits = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in content["startup_seconds"].items())
    lines.append(f"whole commands: {waits}")
    private = content["private_memory_bytes"].items()
    lines.append(
        "memory beside the mapped cache: " + ", ".join(f"{int(n):,} images {size / 1e6:.0f} MB" for n, size in private)
    )
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """The table and its ratios for the README.

    Args:
        content: Of ``results/bench.json``.
    """
    work, manifest = content["work"], content["manifest"]
    hardware = manifest["hardware"]
    lines = [["", "images/s", "lowest to highest", "times plain PyTorch", "share of the ceiling"]]
    lines += [["---", *["---:"] * 4]]
    lines += [
        [
            row["name"],
            f"{row['images_per_s']:.0f}",
            f"{row['min']:.0f} to {row['max']:.0f}",
            f"{row['ratio_vs_pytorch']:.2f}",
            f"{row['share_of_ceiling']:.0%}",
        ]
        for row in content["rows"]
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    most = content["ceiling_flops_per_s"]
    where = (
        f"{hardware['cores']} cores ({hardware['processor']}), {work['rounds']} rounds of {work['images']:,} images. "
        f"The ceiling is a large matrix product: {most['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{most['bfloat16'] / 1e9:.0f} in bfloat16."
    )
    return "\n".join([table, "", where, *(f"* {line}" for line in said(content))]) + "\n"
