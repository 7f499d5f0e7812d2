"""`python -m coin_lightning judge RUN judge=embedding`: grade the answers of a run, finished or not.

Reads the answers that the run has kept; no backbone and no data set is needed. Several judges stand side by side.
"""

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rich.console import Console

from coin_lightning.cli.build import build
from coin_lightning.cli.ending import ended
from coin_lightning.cli.judge_config import judge_config
from coin_lightning.cli.judge_progress import JudgeProgress
from coin_lightning.cli.parsers import judge_parser
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import CoinLightningError, ConfigError
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.evaluation.judges.judging import check_judge, judge_run
from coin_lightning.evaluation.judges.summary import identity_text
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.page_sections import unparsed_text
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import matrix_table


def judge(path: Path, overrides: Sequence[str], console: Console) -> None:
    """Judge every evaluated experience, bring matrix.json and the page up to date, and print the matrix.

    Raises:
        CoinLightningError: no such run or judge, another process works on the run, or the judge failed; replies so far
            are kept, and the files are brought up to date with them.
    """
    run = RunDir.open(path)
    chosen: Judge | None = build(judge_config(path, overrides))
    if chosen is None:
        raise ConfigError("judge=none judges nothing; say judge=embedding, judge=hf or judge=openai")
    with run.working():
        check_judge(path, chosen)
        try:
            with JudgeProgress(console, path) as progress:
                judge_run(path, chosen, progress.report)
        except CoinLightningError:
            _conclude(run, chosen.name, console)
            raise
        _conclude(run, chosen.name, console)


def _conclude(run: RunDir, name: str, console: Console) -> None:
    run.refresh(name)
    write_report(run.path)
    show(run.path, name, console)


def show(path: Path, name: str, console: Console) -> None:
    """Print what a judge found so far: matrix, unparsed replies, identity, and where the page is."""
    matrix = load_matrix(path)
    if name not in matrix.judges:
        return
    console.print(f"\nscores of judge {name} in percent", style="bold", markup=False, highlight=False)
    console.print(matrix_table(matrix.judged(name)))
    judge = matrix.judges[name]
    identity = f"judge {name}: {identity_text(judge.protocol)}"
    for line in (unparsed_text(matrix, judge), identity, f"report {path / 'report.html'}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when the run cannot be judged to the end."""
    options = judge_parser().parse_args(arguments)
    quiet_libraries()
    return ended(lambda interruption: judge(options.run, options.overrides, Console()))
