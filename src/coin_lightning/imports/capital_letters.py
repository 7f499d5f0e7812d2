"""What a rule that minds capital letters hides: answers that it counts as wrong and that are the label but for them.

CoIN's rule for ImageNet asks whether the label stands in the answer, or the answer in the label, letter by letter
(`coin_reference.md` section 4.2): "piggy bank" is wrong against "Piggy bank". How many answers that concerns is known
exactly where only the wrong answers were kept; what the corrected rule makes of the others is not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.scorer import DEFAULT, RuleScorer
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import REFERENCE
from coin_lightning.imports.cells import Cell
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.result_files import Wrong

RIGHT = 0.5
NOT_READ = ("answers", "choices", "answer_bbox")
"""Fields of truths that are more than one text."""


@dataclass(frozen=True)
class Hidden:
    """A cell whose wrong answers are known.

    Attributes:
        position, task: of the cell. samples: all answers. wrong: those that are wrong by the reference rule.
        capitals: of these, the ones that are the label but for capital letters.
        mended: of these, the ones that the corrected rule counts as right.
        corrected: score by the corrected rule in percent; `at_most` where only the wrong answers are known.
        lost, lost_in_capitals, won: since the task's own training: answers that were right and are wrong, those of them
            that are the label but for capital letters, and answers that were wrong and are right. None where its own
            row is not known.
        judged: the judge's score in percent.
    """

    position: int
    task: str
    samples: int
    wrong: int
    capitals: int
    mended: int
    corrected: float
    at_most: bool
    lost: int | None = None
    lost_in_capitals: int | None = None
    won: int | None = None
    judged: float | None = None

    @property
    def reference(self) -> float:
        """Score by the reference rule in percent."""
        return self.percent(self.samples - self.wrong)

    def percent(self, count: int) -> float:
        """Answers as a share of all, in percent."""
        return 100.0 * count / self.samples

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def hidden_in(
    cells: Mapping[tuple[int, str], Cell], order: Sequence[str], scoring: Mapping[str, Scoring], findings: Findings
) -> list[Hidden]:
    """What capital letters make of the cells of a run whose wrong answers are known, by task and row.

    Cells whose printed labels are not those of the same questions elsewhere in the run are told and left out: there the
    script has joined answers and labels by their place in two files.
    """
    read = {task for task, each in scoring.items() if _is_rule(each, REFERENCE) and _is_rule(each, DEFAULT)}
    known = {key: wrong for key, cell in cells.items() if key[1] in read and (wrong := _wrong(cell)) is not None}
    for key in _out_of_place({key: wrong for key, wrong in known.items() if cells[key].scores is None}):
        where = f"{cells[key].place.folder.parent.name}/{cells[key].place.folder.name}"
        findings.add(
            "printed scores whose labels are not those that the same questions have elsewhere in the run: answers and "
            "labels were joined by place, in another order",
            where,
        )
        del known[key]
    found: list[Hidden] = []
    for position, task in sorted(known, key=lambda key: (order.index(key[1]), key[0])):
        cell, own = cells[position, task], (order.index(task) + 1, task)
        try:
            hidden, capitals = _counted(position, cell, known[position, task], scoring[task])
        except DataError:
            told = f"{cell.place.folder.parent.name}/{cell.place.folder.name}"
            findings.add("lists of wrong answers whose labels say too little for the task's rule, left out", told)
            continue
        if own in known and _samples(cells[own]) == hidden.samples and position > own[0]:
            now, then = ({wrong.question_id for wrong in known[key]} for key in ((position, task), own))
            hidden = replace(
                hidden, lost=len(now - then), lost_in_capitals=len((now - then) & capitals), won=len(then - now)
            )
        found.append(hidden)
    return found


def _is_rule(scoring: Scoring, variant: str) -> bool:
    return isinstance(scoring.scorers.get(variant), RuleScorer)


def _counted(position: int, cell: Cell, wrong: Sequence[Wrong], scoring: Scoring) -> tuple[Hidden, set[str]]:
    """The counts of a cell, and ids of the answers that are wrong for their capital letters only."""
    capitals = {each.question_id for each in wrong if each.text.strip().lower() == each.truth.strip().lower()}
    rule: Any = scoring.scorer(DEFAULT)
    mended = sum(rule({"prediction": each.text, "reference": {"answer": each.truth}}) >= RIGHT for each in wrong)
    samples, task = _samples(cell), cell.place.task
    exact = None if cell.scores is None else cell.scores.by_variant[DEFAULT].score
    corrected = 100.0 * (samples - len(wrong) + mended) / samples if exact is None else exact
    counts = (samples, len(wrong), len(capitals), mended)
    return Hidden(position, task, *counts, corrected, exact is None, judged=cell.judged), capitals


def _samples(cell: Cell) -> int:
    if cell.records is not None:
        return len(cell.records)
    return (cell.printed.samples if cell.printed is not None else None) or 0


def _wrong(cell: Cell) -> Sequence[Wrong] | None:
    """Answers that the reference rule counts as wrong; None where that is not known, or their truth is not one text."""
    if cell.records is None or cell.scores is None:
        return cell.printed.wrong if cell.printed is not None and cell.printed.samples else None
    each = cell.scores.by_variant[REFERENCE].each if REFERENCE in cell.scores.by_variant else None
    if each is None or any(name in cell.records[0].reference for name in NOT_READ):
        return None
    return [
        Wrong(record.question_id, record.prediction, str(record.reference["answer"]))
        for record, score in zip(cell.records, each, strict=True)
        if (score or 0.0) < RIGHT
    ]


def _out_of_place(known: Mapping[tuple[int, str], Sequence[Wrong]]) -> list[tuple[int, str]]:
    """Cells most of whose labels other cells of the same task contradict."""
    labels: dict[tuple[str, str], Counter[str]] = {}
    for (_, task), wrong in known.items():
        for each in wrong:
            labels.setdefault((task, each.question_id), Counter())[each.truth] += 1

    def contradicted(task: str, each: Wrong) -> bool:
        others = labels[task, each.question_id]
        return any(count >= others[each.truth] for label, count in others.items() if label != each.truth)

    return [key for key, wrong in known.items() if 2 * sum(contradicted(key[1], each) for each in wrong) > len(wrong)]
