"""The counterpart of TextVQA: words on signs in a photo, with LLaVA's OCR line and ten annotators' answers."""

from collections.abc import Sequence
from random import Random
from typing import Any

from PIL import Image

from coin_lightning.benchmarks.drawing import SIZES, Materials, sign
from coin_lightning.benchmarks.layout import SHORT_ANSWER, Entry, ImageItems, Item

_WORDS = """open closed exit cafe bakery market hotel museum library station harbor garden cinema theater
    school bank post police pharmacy hospital airport parking taxi bus tickets welcome danger caution slow
    stop yield detour bridge tunnel river lake beach forest mountain park zoo farm studio gallery office
    salon barber florist grocery pizza burger coffee tea juice bread cheese honey fresh organic sale free
    private public entrance reception lobby elevator stairs platform track gate terminal customs lost found
    repair garage tires fuel diesel electric solar water fire ladies gentlemen kids family deluxe royal
    grand central north south east west upper lower sunny happy lucky golden silver crystal rainbow summer
    winter spring autumn monday friday sunday morning evening midnight music dance jazz opera books comics
    toys sports tennis chess yoga fitness swim surf ski camp hike bike runner express local rapid metro
    ferry cargo"""
WORDS: tuple[str, ...] = tuple(_WORDS.split())
_NAMES = (
    "Anna",
    "Bruno",
    "Clara",
    "David",
    "Elena",
    "Felix",
    "Greta",
    "Hugo",
    "Irene",
    "Jonas",
    "Karin",
    "Leo",
    "Maria",
)
_SHOPS = ("bakery", "cafe", "market", "garage", "salon", "studio", "books", "hotel")
_FIRST = (
    "grand",
    "royal",
    "golden",
    "silver",
    "happy",
    "lucky",
    "sunny",
    "central",
    "north",
    "south",
    "crystal",
    "river",
)
_SECOND = (
    "hotel",
    "market",
    "bakery",
    "theater",
    "station",
    "gallery",
    "pharmacy",
    "garden",
    "cinema",
    "florist",
    "plaza",
)
_COLOURS = ("red", "blue", "green", "yellow", "white", "black", "orange")


def textvqa(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One to three signs on a photo; one or two questions about what they say."""
    size = rng.choice(SIZES)
    image = materials.photo_crop(rng, size, (128, 128, 128), rng.randint(0, 30))
    signs = _draw_signs(rng, image, rng.choice((1, 2, 2, 3)))
    tokens = [word for text, _ in signs.values() for word in text.split()]
    rng.shuffle(tokens)
    asked = rng.sample(list(signs), min(len(signs), 2))
    items = [_ask(rng, colour, *signs[colour], alone=len(signs) == 1) for colour in asked]
    for item in items:
        line = f"Reference OCR token: {', '.join(tokens)}"
        item.text = f"{item.text}\n{line}\n{SHORT_ANSWER}"
        item.truth["ocr_tokens"] = tokens
    return ImageItems(image, items)


def _draw_signs(rng: Random, image: Image.Image, count: int) -> dict[str, tuple[str, str]]:
    """Signs in stacked bands; gives colour -> (text, kind of text)."""
    drawn: dict[str, tuple[str, str]] = {}
    band = image.height // count
    for row, colour in enumerate(rng.sample(_COLOURS, count)):
        text, kind = _writing(rng)
        width = image.width * rng.randint(60, 92) // 100
        height = min(band - 8, rng.randint(38, 66))
        left = rng.randint(3, image.width - width - 3)
        top = row * band + rng.randint(2, band - height - 4)
        sign(image, text, (left, top, left + width, top + height), colour, rng)
        drawn[colour] = (text, kind)
    return drawn


def _writing(rng: Random) -> tuple[str, str]:
    """What a sign says, and its kind: word, two words, number, name."""
    kind = rng.choice(("word", "word", "pair", "number", "name"))
    if kind == "number":
        return str(rng.choice((rng.randint(2, 99), rng.randint(100, 999), rng.randint(1000, 9999)))), kind
    if kind == "name":
        text = f"{rng.choice(_NAMES)}'s {rng.choice(_SHOPS)}"
    elif kind == "pair":
        text = f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"
    else:
        text = rng.choice(WORDS)
    return (text.upper() if rng.random() < 0.6 else text.title().replace("'S", "'s")), kind


def _ask(rng: Random, colour: str, text: str, kind: str, alone: bool) -> Item:
    if kind == "number":
        question = "what number is on the sign?" if alone else f"what number is on the {colour} sign?"
    elif alone:
        question = rng.choice(("what does the sign say?", "what is written on the sign?", "what word is on the sign?"))
        question = question.replace("word is", "words are") if " " in text else question
    else:
        question = rng.choice(("what does the {} sign say?", "what is written on the {} sign?")).format(colour)
    return Item(question, text, {"question": question, "answers": ten_answers(rng, text)})


def ten_answers(rng: Random, text: str) -> list[str]:
    """Ten annotators: most agree in lower case; some keep the case, a few read a part or nothing."""
    answers = [text.lower()] * 7
    for _ in range(3):
        part = rng.choice(text.split())
        answers.append(rng.choice((text, text, text.lower(), part.lower(), "unanswerable")))
    rng.shuffle(answers)
    return answers


def textvqa_annotations(entries: Sequence[Entry]) -> dict[str, Any]:
    """The content of ``TextVQA_0.5.1_val.json`` in TextVQA's fields."""
    data = [
        {
            "question_id": entry.question_id,
            "question": entry.item.truth["question"],
            "image_id": str(entry.image).rsplit("/", 1)[-1].removesuffix(".jpg"),
            "answers": entry.item.truth["answers"],
            "set_name": "val",
        }
        for entry in entries
    ]
    return {"dataset_name": "textvqa", "dataset_type": "val", "dataset_version": "0.5.1", "data": data}
