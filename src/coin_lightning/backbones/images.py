"""Opening an image safely and bringing it into the square frame of a vision tower."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from coin_lightning.assets import file_sha256
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.pillow_warnings import listening
from coin_lightning.pixel_depth import as_rgb, is_deep, white_level

FRAMES = ("pad", "squash", "crop", "whole")
"""`pad` to a square (LLaVA), `squash` into one (Qwen-VL, MiniGPT-v2), or cut the middle out: `crop`, what the reference
evaluates some tasks with (`coin_reference.md` section 4.1). `whole` leaves the image's shape to its processor."""

MAX_PIXELS = 100_000_000
"""Above this a file is refused before it is decoded: no CoIN image comes near, and decoding could eat all memory."""
MAX_ASPECT = 50


def check_header(path: Path) -> tuple[int, int]:
    """Width and height in pixels, read without decoding.

    Raises:
        DataError: the file is missing, is no image, or has an absurd size.
    """
    try:
        with listening(), Image.open(path) as image:
            width, height = image.size
    except FileNotFoundError:
        raise DataError(f"{path}: image is missing; restore it or remove the sample") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: image cannot be opened ({error}); replace the file or remove the sample") from None
    if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(
            f"{path}: image of {width} x {height} pixels is refused (over {MAX_PIXELS} pixels or "
            f"{MAX_ASPECT}:1); shrink it or remove the sample"
        )
    return width, height


def open_image(path: Path) -> Image.Image:
    """Decode an image as RGB (`as_rgb`).

    What Pillow warns of is told by whoever checks images before a run (`tasks/image_ledger.py`), and not here.

    Raises:
        DataError: as `check_header`, or the pixels are broken or cut off, or cannot be brought to 8 bits.
    """
    check_header(path)
    try:
        with listening(), Image.open(path) as image:
            if is_deep(image) and white_level(image) is None:
                raise DataError(
                    f"{path}: nothing says which value is white in this image (mode {image.mode} of {image.format}); "
                    "save it with 8 bits per channel"
                )
            return as_rgb(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: image is broken ({error}); replace the file or remove the sample") from None


def image_hash(path: Path) -> str:
    """What the pixels of an image are known by: the sha256 of the file.

    Deep images have another one: earlier versions kept features of their clipped pixels under the file's.
    """
    digest = file_sha256(path)
    with listening(), Image.open(path) as image:
        return hashlib.sha256(f"scaled {digest}".encode()).hexdigest() if is_deep(image) else digest


def unlike(path: Path, digest: str) -> str | None:
    """What to say of an image whose `image_hash` is no longer what it was when the image was looked at."""
    if image_hash(path) == digest:
        return None
    return (
        f"{path}: holds other bytes than when it was first looked at: damaged on disk, or changed since; restore it "
        "(CoIN-mini is built afresh once its folder is deleted), or if it was changed on purpose `touch` it and give "
        "the same command again"
    )


def pad_to_square(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Centre the image on a square of its longer side (LLaVA-1.5's `image_aspect_ratio=pad`)."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def squash(image: Image.Image, size: tuple[int, int], resample: int | None = None) -> Image.Image:
    """The whole image in `size` (width, height) pixels, whatever its shape; bicubic unless told otherwise."""
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
    """`[3, H, W]`: an image in a frame of `FRAMES`, resized and normalised by the processor."""
    if frame == "pad":
        red, green, blue = (int(mean * 255) for mean in processor.image_mean)
        image = pad_to_square(image, (red, green, blue))
    elif frame == "squash":
        image = squash(image, tower_size(processor), getattr(processor, "resample", None))
    pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    return pixels


def check_frame(frame: str, known: Sequence[str] = FRAMES, key: str = "backbone.image_frame") -> str:
    """The frame, if it is one of those known.

    Raises:
        ConfigError: it is not.
    """
    if frame not in known:
        raise ConfigError(f"{key}={frame!r} is unknown; use {' or '.join(known)}")
    return frame
