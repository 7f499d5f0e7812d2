from random import Random

import pytest
from PIL import Image, ImageStat

from coin_lightning.benchmarks.mini_vizwiz import badly, slightly, vizwiz


def contrast(image: Image.Image) -> float:
    return ImageStat.Stat(image.convert("L")).stddev[0]


@pytest.fixture
def checkers() -> Image.Image:
    """Black and white squares of 16 pixels: the strongest contrast there is, finer than any object."""
    image = Image.new("RGB", (192, 192))
    for x in range(0, 192, 16):
        for y in range(0, 192, 16):
            image.paste((255, 255, 255) if (x + y) % 32 else (0, 0, 0), (x, y, x + 16, y + 16))
    return image


@pytest.mark.parametrize("seed", range(12))
def test_bad_faults_hide_and_slight_faults_do_not(checkers, seed):
    assert contrast(checkers) > 120
    assert contrast(badly(Random(seed), checkers)) < 9
    assert contrast(slightly(Random(seed), checkers)) > 50


def test_where_colour_is_asked_a_bad_fault_hides_it_too():
    red = Image.new("RGB", (64, 64), (250, 20, 20))
    for seed in range(12):
        low, high = zip(*badly(Random(seed), red, keeps_colour=False).getextrema(), strict=True)
        assert max(high) - min(low) < 120  # 230 before; what is left is mostly the finger's own colour


@pytest.mark.assets
def test_the_share_of_unanswerable_questions_and_the_prompt(materials):
    items = [item for i in range(300) for item in vizwiz(Random(i), materials, "train", i).items]
    share = sum(item.answer == "Unanswerable" for item in items) / len(items)
    assert 0.32 < share < 0.44
    for item in items:
        lines = item.text.split("\n")
        assert lines[1] == "When the provided information is insufficient, respond with 'Unanswerable'."
        assert lines[2] == "Answer the question using a single word or phrase."
