import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from coin_lightning.backbones.images import (
    FRAMES,
    check_frame,
    check_header,
    open_image,
    pad_to_square,
    squash,
    tower_size,
)
from coin_lightning.errors import ConfigError, DataError


def png_claiming(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header promises `width x height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


def test_a_sound_image_gives_its_size_and_rgb(tmp_path):
    file = tmp_path / "a.png"
    Image.new("L", (31, 17), 200).save(file)
    assert check_header(file) == (31, 17)
    image = open_image(file)
    assert (image.mode, image.size, image.getpixel((3, 4))) == ("RGB", (31, 17), (200, 200, 200))


@pytest.mark.parametrize("read", [check_header, open_image])
@pytest.mark.parametrize(
    ("width", "height"), [(65000, 65000), (20_000, 15_000), (11_000, 10_000), (5100, 100), (1, 51)]
)
def test_absurd_sizes_are_refused_by_the_header_alone(tmp_path, read, width, height):
    file = png_claiming(tmp_path / "bomb.png", width, height)
    with pytest.raises(DataError, match="remove the sample") as refusal:
        read(file)
    assert str(file) in str(refusal.value)


def test_sizes_up_to_the_limits_pass(tmp_path):
    assert check_header(png_claiming(tmp_path / "big.png", 10_000, 10_000)) == (10_000, 10_000)
    assert check_header(png_claiming(tmp_path / "long.png", 50, 2500)) == (50, 2500)


def test_pillow_gives_no_notice_of_its_own_and_its_setting_is_untouched(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_header(png_claiming(tmp_path / "big.png", 9900, 9900))
    assert before == Image.MAX_IMAGE_PIXELS


def test_missing_foreign_and_empty_files_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'none.jpg'}: image is missing")):
        check_header(tmp_path / "none.jpg")
    for name, content in (("page.jpg", b"<html>not found</html>"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: image cannot be opened")):
            open_image(tmp_path / name)
    with pytest.raises(DataError, match="cannot be opened"):
        check_header(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_cut_off_file_passes_the_header_and_fails_in_decoding(tmp_path, suffix):
    file = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert check_header(file) == (64, 64)
    with pytest.raises(DataError, match=re.escape(f"{file}: image is broken")):
        open_image(file)


def test_padding_by_hand():
    # 2 x 5: a square of 5 whose first column of the image is (5 - 2) // 2 = 1
    image = Image.new("RGB", (2, 5), (9, 9, 9))
    square = np.asarray(pad_to_square(image, (1, 2, 3)))
    expected = np.tile(np.array([1, 2, 3], dtype=np.uint8), (5, 5, 1))
    expected[:, 1:3] = 9
    assert (square == expected).all()
    wide = np.asarray(pad_to_square(image.rotate(90, expand=True), (1, 2, 3)))
    assert (wide == expected.transpose(1, 0, 2)).all()


def test_a_square_stays_the_same_image():
    image = Image.new("RGB", (4, 4), "red")
    assert pad_to_square(image, (0, 0, 0)) is image


def test_threads_leave_the_warning_filters_as_they_were(tmp_path):
    file = png_claiming(tmp_path / "big.png", 9900, 9900)  # Pillow would warn of it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(check_header, [file] * 200))
        assert set(sizes) == {(9900, 9900)}
        assert warnings.filters == before


def test_squashing_by_hand():
    image = Image.new("RGB", (4, 2), (9, 9, 9))
    image.paste((200, 0, 0), (2, 0, 4, 2))
    squashed = np.asarray(squash(image, (2, 2), Image.Resampling.BOX))
    assert squashed.tolist() == [[[9, 9, 9], [200, 0, 0]]] * 2
    bicubic = image.resize((3, 3), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(squash(image, (3, 3))), np.asarray(bicubic))


def test_the_size_of_a_tower_is_what_its_processor_gives():
    assert tower_size(CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size={"height": 28, "width": 26})) == (
        26,
        28,
    )
    assert tower_size(SimpleNamespace(do_center_crop=False, size={"height": 384, "width": 380})) == (380, 384)
    assert tower_size(SimpleNamespace(size={"shortest_edge": 224})) == (224, 224)
    with pytest.raises(ConfigError, match="no fixed size"):
        tower_size(SimpleNamespace(size={"longest_edge": 224}))


def test_frames_by_name():
    assert [check_frame(frame) for frame in FRAMES] == ["pad", "squash", "crop", "whole"]
    with pytest.raises(ConfigError, match=r"task\.x='stretch' is unknown; use pad or squash or crop or whole"):
        check_frame("stretch", key="task.x")
