"""Any image as 8-bit RGB. Pillow's own conversion cuts deeper greys off at 255: a 16-bit ramp becomes white."""

import numpy as np
from PIL import Image, ImageMode

BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""TIFF's tags, and the value of the second that turns a scale round."""


def is_deep(image: Image.Image) -> bool:
    """Whether a grey level takes more than 8 bits: modes `I`, `F` and `I;16` in all its byte orders."""
    return np.dtype(ImageMode.getmode(image.mode).typestr).itemsize > 1


def white_level(image: Image.Image) -> int | None:
    """The value that means white in a deep image; None where its format does not say.

    Pillow brings grey PNG, JPEG 2000 and PGM to 16 bits. TIFF says how many bits count.
    """
    if image.format == "TIFF" and image.mode.startswith("I;16"):
        tags = image.tag_v2  # type: ignore[attr-defined]  # of `TiffImageFile`
        return None if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else 2 ** tags[BITS_PER_SAMPLE][0] - 1
    known = {"PNG": "I;16", "JPEG2000": "I;16", "PPM": "I"}
    return 65535 if known.get(str(image.format)) == image.mode else None


def as_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB; 8-bit modes as Pillow converts them, deeper greys scaled from their own range.

    Transparency is dropped, not painted: what lies below it shows, as in the published code (`convert("RGB")`).

    Raises:
        ValueError: it is deep, and nothing says which value is white.
    """
    if not is_deep(image):
        return image.convert("RGB")
    white = white_level(image)
    if white is None:
        raise ValueError(f"nothing says which value is white in mode {image.mode} of {image.format}")
    levels = np.asarray(image).astype(np.int64)
    return Image.fromarray(((levels * 255 + white // 2) // white).astype(np.uint8)).convert("RGB")
