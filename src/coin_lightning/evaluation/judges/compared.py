"""What a similarity compares of an answer: two texts, or two boxes. Letters become the options that they name."""

from dataclasses import dataclass

from coin_lightning.errors import DataError
from coin_lightning.evaluation.boxes import answer_box, box_iou, clip_to_frame, parse_box
from coin_lightning.evaluation.judges.truth import ground_truth, is_box
from coin_lightning.evaluation.option_letters import named_option
from coin_lightning.evaluation.records import AnswerRecord


@dataclass(frozen=True)
class Compared:
    """Answer and ground truth as texts; `score` when no text model is needed to grade them."""

    answer: str
    truth: str
    score: float | None = None


def compared(record: AnswerRecord) -> Compared:
    """What to compare for one record.

    A box answer scores ten times its intersection over union with the true box, 0 when it is no box: a text model
    cannot tell near boxes from far ones. A blank answer scores 0. Where the sample has choices, a letter stands for the
    choice that it names, on both sides; an answer that names none stays as it is.

    Raises:
        DataError: the sample has no ground truth, or its box is none.
    """
    truth = ground_truth(record)
    if is_box(record.reference):
        return Compared(record.prediction, truth, 10.0 * _overlap(record, truth))
    answer = record.prediction.strip()
    if not answer:
        return Compared(answer, truth, 0.0)
    choices = [str(choice) for choice in record.reference.get("choices") or ()]
    return Compared(_chosen(answer, choices), _chosen(truth.strip(), choices))


def _chosen(text: str, choices: list[str]) -> str:
    index = named_option(text, choices) if choices else None
    return text if index is None else choices[index].strip() or text


def _overlap(record: AnswerRecord, truth: str) -> float:
    true_box = parse_box(truth)
    if true_box is None:
        raise DataError(f"{record.task}, question {record.question_id}: answer_bbox {truth!r} is not four numbers")
    box = answer_box(record.prediction, record.reference)
    return 0.0 if box is None else box_iou(clip_to_frame(box), true_box)
