"""The table of runs, through the command: grouped, filtered, sorted, compared, written to files."""

import csv
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from bloodcell.evidence.pages import latex_table
from bloodcell.runs import main, print_runs, read_runs

Command = Callable[..., str]
Make = Callable[..., Path]
VAL, TEST = "val/balanced_acc", "test/balanced_acc"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``runs("--each")`` types ``python -m bloodcell.runs --each`` at a terminal of 100 columns; what it prints."""

    def run(*words: str) -> str:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["runs", *words])
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(runs: Command, capsys: pytest.CaptureFixture[str]) -> Command:
    """Likewise where the command must stop: its one line."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit, match="1"):
            runs(*words)
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        return line

    return run


@pytest.fixture
def make(finished: Path, tmp_path: Path) -> Make:
    """``make({"optim.lr": 0.1, "seed": 1}, {"val/acc": 0.9})`` leaves such a run below ``runs/``.

    It is a copy of a real one; ``typed`` stands in its config, ``config`` likewise without having been typed.
    """

    def run(
        typed: dict[str, Any],
        metrics: dict[str, float] | None = None,
        *,
        config: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        manifest: dict[str, Any] | None = None,
        status: dict[str, Any] | None = None,
    ) -> Path:
        to = tmp_path / "runs" / f"run{len(list(tmp_path.glob('runs/*'))):03d}"
        shutil.copytree(finished / ".hydra", to / ".hydra")
        (to / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"{key}={word}" for key, word in typed.items()]))
        content = yaml.safe_load((to / ".hydra" / "config.yaml").read_text())
        for key, value in {**typed, **(config or {})}.items():
            *parts, last = key.split(".")
            node = content
            for part in parts:
                node = node[part]
            node[last] = value
        (to / ".hydra" / "config.yaml").write_text(yaml.safe_dump(content))
        record = json.loads((finished / "manifest.json").read_text()) | (manifest or {})
        record["data"] |= data or {}
        (to / "manifest.json").write_text(json.dumps(record))
        state = status or {"state": "ok", "time": record["started"], "epoch": 2, "epochs": 2}
        (to / "status.json").write_text(json.dumps(state))
        if metrics is not None:
            (to / "metrics.json").write_text(json.dumps({"protocol": "folder", **metrics}))
        return to

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_setting_with_mean_sd_and_interval_over_seeds(runs: Command, make: Make, tmp_path: Path) -> None:
    values = {0.001: (0.80, 0.84, 0.82), 0.1: (0.6, 0.9)}
    for lr, held in values.items():
        for seed, value in enumerate(held):
            make({"optim.lr": lr, "seed": seed, "data.batch_size": 8}, {VAL: value, TEST: 1 - value})
    shown = runs("--csv", "table.csv")
    assert "2 settings, 5 runs" in shown
    assert "common: data.batch_size=8\n" in shown
    assert "Student's t over seeds" in shown
    best, other = rows_of(tmp_path / "table.csv")
    assert (best["optim.lr"], best["done"], best["runs"]) == ("0.001", "3", "3")
    mean, error = np.mean(values[0.001]), stats.sem(values[0.001])
    wanted = [mean, np.std(values[0.001], ddof=1), *stats.t.interval(0.95, 2, mean, error)]
    found = [float(best[f"{VAL} {part}"]) for part in ("mean", "sd", "low", "high")]
    assert found == pytest.approx(wanted)
    assert float(other[f"{TEST} mean"]) == pytest.approx(0.25)
    assert "0.82 sd 0.02" in shown


def test_a_real_run_as_it_was_written(runs: Command, finished: Path) -> None:
    shown = runs(str(finished), "--each")
    assert re.search(r"1 run\b", shown)
    assert "ok" in shown
    assert "data=folder" in shown
    assert "model.widths=[4,8,8,8]" in shown


