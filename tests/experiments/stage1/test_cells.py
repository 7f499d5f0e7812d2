"""What the projector learns first: cells of drawn scenes and the words for what they show."""

import json
from pathlib import Path
from random import Random

import pytest
import torch

from coin_lightning.backbones import llava_smol
from coin_lightning.benchmarks import coin_mini
from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_ocrvqa import film_of

STAGE1 = Path(__file__).parents[3] / "experiments" / "stage1"
RECIPE = {"seed": 0}


@pytest.fixture(scope="module")
def cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STAGE1))
        import cells

        yield cells


@pytest.fixture(scope="module")
def materials() -> Materials:
    return Materials()


def test_cells_belong_to_the_box_that_covers_a_third_of_them(cells):
    # 80 x 40 is padded to 80 x 80, so the image lies in the rows from 20 to 60 of a square of 4 x 4 cells of 20
    assert cells.cell_labels((80, 40), [(0, 0, 20, 20), (40, 0, 80, 40)], 4) == [
        -1, -1, -1, -1,
        0, -1, 1, 1,
        -1, -1, 1, 1,
        -1, -1, -1, -1,
    ]  # fmt: skip
    # 7 of 20 columns of a cell are a third, 6 are not; of two boxes the larger share counts
    assert cells.cell_labels((20, 20), [(0, 0, 7, 20)], 1) == [0]
    assert cells.cell_labels((20, 20), [(0, 0, 6, 20)], 1) == [-1]
    assert cells.cell_labels((20, 20), [(0, 0, 9, 20), (9, 0, 20, 20)], 1) == [1]
    assert cells.cell_labels((20, 20), [], 2) == [-1] * 4


@pytest.mark.assets
def test_boxes_lie_in_their_images_and_all_kinds_of_scenes_come(cells, materials):
    kinds = set()
    for index in range(40):
        image, named = cells.draw(RECIPE, materials, index)
        assert named
        for words, (left, top, right, bottom) in named:
            assert 0 <= left < right <= image.width
            assert 0 <= top < bottom <= image.height
            kinds.add("sign" if " sign " in words else "book" if words.endswith(" book") else "other")
    assert kinds == {"sign", "book", "other"}


@pytest.mark.assets
def test_the_same_number_gives_the_same_scene_and_seeds_differ(cells, materials):
    first, again = (cells.draw(RECIPE, materials, 5) for _ in range(2))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert cells.draw({"seed": 1}, materials, 5)[0].tobytes() != first[0].tobytes()


@pytest.mark.assets
def test_no_film_of_a_test_or_of_validation_or_training_is_among_the_scenes(cells, materials):
    words = " | ".join(name for index in range(7, 800, 8) for name, _ in cells.draw(RECIPE, materials, index)[1])
    for split in ("train", "test", "validation"):
        assert not [title for i in range(240) if f"{(title := film_of(materials, split, i).title)} |" in f"| {words} |"
                    and f"| {title} |" in f"| {words} |"]  # fmt: skip


@pytest.mark.assets
def test_no_image_of_the_suite_is_a_scene(cells, materials, tmp_path: Path):
    """By pixels before they are compressed: the scenes' random numbers are seeded by names that no task has."""
    drawn = {cells.draw(RECIPE, materials, index)[0].tobytes() for index in range(80)}
    for task in coin_mini.TASKS:
        for split in ("train", "test", "validation"):
            for index in range(4):
                image = task.draw(Random(f"{coin_mini.SEED}/{task.key}/{split}/{index}"), materials, split, index).image
                assert image is None or image.tobytes() not in drawn


@pytest.mark.assets
def test_todays_code_draws_the_scenes_that_the_shipped_projector_has_learned(cells):
    note = json.loads(llava_smol.shipped_projector().with_suffix(".json").read_text())
    assert note["first_scenes_sha256"] == cells.first_scenes_sha256(note["recipe"]["cells"])


def test_the_fit_finds_targets_that_features_tell(cells):
    """A projector that is one matrix learns a linear map of well separated features, and names all of them."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(12, 6, generator=generator)
    targets = torch.arange(12).repeat(100)
    codes = torch.randn(12, 16, generator=generator)
    features = codes[targets] + 0.05 * torch.randn(1200, 16, generator=generator)
    projector = torch.nn.Linear(16, 6)
    before = cells.named_right(projector, features, targets, table)
    recipe = {"seed": 0, "learning_rate": 0.05, "weight_decay": 0.0, "batch_size": 100, "epochs": 20}
    cells.fit(projector, features, targets, table, recipe)
    assert before < 0.5
    assert cells.named_right(projector, features, targets, table) > 0.95
