"""Opening a picture safely and bringing it into the square frame of a vision tower."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from coin_lightning.errors import DataError

MAX_PIXELS = 100_000_000
"""Above this a file is refused before it is decoded: no CoIN picture comes near, and decoding could eat all memory."""
MAX_ASPECT = 50


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open without Pillow's notice about big pictures: `MAX_PIXELS` is the rule here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            yield image


def check_header(path: Path) -> tuple[int, int]:
    """Width and height in pixels, read without decoding.

    Raises:
        DataError: the file is missing, is no picture, or has an absurd size.
    """
    try:
        with _opened(path) as image:
            width, height = image.size
    except FileNotFoundError:
        raise DataError(f"{path}: picture is missing; restore it or remove the row") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: picture cannot be opened ({error}); replace the file or remove the row") from None
    if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(
            f"{path}: picture of {width} x {height} pixels is refused (over {MAX_PIXELS} pixels or "
            f"{MAX_ASPECT}:1); shrink it or remove the row"
        )
    return width, height


def open_picture(path: Path) -> Image.Image:
    """Decode a picture as RGB.

    Raises:
        DataError: as `check_header`, or the pixels are broken or cut off.
    """
    check_header(path)
    try:
        with _opened(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: picture is broken ({error}); replace the file or remove the row") from None


def pad_to_square(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Centre the picture on a square of its longer side (LLaVA-1.5's `image_aspect_ratio=pad`)."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square