def test_the_test_metric_never_decides_the_order(runs: Command, make: Make, tmp_path: Path) -> None:
    make({"optim.lr": 0.1}, {VAL: 0.5, TEST: 0.9})
    make({"optim.lr": 0.2}, {VAL: 0.7, TEST: 0.1})
    shown = runs("--csv", "t.csv")
    assert [row["optim.lr"] for row in rows_of(tmp_path / "t.csv")] == ["0.2", "0.1"]
    assert f"best first by {VAL}: settings are chosen by validation" in " ".join(shown.split())
    asked = " ".join(runs("--sort", f"-{TEST}", "--csv", "t.csv").split())
    assert [row["optim.lr"] for row in rows_of(tmp_path / "t.csv")] == ["0.1", "0.2"]
    assert "choose no setting by it" in asked
    runs("--sort", "optim.lr", "--csv", "t.csv")
    assert [row["optim.lr"] for row in rows_of(tmp_path / "t.csv")] == ["0.1", "0.2"]


def test_without_a_validation_metric_nothing_is_best(runs: Command, make: Make, tmp_path: Path) -> None:
    make({"optim.lr": 0.1}, {TEST: 0.1}, config={"monitor.metric": TEST})
    make({"optim.lr": 0.2}, {TEST: 0.9}, config={"monitor.metric": TEST})
    assert "a test metric chooses nothing" in " ".join(runs("--csv", "t.csv").split())
    assert [row["optim.lr"] for row in rows_of(tmp_path / "t.csv")] == ["0.1", "0.2"]


def test_the_metric_that_was_monitored_decides(runs: Command, make: Make, tmp_path: Path) -> None:
    monitor = {"monitor.metric": "val/loss", "monitor.mode": "min"}
    make({"optim.lr": 0.1}, {"val/loss": 0.9, VAL: 0.9}, config=monitor)
    make({"optim.lr": 0.2}, {"val/loss": 0.2, VAL: 0.8}, config=monitor)
    assert "best first by val/loss" in runs("--csv", "t.csv")
    assert [row["optim.lr"] for row in rows_of(tmp_path / "t.csv")] == ["0.2", "0.1"]


def test_other_data_splits_and_precision_are_never_averaged(runs: Command, make: Make, tmp_path: Path) -> None:
    make({"seed": 0}, {VAL: 0.5})
    make({"seed": 1}, {VAL: 0.5}, data={"fingerprint": "f" * 64})
    make({"seed": 2}, {VAL: 0.5}, data={"protocol": "official"})
    make({"seed": 3}, {VAL: 0.5}, config={"data.split_seed": 7})
    make({"seed": 4}, {VAL: 0.5}, manifest={"precision": "64-true"})
    shown = runs("--csv", "t.csv")
    table = rows_of(tmp_path / "t.csv")
    assert [row["runs"] for row in table] == ["1"] * 5
    assert {"data.fingerprint", "data.protocol", "data.split_seed", "trainer.precision"} <= table[0].keys()
    assert "ffffffff" in shown
    assert "only those of one are better" in " ".join(shown.split())
    assert "2 settings" not in runs("--where", "seed<2", "--over", "data.fingerprint"), "unless one asks for it"


def test_what_was_typed_as_the_default_is_the_default(runs: Command, make: Make) -> None:
    make({"seed": 0}, {VAL: 0.5})
    default = read_runs(Path("runs"))[0].config["optim.lr"]
    make({"seed": 1, "optim.lr": default}, {VAL: 0.7})
    assert "1 setting, 2 runs" in runs()


def test_other_commits_and_versions_are_averaged_and_said(runs: Command, make: Make) -> None:
    make({"seed": 0}, {VAL: 0.5}, manifest={"git": {"commit": "a" * 40}, "versions": {"torch": "2.8"}})
    make({"seed": 1}, {VAL: 0.7}, manifest={"git": {"commit": "b" * 40}, "versions": {"torch": "2.9"}})
    shown = " ".join(runs().split())
    assert "1 setting, 2 runs" in shown
    assert "2 commits (aaaaaaa: 1 run, bbbbbbb: 1 run); torch 2.8 and 2.9" in shown


def test_a_seed_that_was_run_twice_counts_once(runs: Command, make: Make, tmp_path: Path) -> None:
    for seed, value in ((0, 0.5), (0, 0.5), (1, 0.7)):
        make({"seed": seed}, {VAL: value})
    assert "1 run of a seed that its setting has already" in runs("--csv", "t.csv")
    (row,) = rows_of(tmp_path / "t.csv")
    assert float(row[f"{VAL} mean"]) == pytest.approx(0.6)
    assert row[f"{VAL} repeats"] == "2"


