"""A rendered conversation with the markers that its images take in a model's own format."""

from collections.abc import Sequence

from coin_lightning.backbones.family import Expansion
from coin_lightning.backbones.prompts import Rendered, Span, overlaps


def expanded(page: Rendered, placeholder: str, images: Sequence[Expansion]) -> tuple[Rendered, list[int]]:
    """The page with each placeholder replaced, in order, and how many tokens each image token in it stands for.

    A placeholder in somebody's text is a word like others. Where there are more placeholders than images, or fewer, the
    rest stays out: who counts image tokens sees it.
    """
    text, learned, plain = page
    places = _places(text, placeholder, plain)[: len(images)]
    used = images[: len(places)]
    runs = [run for image in used for run in image.runs]
    if all(image.text == placeholder for image in used):
        return page, runs
    pieces, at, shifts = [], 0, list[Span]()  # shifts: from which character on, by how many
    for place, image in zip(places, used, strict=True):
        pieces += [text[at:place], image.text]
        at = place + len(placeholder)
        shifts.append((at, len(image.text) - len(placeholder)))
    return Rendered("".join([*pieces, text[at:]]), _moved(learned, shifts), _moved(plain, shifts)), runs


def _places(text: str, placeholder: str, plain: Sequence[Span]) -> list[int]:
    found, at = [], text.find(placeholder)
    while at >= 0:
        if not overlaps((at, at + len(placeholder)), plain):
            found.append(at)
        at = text.find(placeholder, at + len(placeholder))
    return found


def _moved(spans: Sequence[Span], shifts: Sequence[Span]) -> list[Span]:
    def moved(place: int) -> int:
        return place + sum(by for start, by in shifts if place >= start)

    return [(moved(start), moved(stop)) for start, stop in spans]
