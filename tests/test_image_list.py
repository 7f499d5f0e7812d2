"""The list of what images must hold: as `sha256sum` has it."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.image_list import NAME, is_listed, read_list, write_list

DIGEST = hashlib.sha256(b"image").hexdigest()


def test_a_list_is_read_back_and_can_be_checked_by_others(tmp_path: Path):
    (tmp_path / "images" / "a b").mkdir(parents=True)
    (tmp_path / "images" / "a b" / "ü.jpg").write_bytes(b"image")
    write_list(tmp_path, {"images/a b/ü.jpg": DIGEST})
    assert read_list(tmp_path, "images") == {"a b/ü.jpg": DIGEST}
    subprocess.run(["sha256sum", "--check", "--strict", NAME], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / NAME).write_text(f"{DIGEST} *./images/a b/ü.jpg\n")  # as others write it
    assert read_list(tmp_path, "images") == {"a b/ü.jpg": DIGEST}
    assert read_list(tmp_path / "images", "images") == {}


@pytest.mark.parametrize("text", ["x", f"{DIGEST}", f"{DIGEST[1:]}  a", "\n"])
def test_a_line_that_is_none(tmp_path: Path, text: str):
    (tmp_path / NAME).write_text(f"{DIGEST}  a\n{text}\n")
    with pytest.raises(DataError, match=rf"{NAME}:2: is no sha256 with a path; restore it"):
        read_list(tmp_path, "images")


def test_deep_images_are_known_by_another_hash():
    assert is_listed(DIGEST, DIGEST)
    assert is_listed(hashlib.sha256(f"scaled {DIGEST}".encode()).hexdigest(), DIGEST)
    assert not is_listed(DIGEST[::-1], DIGEST)