def make_folds(make: Make, lr: float, values: list[list[float]]) -> None:
    """Runs of one setting: a row of seeds for each fold."""
    for fold, seeds in enumerate(values):
        for seed, value in enumerate(seeds):
            keys = {"optim.lr": lr, "data.protocol": "grouped", "data.fold": fold, "data.folds": 3, "seed": seed}
            make(keys, {VAL: value}, data={"protocol": "grouped"})


def test_folds_have_the_corrected_interval(runs: Command, make: Make, tmp_path: Path) -> None:
    make_folds(make, 0.1, [[0.7, 0.9], [0.9, 0.9], [0.7, 0.7]])
    shown = " ".join(runs("--csv", "t.csv").split())
    assert "over 3 folds, seeds averaged within each, by the corrected resampled t" in shown
    (row,) = rows_of(tmp_path / "t.csv")
    # Fold means 0.8, 0.9, 0.7: s = 0.1, its mean's variance 0.01 (1/3 + 7/12), t(0.975; 2) = 4.3026527.
    # A seventh of the two other folds is validation: the tested one is 7/12 of what is trained on.
    half = 4.3026527 * np.sqrt(0.01 * (1 / 3 + 7 / 12))
    assert [float(row[f"{VAL} {end}"]) for end in ("low", "high")] == pytest.approx([0.8 - half, min(0.8 + half, 1)])
    assert row["runs"] == "6"


def test_settings_are_compared_on_the_seeds_that_both_have(runs: Command, make: Make) -> None:
    values = {0.1: [0.80, 0.83, 0.81, 0.99], 0.2: [0.75, 0.80, 0.77], 0.3: [0.70, 0.74, 0.69], 0.4: [0.5]}
    for lr, held in values.items():
        for seed, value in enumerate(held):
            make({"optim.lr": lr, "seed": seed}, {VAL: value})
    shown = runs("--compare")
    pairs = [(0.1, 0.2), (0.1, 0.3), (0.2, 0.3)]
    ps = [stats.ttest_rel(values[one][:3], values[other][:3]).pvalue for one, other in pairs]
    for (one, other), p, adjusted in zip(pairs, ps, multipletests(ps, method="holm")[1], strict=True):
        difference = np.mean(np.subtract(values[one][:3], values[other][:3]))
        line = next(line for line in shown.split("\n") if f"{difference:+.4f}" in line)
        assert [cell.strip() for cell in line.split("│")][4:7] == [f"{p:.3g}", f"{adjusted:.3g}", "3 seeds"]
    assert "not every setting has the same seeds done" in shown
    assert "one seed in common, and a test takes two" in " ".join(shown.split())
    assert "the 3 comparisons shown" in shown
    assert "find 0.0" in shown
    assert "p (±" not in shown
    same = ttost_paired(np.array(values[0.1][:3]), np.array(values[0.2][:3]), -0.06, 0.06)[0]
    line = next(line for line in runs("--compare", "--margin", "0.06").split("\n") if "+0.0400" in line)
    assert f" {same:.3g} " in line
    against = runs("--compare", "optim.lr=2e-1")
    assert "the 2 comparisons shown" in against
    assert f"{np.mean(np.subtract(values[0.2], values[0.3])):+.4f}" in against


def test_folds_are_compared_fold_by_fold(runs: Command, make: Make) -> None:
    one, other = [[0.8, 0.9], [0.9, 0.9], [0.7, 0.75]], [[0.7, 0.7], [0.85, 0.8], [0.71, 0.7]]
    make_folds(make, 0.1, one)
    make_folds(make, 0.2, other)
    differences = np.mean(one, axis=1) - np.mean(other, axis=1)
    statistic = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 3 + 7 / 12))
    shown = runs("--compare")
    line = next(line for line in shown.split("\n") if f"{differences.mean():+.4f}" in line)
    assert f"{2 * stats.t.sf(abs(statistic), 2):.3g}" in line
    assert "3 folds" in line


