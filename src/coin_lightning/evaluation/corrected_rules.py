"""`corrected` rules: each data set's official rule, with the one addition that a blank answer is wrong everywhere.

Where the official code is at odds with itself or with another copy of it:

* VQA v2 and VizWiz: soft accuracy over ten annotators, everything in `challenge_form`. The VQA v2 script leaves
  prediction and annotators as they are when all ten agree ("Yes" is then wrong against ten times "yes"); the VizWiz
  script always processes the prediction and never the annotators ("the cup" is then wrong against "the cup").
  Published results process predictions beforehand. Here both sides are always processed.
* TextVQA: the same accuracy with the processor of its authors, `evalai_form`.
* GQA: exact match. The official script expects lower-case words; answers of a language model lose their last points and
  outer spaces, as everywhere in the literature.
* ImageNet: the class, under any of its names. OCR-VQA has no official script: exact match in `normalize_answer` form.
* Referring expressions: IoU above one half. ScienceQA: the letter, or the text of one choice.
"""

from collections.abc import Callable

from coin_lightning.evaluation.answer_text import challenge_form, evalai_form, normalize_answer
from coin_lightning.evaluation.boxes import IOU_THRESHOLD, answer_box, box_iou, clip_to_frame, parse_box
from coin_lightning.evaluation.option_letters import named_option
from coin_lightning.evaluation.scorer import Reference
from coin_lightning.evaluation.vqa_accuracy import ANNOTATORS, soft_accuracy


def vqa(prediction: str, reference: Reference) -> float:
    """VQA v2, VizWiz: soft accuracy where the sample has ten annotators, else 1 for the one `answer`."""
    if len(reference.get("answers") or ()) == ANNOTATORS:
        return _soft(prediction, reference, challenge_form)
    return _equal(prediction, reference, challenge_form)


def textvqa(prediction: str, reference: Reference) -> float:
    """TextVQA: soft accuracy over ten `answers`."""
    return _soft(prediction, reference, evalai_form)


def gqa(prediction: str, reference: Reference) -> float:
    """GQA: the lower-cased answer is equal, outer spaces and last points aside."""
    return _equal(prediction, reference, _bare)


def ocrvqa(prediction: str, reference: Reference) -> float:
    """OCR-VQA: equal in `normalize_answer` form."""
    return _equal(prediction, reference, normalize_answer)


def imagenet(prediction: str, reference: Reference) -> float:
    """ImageNet: the label in `normalize_answer` form, or one of its comma-separated synonyms; no substrings."""
    label = reference["answer"]
    accepted = {normalize_answer(name) for name in (label, *label.split(",")) if name.strip()}
    return float(prediction.strip() != "" and normalize_answer(prediction) in accepted)


def scienceqa(prediction: str, reference: Reference) -> float | None:
    """ScienceQA: `named_option` is the right one.

    Raises:
        ValueError: `answer_index` is no index into `choices`.
    """
    right, choices = int(reference["answer_index"]), reference["choices"]
    if not 0 <= right < len(choices):
        raise ValueError(f"answer_index {right} is no index into {len(choices)} choices")
    named = named_option(prediction, choices)
    return None if named is None else float(named == right)


def grounding(prediction: str, reference: Reference) -> float | None:
    """Grounding: IoU with `answer_bbox` above one half; swapped corners have no area.

    A sample with `box_format` was asked in a backbone's own frame and numbers: the prediction is read in it and
    brought back into the padded frame of `answer_bbox`. The predicted box is clipped to the image.

    Raises:
        ValueError: `answer_bbox` is not four numbers.
    """
    truth = parse_box(reference["answer_bbox"])
    if truth is None:
        raise ValueError(f"answer_bbox {reference['answer_bbox']!r} is not four numbers")
    box = answer_box(prediction, reference)
    # Rounding keeps "exactly one half is not above it" true for boxes of two decimals.
    return None if box is None else float(round(box_iou(clip_to_frame(box), truth), 9) > IOU_THRESHOLD)


def _soft(prediction: str, reference: Reference, form: Callable[[str], str]) -> float:
    score = soft_accuracy(prediction, reference["answers"], form)
    return score if prediction.strip() else 0.0


def _equal(prediction: str, reference: Reference, form: Callable[[str], str]) -> float:
    return float(form(reference["answer"]) == form(prediction) and prediction.strip() != "")


def _bare(text: str) -> str:
    return text.strip().rstrip(".").rstrip().lower()
