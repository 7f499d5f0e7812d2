"""One cell of an imported score matrix: its answers joined with their truth by id, and scored; what was printed."""

from collections.abc import Sequence
from dataclasses import dataclass

from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import REFERENCE, CellScores, over_the_split, score_all
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.folders import ANSWERS, JUDGED, OPTIONS, PRINTED, Place
from coin_lightning.imports.questions import Questions
from coin_lightning.imports.result_files import Answer, Printed, read_answers, read_judged, read_options, read_printed

WHOLE_SPLIT = ("scienceqa",)
"""Tasks whose script divides by all questions of the split; the others divide by what was answered."""
ROUNDED = 0.0051
"""Points by which a score that was printed with two digits may differ."""


@dataclass(frozen=True)
class Cell:
    """What is known of a cell; records and scores are None where no answers can be used. `unanswered` are the questions
    without an answer that the reference score counts as wrong."""

    place: Place
    records: Sequence[AnswerRecord] | None = None
    scores: CellScores | None = None
    printed: Printed | None = None
    judged: float | None = None
    unanswered: int = 0

    @property
    def is_scored(self) -> bool:
        """Whether a rule's score is known, from answers or because it was printed."""
        return self.scores is not None or self.printed is not None


def read_cell(
    place: Place, where: str, questions: Questions | None, scoring: Scoring, zero_shot: bool, findings: Findings
) -> Cell:
    """Read the files of a cell.

    Args:
        place: its folder.
        where: what findings call it.
        questions: with their truth; None where none were given.
        scoring: of the task.
        zero_shot: whether it is of the first row, in which what guessing gives is computed, too.
        findings: gets what is missing or wrong.

    Raises:
        DataError: a file cannot be read, or a rule cannot use a truth.
    """
    answers, printed = _answers(place, where, findings)
    if (file := place.file(PRINTED)) is not None:
        printed = read_printed(file)
        if printed.all_scores:
            found = ", ".join(f"{score:.2f}" for score in printed.all_scores)
            findings.add("scores that were printed several times, of which the last one counts", f"{where} ({found})")
    file = place.file(JUDGED)
    judged = None if file is None else read_judged(file)
    records = None if answers is None else _joined(answers, place.task, where, questions, findings)
    if not records or questions is None:
        return Cell(place, printed=printed, judged=judged)
    unanswered = len(questions.references) - len(records) if place.task in WHOLE_SPLIT else 0
    scores = over_the_split(score_all(records, scoring, guesses=zero_shot), unanswered)
    _compare(scores, printed, where, findings)
    return Cell(place, records, scores, printed, judged, unanswered)


def _answers(place: Place, where: str, findings: Findings) -> tuple[list[Answer] | None, Printed | None]:
    """Answers from the file that has them, and the accuracy of ScienceQA, which has a file of its own."""
    answers, printed = None, None
    if (file := place.file(OPTIONS)) is not None:
        answers, printed, failed = read_options(file)
        if failed and place.file(ANSWERS) is None:
            findings.add(f"questions without an answer in {OPTIONS}", f"{where} ({failed})")
    if (file := place.file(ANSWERS)) is not None:
        return read_answers(file), printed
    if answers is None and (chunks := sorted(place.folder.glob("[0-9]*_[0-9]*.jsonl"))):
        findings.add(f"parts of answers without {ANSWERS}; join them with cat", f"{where} ({len(chunks)} files)")
    return answers, printed


def _joined(
    answers: Sequence[Answer], task: str, where: str, questions: Questions | None, findings: Findings
) -> list[AnswerRecord] | None:
    """Records in the order of the answers; None where the answers cannot be used, which findings then say."""
    if questions is None:
        findings.add("answers whose ground truth is not there (--data ROOT), so that no rule can read them", where)
        return None
    once = _once(answers, where, findings)
    if once is None:
        return None
    known = [answer for answer in once if answer.question_id in questions.references]
    if not known:
        ids = (repr(next(iter(each), "")) for each in ([answer.question_id for answer in once], questions.texts))
        findings.add(
            f"answers none of whose ids is in {questions.file.name}, so that they are not used",
            f"{where} ({' against '.join(ids)})",
        )
        return None
    if strangers := len(once) - len(known):
        findings.add("answers to questions that the data do not have, left out", f"{where} ({strangers})")
    if missing := len(questions.references) - len(known):
        whole = "which by its script's rule are wrong in the reference score, alone"
        effect = whole if task in WHOLE_SPLIT else "which no score counts"
        findings.add(f"questions without an answer, {effect}", f"{where} ({missing} of {len(questions.references)})")
    if other := sum(not _asks(answer, questions) for answer in known):
        findings.add(
            "prompts that are not the text of their question (other instructions? --instructions)", f"{where} ({other})"
        )
    return [
        AnswerRecord(
            task,
            answer.question_id,
            questions.texts[answer.question_id] if _asks(answer, questions) else answer.prompt or "",
            answer.text,
            questions.references[answer.question_id],
        )
        for answer in known
    ]


def _asks(answer: Answer, questions: Questions) -> bool:
    """Whether a prompt, where the file has it, holds the question's text, in whatever its model puts around it."""
    return not answer.prompt or questions.texts[answer.question_id].strip() in answer.prompt


def _once(answers: Sequence[Answer], where: str, findings: Findings) -> list[Answer] | None:
    """Each question's answer once; None where there are none, or a question has two different ones."""
    first: dict[str, Answer] = {}
    unlike = [answer for answer in answers if first.setdefault(answer.question_id, answer).text != answer.text]
    if unlike:
        example = f"{where} ({len(unlike)}, e.g. {unlike[0].question_id})"
        findings.add("questions with two different answers, so that the answers are not used", example)
        return None
    if repeated := len(answers) - len(first):
        findings.add("answers that stand there more than once, used once", f"{where} ({repeated})")
    if not first:
        findings.add("files without an answer", where)
    return list(first.values()) or None


def _compare(scores: CellScores, printed: Printed | None, where: str, findings: Findings) -> None:
    found = scores.by_variant.get(REFERENCE)
    if printed is not None and found is not None and abs(found.score - printed.score) > ROUNDED:
        findings.add(
            "printed scores that the answers do not give by the same rule",
            f"{where} (printed {printed.score:.2f}, recomputed {found.score:.2f})",
        )