def test_settings_of_different_splits_are_not_compared(runs: Command, make: Make) -> None:
    for seed in (0, 1):
        make({"seed": seed, "data.protocol": "official"}, {VAL: 0.5 + seed / 10}, data={"protocol": "official"})
        make({"seed": seed, "data.protocol": "random"}, {VAL: 0.9 + seed / 20}, data={"protocol": "random"})
    shown = " ".join(runs("--compare").split())
    assert "not tested: #1 and #2: other data or another split" in shown


def test_a_setting_with_a_comma_in_its_value_can_be_named(runs: Command, make: Make, refused: Command) -> None:
    for widths in ([4, 8], [8, 8]):
        for lr in (0.1, 0.2):
            for seed in (0, 1):
                make(
                    {"model.widths": widths, "optim.lr": lr, "seed": seed},
                    {VAL: lr * (1 + seed) + seed * widths[0] / 100},
                )
    assert "the 3 comparisons shown" in runs("--compare", "model.widths=[4,8],optim.lr=0.1")
    assert "2 of 4 settings" in refused("--compare", "optim.lr=0.1")
    assert "name the folder before --compare" in refused("--compare", "runs")


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("optim.lr=1e-1", 2),
        ("optim.lr!=0.1", 1),
        ("val/balanced_acc>0.6", 1),
        ("val/balanced_acc<=0.6", 1),
        ("state=failed", 1),
        ("state!=failed", 2),
        ("model._target_=bloodcell.model.nets.small_cnn", 3),
        ("model.widths=[4, 8, 8, 8]", 3),
    ],
)
def test_where_keeps_what_meets_it(runs: Command, make: Make, condition: str, left: int) -> None:
    make({"optim.lr": 0.1}, {VAL: 0.6})
    make({"optim.lr": 0.2}, {VAL: 0.7})
    make({"optim.lr": 0.1, "seed": 1}, status={"state": "failed", "time": "", "error": "ValueError: no"})
    assert runs("--each", "--where", condition).split("\n")[0].strip() == f"{left} run{'s' if left > 1 else ''}"


def test_what_no_run_has_is_one_line_that_says_what_is_near(make: Make, refused: Command) -> None:
    make({"optim.lr": 0.1}, {VAL: 0.6})
    assert "did you mean optim.lr" in refused("--where", "optim.lrr=1")
    assert f"did you mean {VAL}" in refused("--metric", "val/balanced_accuracy")
    assert f"did you mean {VAL}" in refused("--sort", "-val/balancedacc")
    assert "none of 1" in refused("--where", "optim.lr=7")
    assert "expected a number after >" in refused("--where", "optim.lr>high")
    assert "expected KEY=VALUE" in refused("--where", "optim.lr")
    assert "did you mean seed" in refused("--over", "seeed")
    assert "expected a run directory" in refused("--diff", "runs", "runs")


def test_a_run_whose_process_is_gone_is_interrupted(runs: Command, make: Make) -> None:
    status = {"state": "running", "time": "2026-11-23T10:00:00+00:00", "epoch": 3, "epochs": 10}
    held, freed, never = (make({"seed": seed}, status=status) for seed in range(3))
    with FileLock(freed / ".lock"):
        pass
    (freed / ".lock").touch()
    with FileLock(held / ".lock"):
        states = {run.path.name: run.state for run in read_runs(Path("runs"))}
        shown = " ".join(runs("--each").split())
    assert states == {held.name: "running", freed.name: "interrupted", never.name: "interrupted"}
    assert f"running, epoch 3 of 10: runs/{held.name}" in shown
    assert read_runs(held)[0].state == "interrupted", "its lock is free by now"


def test_a_run_that_failed_is_counted_and_says_why(runs: Command, make: Make) -> None:
    make({"optim.lr": 0.1, "seed": 0}, {VAL: 0.6})
    failed = make(
        {"optim.lr": 0.1, "seed": 1}, status={"state": "failed", "time": "", "error": "ValueError:\nno pixels"}
    )
    (failed / "manifest.json").unlink()
    shown = runs()
    assert "1 setting, 2 runs" in shown, "one that failed before its manifest belongs to its setting"
    assert "1 of 2" in shown
    assert f"failed: runs/{failed.name}: ValueError: no pixels" in shown


