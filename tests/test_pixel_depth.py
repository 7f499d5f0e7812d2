"""Images of every mode, read from files: 8 bits as Pillow converts them, deeper greys scaled, the rest refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coin_lightning.backbones.images import open_image
from coin_lightning.errors import DataError

RAMP = np.tile(np.linspace(0, 65535, 64), (48, 1)).astype(np.uint16)
GREYS = np.round(RAMP[0] / 257)


def tiff(path: Path, levels: np.ndarray, bits: int, white_is_zero: bool = False) -> Path:
    """A grey TIFF of so many bits per sample, written by hand: Pillow writes neither 12 bits nor an inverted scale."""
    height, width = levels.shape
    if bits == 12:
        pairs = levels.reshape(-1, 2).astype(np.uint32)
        packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
        data = packed.astype(np.uint8).tobytes()
    else:
        data = levels.astype("<u2").tobytes()
    tags = [
        (256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, 8 + 2 + 9 * 12 + 4),
        (277, 1), (278, height), (279, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + data)
    return path


def plain(file: Path) -> tuple[str, np.ndarray]:
    """Mode of a file as Pillow opens it, and its own conversion."""
    with Image.open(file) as image:
        return image.mode, np.asarray(image.convert("RGB"))


def grey_levels(path: Path) -> np.ndarray:
    image = open_image(path)
    assert image.mode == "RGB"
    red, green, blue = (np.asarray(band) for band in image.split())
    assert (red == green).all()
    assert (red == blue).all()
    assert (red == red[0]).all()
    return red[0]


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif", "ramp.jp2"])
def test_sixteen_bits_are_scaled(tmp_path, name):
    Image.fromarray(RAMP).save(tmp_path / name)
    assert plain(tmp_path / name)[0] == "I;16"
    assert grey_levels(tmp_path / name).tolist() == GREYS.tolist()


def test_sixteen_bits_in_the_other_byte_order_and_as_plain_pixmap(tmp_path):
    Image.fromarray(RAMP.astype(">u2")).save(tmp_path / "big.tif")
    (tmp_path / "ramp.pgm").write_bytes(b"P5 64 48 65535\n" + RAMP.astype(">u2").tobytes())
    (tmp_path / "ten.pgm").write_bytes(b"P5 64 48 1023\n" + (RAMP // 64).astype(">u2").tobytes())
    assert plain(tmp_path / "big.tif")[0] == "I;16B"
    assert plain(tmp_path / "ramp.pgm")[0] == "I"
    for name in ("big.tif", "ramp.pgm"):
        assert grey_levels(tmp_path / name).tolist() == GREYS.tolist()
    assert np.abs(grey_levels(tmp_path / "ten.pgm") - (RAMP[0] // 64).astype(float) * 255 / 1023).max() <= 0.5


def test_a_tiff_of_twelve_bits_is_scaled_by_twelve(tmp_path):
    levels = grey_levels(tiff(tmp_path / "ramp.tif", RAMP >> 4, bits=12))
    assert levels.tolist() == np.round((RAMP[0] >> 4).astype(float) * 255 / 4095).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda file: Image.fromarray(RAMP.astype(np.int32)).save(file),
        lambda file: Image.fromarray(RAMP.astype(np.float32)).save(file),
        lambda file: tiff(file, RAMP, bits=16, white_is_zero=True),
    ],
    ids=["32 bits", "float", "white is zero"],
)
def test_a_scale_without_a_known_end_is_refused(tmp_path, make):
    make(tmp_path / "ramp.tif")
    with pytest.raises(DataError, match=r"ramp\.tif: nothing says which value is white .* save it with 8 bits"):
        open_image(tmp_path / "ramp.tif")
    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(tmp_path / "ramp.tif")  # the remedy
    assert grey_levels(tmp_path / "ramp.tif").tolist() == (RAMP[0] >> 8).tolist()


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("1", "png"), ("L", "png"), ("L", "jpg"), ("LA", "png"), ("P", "png"), ("P", "gif"), ("RGB", "jpg"),
        ("RGB", "png"), ("RGBA", "png"), ("RGBA", "webp"), ("RGBX", "tif"), ("CMYK", "jpg"), ("CMYK", "tif"),
        ("YCbCr", "tif"), ("LAB", "tif"),
    ],
)  # fmt: skip
def test_eight_bits_are_what_pillow_makes_of_them(tmp_path, mode, ending):
    """Features that are cached already stay valid."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    bands = len(Image.new(mode, (1, 1)).getbands())
    if mode in ("1", "P"):
        image = Image.fromarray(noise[..., :3]).convert(mode)
    else:
        image = Image.merge(mode, [Image.fromarray(noise[..., band]) for band in range(bands)])
    file = tmp_path / f"noise.{ending}"
    image.save(file)
    assert np.array_equal(np.asarray(open_image(file)), plain(file)[1])


def test_transparency_is_dropped_as_in_the_published_code(tmp_path):
    Image.new("RGBA", (4, 4), (200, 10, 30, 0)).save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").getpixel((0, 0)) == (200, 10, 30)
    Image.new("LA", (4, 4), (90, 0)).save(tmp_path / "grey.png")
    assert open_image(tmp_path / "grey.png").getpixel((0, 0)) == (90, 90, 90)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 5, 6, 7])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert open_image(tmp_path / "palette.png").getpixel((0, 0)) == (5, 6, 7)
