"""Boxes in the frame and the notation of a backbone.

On disk a box is "[x1,y1,x2,y2]", shares of the image padded to a square (`coin_reference.md` section 3.4). A backbone
that sees the image in another frame, or was trained to write boxes in another way, gets and gives them in its own.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coin_lightning.errors import ConfigError

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2; corners from the upper left."""
Size = Sequence[int]
"""Width and height of the image in pixels."""

FRAMES = ("padded", "squashed", "original")
NUMBERS = ("unit", "percent_tags", "thousand_tags", "thousand", "thousand_boxes", "pixels")
SCALES = {"unit": 1, "percent_tags": 100, "thousand_tags": 1000, "thousand": 1000, "thousand_boxes": 1000}
"""What the numbers are shares of; of pixels it is the size in which the image is shown."""

# A run of digits and points with its sign and exponent. A minus between two numbers ("0.1-0.2") separates; digits
# glued to a letter ("x1=", "3rd") are no number. Nothing is tried twice, so that a million digits are read in one go.
_NUMBER = re.compile(r"(?<![\w.])[-+]?\.*+\d[\d.]*+(?:[eE][-+]?\d++)?+(?![^\W\d_])", re.ASCII)
_ON_DISK = re.compile(r"\[[-+\d., eE]+\]\.?", re.ASCII)
SLACK = 0.02
"""By how much a box on disk may exceed its frame: boxes have two decimals, which may be cut off instead of rounded."""
_DASHES = str.maketrans({"\u2013": "-", "\u2014": "-", "\u2212": "-"})


def four_numbers(text: str) -> Box | None:
    """The four numbers of a text, in their order, or None unless there are exactly four.

    Any brackets, tags, separators, spaces and words are allowed around them: "[0.1,0.2,0.3,0.4]",
    "<box>(10,20),(30,40)</box>", "{<10><20><30><40>}", "x1=.1 y1=.2 x2=.3 y2=.4". Their range is not checked.
    """
    numbers = []
    for run in _NUMBER.findall(unicodedata.normalize("NFKC", text).translate(_DASHES)):
        try:
            numbers.append(float(run.rstrip(".")))
        except ValueError:  # "0.1.2"
            return None
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def box_on_disk(text: str) -> Box | None:
    """The box of a text that is nothing but one in CoIN's notation, numbers from 0 to 1 but for `SLACK`; else None."""
    box = four_numbers(text) if _ON_DISK.fullmatch(text.strip()) else None
    return box if box is not None and in_frame(box) else None


def in_frame(box: Box) -> bool:
    """Whether no corner lies further outside of the padded square than `SLACK`."""
    return min(box) >= -SLACK and max(box) <= 1 + SLACK


def _padding(size: Size) -> tuple[int, int, int]:
    """Side of the padded square and the image's place in it, in pixels, as `images.pad_to_square` has them."""
    width, height = size
    side = max(width, height)
    return side, (side - width) // 2, (side - height) // 2


def to_original(box: Box, size: Size) -> Box:
    """From shares of the padded square to shares of the image's own width and height, not clipped."""
    side, left, top = _padding(size)
    width, height = size
    x1, x2 = ((value * side - left) / width for value in box[::2])
    y1, y2 = ((value * side - top) / height for value in box[1::2])
    return x1, y1, x2, y2


def to_padded(box: Box, size: Size) -> Box:
    """From shares of the image's own width and height to shares of the padded square."""
    side, left, top = _padding(size)
    width, height = size
    x1, x2 = ((value * width + left) / side for value in box[::2])
    y1, y2 = ((value * height + top) / side for value in box[1::2])
    return x1, y1, x2, y2