def test_a_broken_run_takes_no_table_down(make: Make) -> None:
    good = [make({"seed": seed}, {VAL: 0.5 + seed / 10}) for seed in range(8)]
    (good[0] / "status.json").write_text('{"state": "o')
    (good[1] / "status.json").write_text('{"weather": "fine"}')
    (good[2] / "status.json").write_text("[1, 2]")
    (good[3] / ".hydra" / "overrides.yaml").unlink()
    (good[4] / "metrics.json").write_text('{"val/balanced_acc": NaN, "test/acc": null}')
    (good[5] / ".hydra" / "config.yaml").write_text("optim: {lr: [")
    (good[6] / "manifest.json").write_text('{"data": [], "git": "main", "versions": 3, "started": 5}')
    done = subprocess.run(
        [sys.executable, "-m", "bloodcell.runs", "--each"], capture_output=True, text=True, check=True
    )
    lines = done.stderr.strip().split("\n")
    assert len(lines) == 3
    for run, line in zip(good[3:6], lines, strict=True):
        assert run.name in line
    assert "8 runs" in done.stdout
    for run in good[:3]:
        assert f"failed: runs/{run.name}: its status.json cannot be read" in " ".join(done.stdout.split())
    assert "nan" not in done.stdout


def test_two_runs_side_by_side(runs: Command, make: Make) -> None:
    one = make({"optim.lr": 0.1, "seed": 0}, {VAL: 0.5, TEST: 0.4})
    other = make(
        {"optim.lr": 0.2, "seed": 1},
        {VAL: 0.75},
        data={"fingerprint": "f" * 64},
        manifest={"hardware": {"cores": 96}, "versions": {"torch": "2.0"}, "git": {"commit": "c" * 40}},
    )
    shown = runs("--diff", str(one), str(other))
    lines = {line.split("│")[1].strip(): line for line in shown.split("\n") if line.startswith("│")}
    for key in ("optim.lr", "seed", "data: fingerprint", "hardware: cores", "versions: torch", "git: commit"):
        assert key in lines
    assert "data: root" not in lines
    assert "data.batch_size" not in lines, "the same in both"
    assert [cell.strip() for cell in lines[VAL].split("│")[2:5]] == ["0.5", "0.75", "+0.25"]
    assert "are the same" in runs("--diff", str(one), str(one))


def test_the_page_needs_no_other_file(runs: Command, make: Make, tmp_path: Path) -> None:
    for lr in (0.001, 0.1):
        for widths in ([4, 8], [8, 8]):
            for seed in (0, 1):
                make({"optim.lr": lr, "model.widths": widths, "seed": seed}, {VAL: 0.5 + lr + seed / 50, TEST: 0.4})
    failed = make({"seed": 9}, status={"state": "failed", "time": "", "error": "<b>_bold_</b> | x"})
    runs("--html", "page.html", "--markdown", "table.md", "--compare", "--where", "seed!=7")
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r'src="([^"]{10})', page) == ["data:image"]
    assert "href" not in page
    for word in ("5 settings, 9 runs", "compared", "9 runs", "optim.lr", failed.name, "&lt;b&gt;_bold_&lt;/b&gt; | x"):
        assert word in page
    assert "| # | optim.lr | model.widths | done |" in (tmp_path / "table.md").read_text()


def test_many_keys_fit_a_hundred_columns(runs: Command, make: Make) -> None:
    keys = {"optim.lr": 0.1, "data.batch_size": 16, "data.image_size": [24, 24], "trainer.max_epochs": 7}
    keys |= {"model.widths": [4, 4, 4, 4], "trainer.gradient_clip_val": 0.5, "data.fold_seed": 5}
    usual = read_runs(make({"seed": 0}, {VAL: 0.5}))[0].config
    for key, value in keys.items():
        make({**{name: usual[name] for name in keys}, key: value}, {VAL: 0.6, TEST: 0.6})
    shown = runs()
    assert max(map(len, shown.split("\n"))) <= 100
    assert "where a row does not say:" in shown
    assert f"data.batch_size={usual['data.batch_size']}" in " ".join(shown.split())
    for key in keys:
        assert re.search(rf"│ \d\s+│ {re.escape(key)}=", shown), "the row names what is not usual in it alone"


