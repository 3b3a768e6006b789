"""The numbers of the bench: speeds, ratios, shares of the ceiling; on the terminal and for the README."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from bloodcell.common.console import counted, number_table
from bloodcell.evidence.pages import markdown_table

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
        program: ``train``, or a module of this folder.
        bf16: Whether it multiplies in bfloat16.
    """

    name: str
    program: str
    bf16: bool


def pipeline_costs(
    first: Mapping[str, float], later: Mapping[str, float], images_per_s: float, images: int
) -> dict[str, float]:
    """Compute what the pipeline costs: filling the cache, mapping it again, and its shares of a later epoch.

    Args:
        first: What ``pipeline.py`` measured with an empty cache.
        later: What it measured with a full one.
        images_per_s: Speed of training.
        images: Training images of an epoch.
    """
    epoch = images / images_per_s
    return {
        "fill_images_per_s": round(first["images"] / first["setup"], 1),
        "map_seconds": round(later["setup"], 3),
        "gather_images_per_s": round(later["train"] / later["gather"], 1),
        "gather_share_of_epoch": round(later["gather"] / epoch, 4),
        "augment_share_of_epoch": round((later["prepare"] - later["gather"]) / epoch, 4),
    }


def ratio(found: Mapping[str, Sequence[Sequence[float]]], one: str, other: str) -> dict[str, float] | None:
    """Compute how many times as fast one row is as another: the ratio of medians, its median over rounds and range.

    Returns:
        ``median``, ``min``, ``max``, and ``within``: how far the median is known, as a share of it. It is 1.57 times
        the middle half of the ratios over the root of their number (McGill, Tukey and Larsen 1978), for about 95 %.
    """
    if other not in found:
        return None
    pairs = zip(found[one], found[other], strict=True)
    each = [statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    within = 1.57 * (high - low) / math.sqrt(len(each)) / middle
    values = {"median": middle, "min": min(each), "max": max(each), "within": within}
    return {name: round(value, 3) for name, value in values.items()}


def speed_rows(
    rows: Sequence[Row], found: Mapping[str, Sequence[Sequence[float]]], ceiling: Mapping[str, float], flops: int
) -> list[dict[str, Any]]:
    """Compute the rows of the table: speed and its range, ratio to plain PyTorch, share of what the machine can do."""
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


def print_bench(content: Mapping[str, Any]) -> None:
    """Print the table and the lines below it.

    Args:
        content: Of ``results/bench.json``.
    """
    work, most = content["work"], content["ceiling_flops_per_s"]
    title = f"training epochs, {work['images']:,} images ({work['source']}), {work['rounds']} rounds"
    table = number_table(title, ["", "images/s", "range", "x PyTorch", "ceiling"])
    for row in content["rows"]:
        table.add_row(*_cells(row, "-"))
    Console().print(table)
    print(f"ceiling: {_ceiling(most)}")
    for line in _lines_below(content):
        print(line)


def bench_table(content: Mapping[str, Any]) -> str:
    """Write the table and the lines below it in Markdown, for the README.

    Args:
        content: Of ``results/bench.json``.
    """
    work, hardware = content["work"], content["manifest"]["hardware"]
    processor = " ".join(filter(None, [hardware["processor"], hardware.get("cpu_capability")]))
    header = ["", "images/s", "lowest to highest", "times plain PyTorch", "share of the ceiling"]
    table = markdown_table(header, [_cells(row, " to ") for row in content["rows"]], numbers_from=1)
    where = (
        f"{hardware['cores']} cores ({processor}), {work['rounds']} rounds of {work['images']:,} images. "
        f"The ceiling is a large matrix product: {_ceiling(content['ceiling_flops_per_s'])}."
    )
    where += f" Measured on {_day(content)}."
    lines = [table, "", where, *(f"* {line}" for line in _lines_below(content))]
    if "beside" in content:
        lines += ["", f"Beside other processes{_later(content, 'beside')}:", "", *beside_lines(content["beside"])]
    if "answers" in content:
        lines += ["", f"The net of the package answers{_later(content, 'answers')}:", ""]
        lines += answer_lines(content["answers"])
    return "\n".join(lines) + "\n"


def _day(measured: Mapping[str, Any]) -> str:
    return str(measured["manifest"]["started"])[:10]


def _later(content: Mapping[str, Any], part: str) -> str:
    """Say when a part was measured, where it was measured by itself."""
    return f", measured on {_day(content[part])} (`make bench ARGS=--{part}`)" if "manifest" in content[part] else ""


def beside_lines(beside: Mapping[str, Any]) -> list[str]:
    """Write how fast a training is beside others, in Markdown.

    Args:
        beside: Of :func:`bloodcell.studies.bench.beside.beside_others`.
    """
    policies = list(dict.fromkeys(row["policy"] for row in beside["rows"]))
    header = ["other busy processes", "fair share", *policies]
    table = []
    for others in dict.fromkeys(row["others"] for row in beside["rows"]):
        these = [row for row in beside["rows"] if row["others"] == others]
        cells = [f"{row['images_per_s']:.0f} images/s ({row['share']:.0%})" for row in these]
        table.append([str(others), f"{these[0]['fair']:.0%}", *cells])
    ends = "the same weights, bit by bit" if beside["same_bits"] else "different weights"
    return [
        *markdown_table(header, table, numbers_from=1).splitlines(),
        "",
        f"Small CNN, 64x64; in brackets: share of the speed alone with threads awake. All trainings ended with {ends}. "
        f"On an idle machine, {_ratio(beside['idle'], 'the speed with threads awake')}.",
    ]


def answer_lines(answers: Mapping[str, Any]) -> list[str]:
    """Write how fast a trained net answers, in Markdown.

    Args:
        answers: Of :func:`bloodcell.studies.bench.answers.answer_speeds`.
    """
    rows: dict[str, list[str]] = {}
    columns = []
    for one in answers["latency_ms"]:
        columns.append(f"{one['pictures']} at once, {counted(one['threads'], 'thread')}")
        rows.setdefault(one["program"], []).append(f"{one['ms']:.1f} ms")
    header = ["crops of 280x280, fastest call", *dict.fromkeys(columns)]
    command, peak = answers["command"], answers["peak_memory_bytes"].items()
    return [
        *markdown_table(header, [[name, *cells] for name, cells in rows.items()], numbers_from=1).splitlines(),
        "",
        f"* `predict` on {answers['pictures']} pictures ({answers['source']}), from start to end: "
        f"{command['seconds']:.1f} s, of which the processors worked {command['processor_seconds']:.1f} s",
        "* after its start, a second: "
        + ", ".join(
            f"{rate:.0f} {name} ({answers['per_processor_s'][name]:.0f} for each second of a processor)"
            for name, rate in answers["per_s"].items()
        ),
        "* its peak memory: " + ", ".join(f"{int(n):,} pictures {size / 1e6:.0f} MB" for n, size in peak),
        f"* {answers['load_before']:.1f} processes wanted one of {answers['cores']} cores when this began",
    ]


def _cells(row: Mapping[str, Any], to: str) -> list[str]:
    return [
        row["name"],
        f"{row['images_per_s']:.0f}",
        f"{row['min']:.0f}{to}{row['max']:.0f}",
        f"{row['ratio_vs_pytorch']:.2f}",
        f"{row['share_of_ceiling']:.0%}",
    ]


def _ceiling(most: Mapping[str, float]) -> str:
    return f"{most['float32'] / 1e9:.0f} GFLOP/s in float32, {most['bfloat16'] / 1e9:.0f} in bfloat16"


def _ratio(one: Mapping[str, float], what: str) -> str:
    within = f"; the median is known to {one['within']:.0%}" if "within" in one else ""  # not in earlier files
    return f"{one['median']:.2f} times {what} ({one['min']:.2f} to {one['max']:.2f} by round{within})"


def _lines_below(content: Mapping[str, Any]) -> list[str]:
    beside, pipe = content["overhead"], content["pipeline"]
    named = (
        ("ratio_vs_pytorch", "plain PyTorch"),
        ("ratio_vs_keras_bf16", "Keras mixed_bfloat16"),
        ("ratio_vs_keras_float32", "Keras in float32, itself in float32"),
    )
    bare = f"a bare loop of the same step, on an epoch of {beside['images']:,} images"
    waits = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in content["startup_seconds"].items())
    private = content["private_memory_bytes"].items()
    return [
        *(_ratio(content[name], label) for name, label in named if content.get(name)),
        _ratio(beside["ratio"], bare),
        f"two jobs side by side do {_ratio(content['ratio_side_by_side'], 'the work of one alone')}",
        f"pixels: decoded into the cache at {pipe['fill_images_per_s']:,.0f} images/s, mapped again in "
        f"{pipe['map_seconds']:.2f} s; a later epoch spends {pipe['gather_share_of_epoch']:.1%} on getting batches and "
        f"{pipe['augment_share_of_epoch']:.1%} on augmenting them",
        f"evaluation: {content['evaluation_images_per_s']:,.0f} images/s in float32",
        f"whole commands: {waits}",
        "memory beside the mapped cache: " + ", ".join(f"{int(n):,} images {size / 1e6:.0f} MB" for n, size in private),
    ]
