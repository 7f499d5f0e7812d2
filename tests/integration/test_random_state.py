"""The same seed gives the same adapter, whatever else was drawn before it."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

from llava_parts import write_parts

from results import results
from small_coin import overrides


def test_a_model_that_is_put_together_first_does_not_move_the_adapter(place, tmp_path: Path):
    """On a cold cache the parts are read and joined, which draws numbers; on a warm one they are not."""
    hub = tmp_path / "hub"
    write_parts(hub)
    parts = {"language_model": "vicuna", "vision_tower": "clip", "projector": "mm_projector.bin", "tokenizer": "vicuna"}
    more = [f"backbone.pretrained.{part}={hub / name}" for part, name in parts.items()]
    more += ["backbone=llava_1_5_7b", "protocol.starting_weights=pretrained", "backbone.dtype=float32"]
    more += ["data.limit_test=1", "batches.epochs=1"]
    found = []
    for name in ("cold", "warm"):
        command = overrides(place.suite, tmp_path / "features", tmp_path / name, *more, tasks="imagenet")
        built = list((tmp_path / "cache" / "models").glob("llava-*"))
        assert len(built) == (name == "warm")
        status, text = place.runs.run(command, COIN_LIGHTNING_CACHE=str(tmp_path / "cache"))
        assert status == 0, text
        found.append(results(tmp_path / name))
    assert found[0] == found[1]


def test_a_run_started_again_behind_its_zero_shot_row_is_the_same(place, short: Path):
    """What is drawn before a task does not reach it: each task is seeded where it draws."""
    command = place.short("seeded")
    place.runs.run([*command, *place.kill(1, "train", 1)])
    (place.folder / "seeded" / "task_00_zero_shot" / "scores.json").unlink()  # answered anew in the same process
    status, text = place.runs.run(command)
    assert status == 0, text
    assert results(place.folder / "seeded") == results(short)


def test_a_projector_drawn_anew_leaves_the_frozen_one_alone(place):
    """`disable_adapter()` shows the backbone as it came, also behind tasks that start from a random projector."""
    folder = place.folder / "reinitialised_recorded"
    more = ["protocol.projector=reinitialised", "data.limit_test=1", *place.record(folder.name)]
    status, text = place.runs.run(place.command("reinitialised", *more, tasks="imagenet,gqa"))
    assert status == 0, text
    first, second = (json.loads((folder / f"{position}.0.json").read_text()) for position in (1, 2))
    frozen = [name for name in first["before"] if "original_module" in name]
    learning = [name for name in first["trainable"] if "multi_modal_projector" in name]
    assert len(frozen) == len(learning) == 4
    assert all(second["before"][name] == first["before"][name] for name in frozen)
    assert all(second["before"][name] != first["after"][name] for name in learning)


def test_the_largest_seed_reaches_its_tasks(place):
    """Their seeds are below 2**32, too."""
    status, text = place.runs.run(place.brief("largest", "seed=4294967295"))
    assert status == 0, text


def test_a_task_of_one_seed_draws_other_numbers_than_the_next_task_of_the_seed_before(place):
    drawn = {}
    for seed, tasks in ((7, "imagenet,gqa,scienceqa"), (8, "imagenet,gqa")):
        more = ["protocol.projector=reinitialised", f"seed={seed}", *place.record(f"neighbour_{seed}_recorded")]
        status, text = place.runs.run(place.brief(f"neighbour_{seed}", *more, tasks=tasks))
        assert status == 0, text
        for position in range(2, tasks.count(",") + 2):
            told = json.loads((place.folder / f"neighbour_{seed}_recorded" / f"{position}.0.json").read_text())
            names = [name for name in told["trainable"] if name.endswith("linear_1.weight")]
            drawn[seed, position] = [told["before"][name] for name in names]
    assert set(drawn) == {(7, 2), (7, 3), (8, 2)}
    assert all(drawn.values())
    assert drawn[7, 2] != drawn[7, 3] != drawn[8, 2] != drawn[7, 2]
