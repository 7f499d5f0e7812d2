"""The counterpart of ScienceQA: multiple choice over natural, social and language science, half without an image."""

from random import Random
from typing import Any

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.layout import LETTER_ANSWER, Entry, ImageItems, Item
from coin_lightning.benchmarks.science_images import WITH_IMAGE
from coin_lightning.benchmarks.science_questions import Question
from coin_lightning.benchmarks.science_texts import TEXT_ONLY


def scienceqa(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One question, every other one with an image."""
    makers = WITH_IMAGE if index % 2 == 0 else TEXT_ONLY
    question = rng.choice(makers)(rng, materials, split)
    place = question.choices.index(question.right)
    options = " ".join(f"({chr(65 + i)}) {choice}" for i, choice in enumerate(question.choices))
    text = f"{question.text}\nContext: {question.hint or 'N/A'}\nOptions: {options}\n{LETTER_ANSWER}"
    truth = {"question": question, "place": place, "split": split}
    return ImageItems(question.image, [Item(text, chr(65 + place), truth)])


def problem(entry: Entry) -> dict[str, Any]:
    """The question in the fields of ScienceQA's ``problems.json``; ``answer`` is the index of the right option."""
    question: Question = entry.item.truth["question"]
    return {
        "question": question.text,
        "choices": list(question.choices),
        "answer": entry.item.truth["place"],
        "hint": question.hint,
        "image": None if entry.image is None else entry.image.rsplit("/", 1)[-1],
        "task": "closed choice",
        "grade": "grade5",
        "subject": question.subject,
        "topic": question.topic,
        "category": question.topic.capitalize(),
        "skill": question.text,
        "lecture": "",
        "solution": f"The right answer is {question.right}.",
        "split": entry.item.truth["split"],
    }
