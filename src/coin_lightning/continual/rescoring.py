"""Scoring the kept answers of a run again, without a model: after a rule was mended, or by another variant."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.variant_grids import guesses_of, variant_matrix
from coin_lightning.errors import DataError, RunError
from coin_lightning.evaluation.records import AnswerRecord, read_records
from coin_lightning.evaluation.run_scoring import config_of, newest_scoring, with_scoring
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import (
    UNANSWERED,
    WITHOUT_ANSWERS,
    CellScores,
    answered,
    filled,
    over_the_split,
    score_all,
    score_fields,
    variants_of,
    versions_of,
)
from coin_lightning.manifest import write_known_json
from coin_lightning.metrics.score_matrix import metrics_to_json
from coin_lightning.run_files import RECORDS, write_config
from coin_lightning.whole_files import replacing, write_json

FOLDER = "rescored"
CHANGES = "changes.jsonl"
DIFFERENCES = "differences.jsonl"
OnProgress = Callable[[int, str, CellScores], None]
"""Called with position, task and scores of each cell."""


@dataclass(frozen=True)
class Change:
    """A score that is not what it was: the rule has changed since it was written."""

    experience: int
    task: str
    variant: str
    before: float
    after: float
    versions: tuple[int, int] = (1, 1)

    def to_json(self) -> dict[str, Any]:
        """A line of `rescored/changes.jsonl`."""
        return asdict(self)


@dataclass(frozen=True)
class Rescored:
    """What scoring a run again gave.

    Attributes:
        scores: the new content of every `scores.json`, by position.
        scoring: of each task, as the yaml that was used has it.
        changes: scores that are not what they were.
    """

    scores: Mapping[int, Mapping[str, Any]]
    scoring: Mapping[str, Mapping[str, Any]]
    changes: Sequence[Change]


def rescore(
    run: RunDir, on_progress: OnProgress = lambda position, task, cell: None, folders: Sequence[Path] = ()
) -> Rescored:
    """Score every kept answer of a run by all variants, and write the new numbers into its `scores.json` files.

    The answers and the variant that fills the score matrix stay. The run's `config.yaml` gets the scorers that were
    used, so that what is evaluated later is scored by the same. Nothing is written before all records were read.

    Args:
        run: finished or not; the caller holds its lock and refreshes `matrix.json`.
        on_progress: sees each cell, for tables and the list of differing samples.
        folders: config folders with yaml of tasks; see `newest_scoring`.

    Raises:
        RunError: nothing was evaluated yet.
        DataError: records are missing, cut off or altered; all of them are listed.
    """
    found = run.scores()
    if not found:
        raise RunError(f"{run.path}: nothing was evaluated yet, so there is nothing to score; start the run first")
    nodes = newest_scoring(run.path, run.tasks, folders)
    scoring = {task: Scoring.of(task, nodes[task]) for task in run.tasks}
    for each in scoring.values():
        each.scorer(run.variant)
    results: dict[int, dict[str, CellScores]] = {position: {} for position in found}
    problems: list[str] = []
    for position, old in found.items():
        for task in [task for task in run.tasks if task in answered(old)]:
            try:
                records = _kept(run.folder(position), task, old["counts"].get(task))
                cell = score_all(records, scoring[task], guesses=position == 0)
                results[position][task] = over_the_split(cell, old.get(UNANSWERED, {}).get(task, 0))
                on_progress(position, task, results[position][task])
            except DataError as error:
                problems += error.problems
    if problems:
        raise DataError(problems)
    fresh = {position: _fresh(old, results[position], run) for position, old in found.items()}
    changes = [change for position in found for change in _changes(position, found[position], fresh[position])]
    _append(run.path / FOLDER / CHANGES, changes)
    if config := config_of(run.path):
        renewed = with_scoring(config, nodes)
        if renewed != config:
            write_config(run.path, renewed)
    for position in found:
        if fresh[position] != found[position]:
            write_known_json(run.folder(position) / "scores.json", fresh[position])
    return Rescored(fresh, nodes, changes)


def _fresh(old: Mapping[str, Any], results: Mapping[str, CellScores], run: RunDir) -> dict[str, Any]:
    """A `scores.json` with new numbers; those of imported scores without answers stay."""
    if not results:
        return dict(old)
    fields = score_fields(results, run.variant)
    return filled(old, fields, run.tasks) if old.get(WITHOUT_ANSWERS) else {**old, **fields}


def _kept(folder: Path, task: str, count: int | None) -> list[AnswerRecord]:
    """Records of a cell, checked to be the ones that were scored.

    Raises:
        DataError: another number than before, one question twice, or another task's.
    """
    file = folder / "records" / f"{task}.jsonl"
    records = read_records(file)
    problems = [
        f"{file}: question {record.question_id} is one of {record.task}" for record in records if record.task != task
    ]
    if len({record.question_id for record in records}) < len(records):
        problems.append(f"{file}: one question stands there twice")
    if count is not None and len(records) != count:
        problems.append(f"{file}: {len(records)} answers, {count} were scored")
    if problems:
        raise DataError([*problems[:-1], f"{problems[-1]}; {RECORDS}"])
    return records


def _changes(position: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = variants_of(old), variants_of(new)
    versions = {task: (version, versions_of(new)[task]) for task, version in versions_of(old).items()}
    for variant in (name for name in before if name in after):
        for task in (name for name in before[variant] if name in after[variant]):
            if before[variant][task] != after[variant][task]:
                yield Change(position, task, variant, before[variant][task], after[variant][task], versions[task])


def _append(file: Path, changes: Sequence[Change]) -> None:
    if changes:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(change.to_json()) + "\n" for change in changes)


def write_differences(stream: TextIO, position: int, task: str, cell: CellScores) -> None:
    """Add the samples of a cell that the variants score differently, one JSON object per line."""
    for sample in cell.differences:
        line = {"experience": position, "task": task, **sample.to_json()}
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_variant(run: RunDir, rescored: Rescored, variant: str, facts: Mapping[str, Any]) -> Path:
    """Write `rescored/<variant>/`: `matrix.json`, `matrix.csv` and `metrics.json` as if the run had used that variant.

    Args:
        facts: fields of the run's own `matrix.json` that are not computed from scores (protocol, seed, ...).
    """
    folder = run.path / FOLDER / variant
    matrix = variant_matrix(run.tasks, rescored.scores, variant, run.training)
    metrics = metrics_to_json(matrix.summary())
    facts = {key: value for key, value in facts.items() if key != "bounds"}  # they are of the run's own variant
    protocol = {**facts.get("protocol", {}), "scorers": variant}
    guesses = {"guesses": guesses_of(rescored.scores, variant)}
    content = {**matrix.to_json(), "metrics": metrics, "cost": run.costs(), "versions": run.versions(), **guesses}
    content |= {**facts, "protocol": protocol}
    write_json(folder / "matrix.json", content)
    write_json(folder / "metrics.json", metrics)
    with replacing(folder / "matrix.csv") as stream:
        stream.write(matrix.as_csv())
    return folder