@dataclass(frozen=True)
class BoxFormat:
    """A backbone's boxes.

    Attributes:
        frame: `padded`: shares of the square that the image is padded to (LLaVA). `original`: shares of the
            image's own width and height. `squashed`: shares of the image squeezed into a square, which are the
            same numbers as `original`, since squeezing keeps the shares.
        numbers: `unit`: "[0.1,0.25,0.4,1.0]", two decimals (CoIN). `percent_tags`: "{<10><25><40><100>}"
            (MiniGPT-v2, arXiv 2310.09478, section 3.2). `thousand_tags`: "<box>(100,250),(400,999)</box>", thousandths
            below 1000 (Qwen-VL, arXiv 2308.12966, section 3.2). `thousand`: "[100,250,400,1000]", thousandths (Qwen3-VL
            by its documentation). `thousand_boxes`: "<box>[[100, 250, 400, 1000]]</box>" (InternVL, likewise).
            `pixels`: "[64,160,256,640]", pixels of the image as the model sees it (Qwen2.5-VL, arXiv 2502.13923).
        shown: width and height in pixels of the image as the model sees it, for `pixels`.

    Raises:
        ConfigError: an unknown frame or notation.
    """

    frame: str = "padded"
    numbers: str = "unit"
    shown: Sequence[int] = ()

    def __post_init__(self) -> None:
        for key, value, known in (("frame", self.frame, FRAMES), ("numbers", self.numbers, NUMBERS)):
            if value not in known:
                raise ConfigError(f"backbone.boxes.{key}={value!r} is unknown; use one of {', '.join(known)}")

    @property
    def as_on_disk(self) -> bool:
        """Whether boxes stay as CoIN's files have them."""
        return self == BoxFormat()

    def describe(self) -> dict[str, Any]:
        """What an answer record's reference keeps, for `read_box`."""
        return {"frame": self.frame, "numbers": self.numbers, **({"shown": list(self.shown)} if self.shown else {})}

    @property
    def _scales(self) -> tuple[float, float]:
        """What a coordinate of 1 is written as, across and down.

        Raises:
            ConfigError: the numbers are pixels of nobody knows how many.
        """
        if self.numbers != "pixels":
            return SCALES[self.numbers], SCALES[self.numbers]
        if len(self.shown) != 2 or min(self.shown) <= 0:
            raise ConfigError(f"a box in pixels needs the size in which its image is shown, found {self.shown!r}")
        return self.shown[0], self.shown[1]

    def write(self, box: Box, size: Size) -> str:
        """A box of the padded frame in this format, clipped to the frame.

        Args:
            box: shares of the padded square.
            size: of the image.
        """
        moved = box if self.frame == "padded" else to_original(box, size)
        x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in moved)
        if self.numbers == "unit":
            return "[" + ",".join(str(round(value, 2)) for value in (x1, y1, x2, y2)) + "]"
        if self.numbers == "percent_tags":
            return "{" + "".join(f"<{round(value * 100)}>" for value in (x1, y1, x2, y2)) + "}"
        across, down = self._scales
        a, b, c, d = (round(value * scale) for value, scale in ((x1, across), (y1, down), (x2, across), (y2, down)))
        if self.numbers in ("thousand", "pixels"):
            return f"[{a},{b},{c},{d}]"
        if self.numbers == "thousand_boxes":
            return f"<box>[[{a}, {b}, {c}, {d}]]</box>"
        a, b, c, d = (min(999, value) for value in (a, b, c, d))
        return f"<box>({a},{b}),({c},{d})</box>"

    def read(self, text: str, size: Size) -> Box | None:
        """The box that a text gives in this format, as shares of the padded square; None unless it has four numbers.

        Brackets and tags may be missing or others, as decoding drops those that are special tokens. The numbers are
        not clipped.
        """
        numbers = four_numbers(text)
        if numbers is None:
            return None
        across, down = self._scales
        x1, x2, y1, y2 = numbers[0] / across, numbers[2] / across, numbers[1] / down, numbers[3] / down
        return (x1, y1, x2, y2) if self.frame == "padded" else to_padded((x1, y1, x2, y2), size)


def box_format(settings: Mapping[str, str] | None, image_frame: str, numbers: str) -> BoxFormat:
    """What a config says of boxes, filled up with what follows from the image's frame and the prompt family.

    Args:
        settings: `frame` and `numbers`, or either, or None.
        image_frame: of the backbone (`images.FRAMES`); in a cropped image boxes keep the padded frame.
        numbers: of the prompt.

    Raises:
        ConfigError: an unknown key or value.
    """
    derived = {"frame": {"squash": "squashed", "whole": "original"}.get(image_frame, "padded"), "numbers": numbers}
    unknown = set(settings or {}) - set(derived)
    if unknown:
        raise ConfigError(f"backbone.boxes.{sorted(unknown)[0]}: there is no such option; use frame and numbers")
    chosen: dict[str, Any] = {**derived, **(settings or {})}
    return BoxFormat(**chosen)


def read_box(prediction: str, settings: Mapping[str, Any] | None, size: Size | None) -> Box | None:
    """The box of a prediction as shares of the padded square, or None.

    Args:
        prediction: what the model has written.
        settings: `box_format` of the reference; None means CoIN's own format.
        size: of the image; needed unless the frame is the padded one.

    Raises:
        ConfigError: `settings` are unknown, or need a size that is missing or not positive.
    """
    chosen = BoxFormat(**(settings or {}))
    if chosen.frame != "padded" and (size is None or len(size) != 2 or min(size) <= 0):
        raise ConfigError(f"a box of the {chosen.frame} frame needs the image's size, found {size!r}")
    return chosen.read(prediction, size or (1, 1))