def test_printing_a_list_of_runs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        make({"optim.lr": 0.1, "seed": seed}, {VAL: 0.25 + seed / 4, "val/acc": 0.1})
    make({"optim.lr": 0.1, "seed": 2}, status={"state": "failed", "time": "", "error": "ValueError: no"})
    print_runs(read_runs(Path("runs")), ["val/acc"])
    shown = capsys.readouterr().out
    assert "common: optim.lr=0.1" in shown
    assert "val/acc" in shown
    assert VAL not in shown
    assert "failed: runs/run002: ValueError: no" in shown


def test_two_hundred_runs_take_seconds_and_no_torch(make: Make, tmp_path: Path) -> None:
    one = make({"optim.lr": 0.1, "seed": 0}, {VAL: 0.5})
    for number in range(1, 200):
        shutil.copytree(one, tmp_path / "runs" / f"run{number:03d}")
    program = "import sys; from bloodcell.runs import main; main(); assert 'torch' not in sys.modules"
    seconds, shown = cpu_seconds("-c", program)
    assert seconds < 5
    assert "1 setting, 200 runs" in shown


def test_help_takes_no_second() -> None:
    seconds, shown = cpu_seconds("-m", "bloodcell.runs", "--help")
    assert seconds < 1, "something slow is imported"
    assert "--where" in shown


def cpu_seconds(*words: str) -> tuple[float, str]:
    """What a command costs, whatever else the machine is doing, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, shown


def test_the_interval_of_a_share_ends_where_shares_end(runs: Command, make: Make) -> None:
    for seed, (share, loss) in enumerate(((0.99, 3.0), (0.90, 0.1))):
        make({"seed": seed}, {VAL: share, "val/loss": loss})
    runs("runs", "--csv", "t.csv", "--metric", VAL, "--metric", "val/loss")
    (row,) = csv.DictReader(Path("t.csv").read_text().splitlines())
    assert float(row[f"{VAL} low"]) < 0.9
    assert float(row[f"{VAL} high"]) == 1
    assert float(row["val/loss high"]) > 3


def test_tables_for_latex(runs: Command, make: Make) -> None:
    for seed, share in enumerate((0.7, 0.8)):
        make({"seed": seed, "optim.lr": 0.01}, {VAL: share})
        make({"seed": seed, "optim.lr": 0.1}, {VAL: share - 0.1})
    runs("runs", "--latex", "t.tex")
    text = Path("t.tex").read_text()
    assert r"\# & optim.lr & done & val/balanced\_acc \\" in text
    assert text.count("\\\\\n") == 3
    assert r"0.75 sd 0.071 (0.115 to 1) \\" in text
    assert all(line.startswith("% ") for line in text.splitlines() if "Student" in line)


def test_latex_obeys_no_cell() -> None:
    text = latex_table(["50%", "a_b"], [["\\end{x}", "$#&~^<>"]], "")
    cells = text.splitlines()[4], text.splitlines()[6]
    assert cells[0] == r"50\% & a\_b \\"
    assert cells[1] == (
        r"\textbackslash{}end\{x\} & \$\#\&\textasciitilde{}\textasciicircum{}\textless{}\textgreater{} \\"
    )


def test_figures_for_print(runs: Command, finished: Path, tmp_path: Path) -> None:
    names = ["loss", "accuracy", "confusion_matrix", "precision_recall", "reliability"]
    said = runs(str(finished), "--pdf", "out")
    assert said.splitlines()[-5:] == [f"out/{name}.pdf" for name in names]
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(first) == 5
    assert all(content.startswith(b"%PDF") for content in first.values())
    runs(str(finished), "--pdf", "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_figures_of_several_runs_are_not_one(refused: Command, make: Make) -> None:
    make({"seed": 1}, {VAL: 0.5})
    make({"seed": 2}, {VAL: 0.5})
    assert refused("runs", "--pdf", "out") == "error: --pdf: expected one run, got 2; name its directory"
