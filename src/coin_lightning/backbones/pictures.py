"""Opening a picture safely and bringing it into the square frame of a vision tower."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from coin_lightning.errors import ConfigError, DataError

FRAMES = ("pad", "squash", "crop")
"""`pad` to a square (LLaVA), `squash` into one (Qwen-VL, MiniGPT-v2), or cut the middle out: `crop`, what the reference
evaluates some tasks with (`coin_reference.md` section 4.1)."""

MAX_PIXELS = 100_000_000
"""Above this a file is refused before it is decoded: no CoIN picture comes near, and decoding could eat all memory."""
MAX_ASPECT = 50


class _Quiet:
    """Silence for Pillow's notice about big pictures, shared by the threads that open pictures at the same time.

    Python's warning filters belong to the whole process: the first thread in sets them, the last one out restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_QUIET = _Quiet()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open without Pillow's notice about big pictures: `MAX_PIXELS` is the rule here."""
    with _QUIET, Image.open(path) as image:
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


def squash(image: Image.Image, size: tuple[int, int], resample: int | None = None) -> Image.Image:
    """The whole picture in `size` (width, height) pixels, whatever its shape; bicubic unless told otherwise."""
    return image.resize(size, Image.Resampling(Image.Resampling.BICUBIC if resample is None else resample))


def tower_size(processor: Any) -> tuple[int, int]:
    """Width and height in pixels of what an image processor of Hugging Face gives a tower.

    Raises:
        ConfigError: the processor has no fixed size.
    """
    cropped = getattr(processor, "do_center_crop", False) and getattr(processor, "crop_size", None)
    settings = dict(processor.crop_size if cropped else processor.size)
    edge = settings.get("shortest_edge")
    width, height = settings.get("width") or edge, settings.get("height") or edge
    if not width or not height:
        raise ConfigError(f"backbone.image_frame=squash: the image processor has no fixed size, only {settings}")
    return width, height


def framed(image: Image.Image, processor: Any, frame: str) -> Tensor:
    """`[3, H, W]`: a picture in a frame of `FRAMES`, resized and normalised by the processor."""
    if frame == "pad":
        red, green, blue = (int(mean * 255) for mean in processor.image_mean)
        image = pad_to_square(image, (red, green, blue))
    elif frame == "squash":
        image = squash(image, tower_size(processor), getattr(processor, "resample", None))
    pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    return pixels


def check_frame(frame: str, key: str = "backbone.image_frame") -> str:
    """The frame, if there is such a one.

    Raises:
        ConfigError: there is none.
    """
    if frame not in FRAMES:
        raise ConfigError(f"{key}={frame!r} is unknown; use pad, squash or crop")
    return frame
