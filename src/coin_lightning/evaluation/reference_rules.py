"""`reference` rules: what CoIN's released scripts do (branch CoIN, `ETrain/Eval/LLaVA/CoIN/`), oddities included.

They were compared with the scripts themselves on generated inputs. Where the scripts stop with an exception there is
nothing to agree with; here:

| the scripts stop at | here |
|---|---|
| TextVQA sample without exactly ten annotators; an answer that is no text | `DataError` naming the sample |
| Grounding sample whose `answer_bbox` is not four numbers | the same, whatever was predicted |
| an answer to a question that the annotation does not have; no answers at all | `DataError` |
| more ImageNet answers than samples (they are joined by position) | `DataError` |
| ScienceQA right answer beyond E | the sample counts as wrong: these rules know five letters |
| two answers to one question (counted twice, or the last one) | `DataError` |
| ScienceQA right answer below A (-1 makes every unreadable answer right) | `DataError` |
"""

from coin_lightning.evaluation.answer_text import evalai_normalize
from coin_lightning.evaluation.boxes import IOU_THRESHOLD, minigpt_box, reference_box, reference_iou
from coin_lightning.evaluation.option_letters import reference_option
from coin_lightning.evaluation.scorer import Reference
from coin_lightning.evaluation.vqa_accuracy import soft_accuracy


def textvqa(prediction: str, reference: Reference) -> float:
    """TextVQA: soft accuracy with EvalAI's processor (m4c_evaluator.py)."""
    return soft_accuracy(prediction, reference["answers"], evalai_normalize)


def upper(prediction: str, reference: Reference) -> float:
    """VizWiz, VQAv2: upper-cased text equals the one `answer`; annotators, punctuation and spaces are not looked at."""
    return float(prediction.upper() == reference["answer"].upper())


def gqa(prediction: str, reference: Reference) -> float:
    """GQA: the prediction without trailing points, lower-cased, equals the answer as written."""
    return float(prediction.rstrip(".").lower() == reference["answer"])


def ocrvqa(prediction: str, reference: Reference) -> float | None:
    """OCR-VQA: lower-cased text is equal; a prediction containing "Unanswerable" is skipped but stays in the
    denominator."""
    if "Unanswerable" in prediction:
        return None
    return float(prediction.lower() == reference["answer"].lower())


def imagenet(prediction: str, reference: Reference) -> float:
    """ImageNet: label in prediction or prediction in label, case-sensitive; so the empty answer is right.

    As of the stored results (commit fa896c9) and the released code; a later copy of Qwen's script lower-cases both.
    """
    label = reference["answer"]
    return float(label in prediction or prediction in label)


def scienceqa(prediction: str, reference: Reference) -> float | None:
    """ScienceQA: `reference_option` is the right one.

    Raises:
        ValueError: `answer_index` is negative.
    """
    named, right = reference_option(prediction, reference["choices"]), int(reference["answer_index"])
    if right < 0:
        raise ValueError(f"answer_index {right} is negative")
    return None if named is None else float(named == right)


def grounding(prediction: str, reference: Reference) -> float | None:
    """Grounding: IoU above 0.5 of the box that `reference_box` reads, computed in pixels of the longer side."""
    parts = reference["answer_bbox"].replace("[", "").replace("]", "").split(",")
    x1, y1, x2, y2 = (float(part) for part in parts)
    box = reference_box(prediction)
    if box is None:
        return None
    return float(reference_iou(box, (x1, y1, x2, y2), max(reference.get("size", (1,)))) > IOU_THRESHOLD)


def grounding_minigpt_v2(prediction: str, reference: Reference) -> float | None:
    """Grounding as CoIN scores MiniGPT-v2 (`ETrain/Eval/MiniGPT/eval_grounding.py`): IoU above 0.5 of the box that
    `minigpt_box` reads and `origin_answer_bbox`, shares of the image itself, both as they are."""
    parts = reference["origin_answer_bbox"].replace("[", "").replace("]", "").split(",")
    x1, y1, x2, y2 = (float(part) for part in parts)
    box = minigpt_box(prediction)
    return None if box is None else float(reference_iou(box, (x1, y1, x2, y2), 1) > IOU_THRESHOLD)
