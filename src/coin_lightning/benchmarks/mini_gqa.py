"""The counterpart of GQA: relations, colours and presence of things in composed scenes."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from coin_lightning.benchmarks.drawing import SIZES, Materials
from coin_lightning.benchmarks.layout import Entry, ImageItems, Item, short
from coin_lightning.benchmarks.mini_scenes import COUNTABLE_CLASSES, Placed, compose, pick_things
from coin_lightning.benchmarks.vocabulary import COLOURED, IN_PHOTOS, Thing, with_article


def gqa(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """A scene of two to four things and up to five questions of different kinds about it, at most two yes/no."""
    things = pick_things(rng, rng.choice((2, 2, 2, 3, 4)), rng.choice((0, 1, 1, 2)))
    image, placed = compose(rng, materials, things, (34, 48), rng.choice(SIZES))
    kinds: list[Callable[[Random, list[Placed]], Item | None]] = [_verify, _choose, _query, _colour, _exist, _both]
    rng.shuffle(kinds)
    items = [item for item in (kind(rng, placed) for kind in kinds) if item is not None]
    closed = [item for item in items if item.answer in ("yes", "no")]
    return ImageItems(image, [item for item in items if item not in closed[2:]])


def _clear_pair(rng: Random, placed: list[Placed]) -> tuple[Placed, Placed, int] | None:
    """Two things and the axis (0 x, 1 y) on which their centres are clearly apart."""
    pairs = [
        (a, b, axis)
        for a in placed
        for b in placed
        for axis in (0, 0, 1)
        if a is not b and (a.box[axis + 2] <= b.box[axis] + 6 or b.box[axis + 2] <= a.box[axis] + 6)
    ]
    return rng.choice(pairs) if pairs else None


_RELATIONS = (("to the left of", "to the right of"), ("above", "below"))


def _relation(a: Placed, b: Placed, axis: int) -> int:
    return 0 if a.centre[axis] < b.centre[axis] else 1


def _verify(rng: Random, placed: list[Placed]) -> Item | None:
    if (pair := _clear_pair(rng, placed)) is None:
        return None
    a, b, axis = pair
    asked = rng.randint(0, 1)
    true = _relation(a, b, axis) == asked
    said, holds = _RELATIONS[axis][asked], _RELATIONS[axis][_relation(a, b, axis)]
    full = f"{'Yes' if true else 'No'}, the {a.thing.name} is {holds} the {b.thing.name}."
    return _item(f"Is the {a.thing.name} {said} the {b.thing.name}?", "yes" if true else "no", "verify", "rel", full)


def _choose(rng: Random, placed: list[Placed]) -> Item | None:
    pair = _clear_pair(rng, placed)
    if pair is None or pair[2] == 1:
        return None
    a, b, _ = pair
    side = ("left", "right")[_relation(a, b, 0)]
    question = f"Is the {a.thing.name} to the left or to the right of the {b.thing.name}?"
    return _item(question, side, "choose", "rel", f"The {a.thing.name} is to the {side} of the {b.thing.name}.")


def _query(rng: Random, placed: list[Placed]) -> Item | None:
    pair = _clear_pair(rng, placed)
    if pair is None or len(placed) > 2:  # with more things the answer would not be unique
        return None
    a, b, axis = pair
    words = _RELATIONS[axis][_relation(a, b, axis)]
    question = f"What is {words} the {b.thing.name}?"
    return _item(question, a.thing.name, "query", "rel", f"The {a.thing.name} is {words} the {b.thing.name}.")


def _colour(rng: Random, placed: list[Placed]) -> Item | None:
    coloured = [spot.thing for spot in placed if spot.thing.colour]
    if not coloured:
        return None
    thing = rng.choice(coloured)
    full = f"The {thing.name} is {thing.colour}."
    if rng.random() < 0.7:
        return _item(f"What color is the {thing.name}?", thing.colour, "query", "attr", full)
    true = rng.random() < 0.5
    others = [other.colour for other in COLOURED if other.name == thing.name and other.colour != thing.colour]
    asked = thing.colour if true else rng.choice(others)
    return _item(f"Is the {thing.name} {asked}?", "yes" if true else "no", "verify", "attr", full)


def _absent(rng: Random, placed: list[Placed]) -> Thing:
    present = {spot.thing.name for spot in placed} | IN_PHOTOS
    return rng.choice([thing for thing in COUNTABLE_CLASSES if thing.name not in present])


def _exist(rng: Random, placed: list[Placed]) -> Item:
    true = rng.random() < 0.5
    thing = rng.choice(placed).thing if true else _absent(rng, placed)
    phrase = with_article(thing.name)
    full = f"{'Yes, there is' if true else 'No, there is not'} {phrase} in the picture."
    return _item(f"Is there {phrase} in the picture?", "yes" if true else "no", "verify", "obj", full)


def _both(rng: Random, placed: list[Placed]) -> Item:
    first, second = (spot.thing for spot in rng.sample(placed, 2))
    true = rng.random() < 0.5
    second = second if true else _absent(rng, placed)
    words = f"both {with_article(first.name)} and {with_article(second.name)}"
    full = f"{'Yes, there are' if true else 'No, there are not'} {words}."
    return _item(f"Are there {words}?", "yes" if true else "no", "logical", "obj", full)


def _item(question: str, answer: str, structural: str, semantic: str, full: str) -> Item:
    truth = {"question": question, "fullAnswer": full, "structural": structural, "semantic": semantic}
    return Item(short(question), answer, truth)


def gqa_annotations(entries: Sequence[Entry]) -> dict[str, Any]:
    """The content of ``testdev_balanced_questions.json``: question id -> annotation in GQA's fields."""
    return {str(entry.question_id): _annotation(entry) for entry in entries}


def _annotation(entry: Entry) -> dict[str, Any]:
    truth = entry.item.truth
    types = {"structural": truth["structural"], "semantic": truth["semantic"]}
    types["detailed"] = f"{truth['structural']}{truth['semantic'].capitalize()}"
    operation = {"operation": truth["structural"], "dependencies": [], "argument": truth["question"]}
    return {
        "question": truth["question"],
        "answer": entry.item.answer,
        "fullAnswer": truth["fullAnswer"],
        "imageId": str(entry.image).rsplit("/", 1)[-1].removesuffix(".jpg"),
        "isBalanced": True,
        "types": types,
        "groups": {"global": None, "local": None},
        "entailed": [],
        "equivalent": [str(entry.question_id)],
        "semantic": [operation],
    }
