"""What Pillow warns of, caught by thread, and nothing else."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from coin_lightning.backbones.images import open_image
from coin_lightning.pillow_warnings import listening


def warned_of(path) -> None:
    """A palette with transparency as bytes: Pillow advises another conversion."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 5, 6, 7])
    image.save(path, transparency=b"\x10\x80")


def test_warnings_reach_the_listener_and_nobody_else_and_change_no_pixel(tmp_path):
    warned_of(tmp_path / "p.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(tmp_path / "p.png") as opened:
            wanted = opened.convert("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with listening() as said:
            image = open_image(tmp_path / "p.png")
        assert np.array_equal(np.asarray(image), np.asarray(wanted))
        assert np.array_equal(np.asarray(open_image(tmp_path / "p.png")), np.asarray(wanted))
    assert len(said) == 1
    assert "Palette images with Transparency" in said[0]


def test_threads_hear_their_own_images(tmp_path):
    warned_of(tmp_path / "p.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "q.png")

    def heard(name: str) -> int:
        with listening() as said:
            open_image(tmp_path / name)
        return len(said)

    before = list(warnings.filters), warnings.showwarning
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(heard, ["p.png", "q.png"] * 100)) == [1, 0] * 100
    assert (warnings.filters, warnings.showwarning) == before


def test_warnings_of_others_pass(tmp_path):
    with ThreadPoolExecutor(1) as pool, listening() as said, pytest.warns(UserWarning, match="mine"):
        pool.submit(warnings.warn, "mine", UserWarning, 1).result()
    assert said == []
