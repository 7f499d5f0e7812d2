"""Scoring a stand-in for every answer before anything is computed: a rule that cannot use a row stops no run later."""

from collections.abc import Sequence
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.judges.truth import ground_truth
from coin_lightning.evaluation.records import AnswerRecord, record_line
from coin_lightning.evaluation.scorer import VARIANTS, Reference
from coin_lightning.evaluation.scorers import RULES, get_scorer
from coin_lightning.tasks.row_format import TestRow
from coin_lightning.tasks.row_sequence import as_rows

ANSWER, BOX = "A", "[0.10,0.10,0.90,0.90]"
"""Predictions that every rule reads to the end: an option letter that is a word too, and a box."""


def unusable(task: str, rows: Sequence[TestRow], references: Sequence[Reference]) -> list[str]:
    """What the rules of a task, the judges and the files of a run cannot use, each with its row.

    Args:
        task: key of the task; one without rules of its own is only checked for the files and judges.
        rows: the test rows.
        references: theirs.
    """
    scorers = [get_scorer(task, variant) for variant in VARIANTS if task in RULES]
    uses: list[Any] = [*scorers, ground_truth, record_line]
    table, problems = as_rows(rows), []
    for index, (id_, reference) in enumerate(zip(table.ids, references, strict=True)):
        record = AnswerRecord(task, id_, "", BOX if "answer_bbox" in reference else ANSWER, reference)
        problems += [f"{table.where(index)}: {line}" for use in uses for line in _reasons(use, record)]
    return problems


def _reasons(use: Any, record: AnswerRecord) -> list[str]:
    try:
        use(record)
    except DataError as error:
        return error.problems
    return []
