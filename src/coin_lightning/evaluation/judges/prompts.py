"""What a judge is asked: the message blocks of CoIN's paper, with the rules in our own words.

The blocks and their order are the published ones (`coin_reference.md` section 5): question, ground truth, the model's
answer, the rule; the judge never sees the image. The rules say what the published ones say.
"""

import hashlib
import json

from coin_lightning.evaluation.judges.truth import ground_truth, is_box, shown_answer
from coin_lightning.evaluation.records import AnswerRecord

Message = dict[str, str]

IMAGE = "<image>"
SYSTEM = "You are a helpful assistant."
LAYOUT = (
    "[Context]\n[Question]\n{question}\n\n[Ground truth answer]\n{truth}\n\n[End of ground truth answer]\n\n"
    "[Assistant]\n{answer}\n\n[End of Assistant]\n\n[System]\n{rule}"
)
RULE = (
    "Judge how well the assistant's answer agrees with the ground truth answer to the question above.\n"
    "Give its accuracy as one overall score from 0 to 10: 0 for an answer that is wrong altogether, 10 for one that "
    "says the same as the ground truth; a better answer gets a higher score.\n"
    "Write a single line that holds this one number and nothing else."
)
BOX_RULE = (
    "The question is about a picture, which you do not see, and asks where in it the described object is. Ground truth "
    "and answer are bounding boxes (x1, y1, x2, y2) of four decimal numbers from 0 to 1: x and y of the upper left "
    "corner, then x and y of the lower right corner.\n" + RULE
)


def prompt_sha() -> str:
    """First 16 hex digits of the sha256 over all wordings: it changes when any judge would be asked something else."""
    return hashlib.sha256(json.dumps([SYSTEM, LAYOUT, RULE, BOX_RULE]).encode()).hexdigest()[:16]


def question_text(record: AnswerRecord, variant: str) -> str:
    """The question without its last line, which tells how to answer; with boxes, all of it.

    `reference` drops the last line always, so that nothing is left of a text of one line; `strict` keeps that line.
    """
    if is_box(record.reference):
        return record.prompt
    *lines, last = record.prompt.split("\n")
    return "\n".join(lines) if lines or variant == "reference" else last


def build_messages(record: AnswerRecord, variant: str = "strict") -> tuple[Message, ...]:
    """System and user message for one answer. `<image>` is taken out everywhere, as in the published code.

    Raises:
        DataError: the sample has no ground truth.
    """
    text = LAYOUT.format(
        question=question_text(record, variant),
        truth=ground_truth(record),
        answer=record.prediction if variant == "reference" else shown_answer(record),
        rule=BOX_RULE if is_box(record.reference) else RULE,
    )
    return {"role": "system", "content": SYSTEM}, {"role": "user", "content": text.replace(IMAGE, "").strip()}
