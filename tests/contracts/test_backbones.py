"""Every backbone yaml on a small checkpoint of its family, by the run's own commands.

In the published format where that is not what transformers writes.
"""

import json
import runpy
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

from published_families import PUBLISHED
from small_families import SMALL, write

from coin_lightning.backbones.prompts import Turn
from coin_lightning.cli.build import build
from coin_lightning.config_folder import conf_dir
from results import results

LOADED = "coin_lightning.backbones.loading.load_backbone"
OTHERS = {"tiny", "llava_smol"}
"""Not from a checkpoint of a family."""
NAMES = sorted(file.stem for file in (conf_dir() / "backbone").glob("[!_]*.yaml"))


@cache
def node(name: str) -> Any:
    """The backbone's part of a config; not to be changed."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=[f"backbone={name}"])
    return OmegaConf.create(OmegaConf.to_container(config.backbone, resolve=True))


def family_of(name: str) -> str:
    """The small model that stands for a backbone: the family's own, or the one of its name."""
    found = node(name)
    target = found.family._target_ if "family" in found else "Llava"
    known = [key for key, small in SMALL.items() if small.family.__name__ == target.rsplit(".", 1)[-1]]
    return next((key for key in known if name.startswith(key)), known[0])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> checkpoint folder."""
    root = tmp_path_factory.mktemp("hub")
    return {name: PUBLISHED[name](root / name) if name in PUBLISHED else write(name, root / name) for name in SMALL}


def test_every_yaml_is_of_a_family_that_is_tested_here():
    loaded = {name for name in NAMES if node(name)._target_ == LOADED}
    assert loaded == set(NAMES) - OTHERS
    assert {family_of(name) for name in loaded} == set(SMALL)


@pytest.mark.parametrize("name", sorted(set(NAMES) - OTHERS))
def test_it_loads_from_a_folder_and_writes_what_the_checkpoints_own_template_writes(name: str, folders):
    settings = node(name).copy()
    settings.path, settings.dtype, settings.prompt = str(folders[family_of(name)]), "float32", "chat_template"
    if "image_processor" in settings:
        settings.image_processor = {}  # those of the small model stay
    settings.max_length = min(settings.max_length, 2048)
    backbone = build(settings)
    assert backbone.name == name
    turns = [Turn("What is it?", "A cat", 1), Turn("Sure?", None)]
    page, _, _ = backbone.prompt.render(turns)
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat"}]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
    ]
    written = backbone.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    endless = ("llava_1_5", "llava_next", "minigpt")  # these templates end no answer
    ends = "<|im_end|>" if name.startswith(endless) else ""
    assert page.replace(ends, "") == written
    grids = backbone.family.grids([(60, 40)])
    ids, _ = backbone.tokens(backbone.prompt.render(turns), grids)
    assert ids.count(backbone.image_token_id) == backbone.family.tokens(grids[0])
    assert not backbone.model.training
    assert not any(weight.requires_grad for weight in backbone.parameters())


SIZES = {
    "llava": "llava_1_5_7b", "llava_next": "llava_next_7b", "llava_onevision": "llava_onevision_0_5b",
    "qwen2_5_vl": "qwen2_5_vl_3b", "qwen3_vl": "qwen3_vl_2b", "internvl": "internvl3_1b", "idefics3": "idefics3_8b",
    "smolvlm": "smolvlm_256m", "gemma3": "gemma3_4b", "qwen_vl": "qwen_vl", "minigpt_v2": "minigpt_v2",
}  # fmt: skip
"""Family -> a yaml of it."""


def command(place: Any, family: str, folder: Path, run: str) -> list[str]:
    """A run of one task on the small checkpoint, of two epochs of two steps."""
    name = SIZES[family]
    words = [
        f"backbone={name}", f"backbone.path={folder}", "backbone.dtype=float32", "backbone.max_length=1024",
        "backbone.prompt=chat_template", "data.limit_train=8", "data.limit_test=2",
    ]  # fmt: skip
    words += ["~backbone.image_processor"] if "image_processor" in node(name) else []
    return [word for word in place.command(run, *words, tasks="scienceqa") if word != "backbone=tiny"]


@pytest.fixture(scope="module", params=list(SIZES))
def runs(request: pytest.FixtureRequest, place: Any, folders: dict[str, Path]) -> tuple[Path, Path]:
    """The same run undisturbed, and killed within its task and continued."""
    family, made = request.param, []
    for kind, kill in (("whole", []), ("killed", place.kill(1, "batch", 3))):
        words = command(place, family, folders[family], f"{family}_{kind}")
        if kill:
            assert place.runs.run([*words, *kill])[0] == -9
        status, text = place.runs.run(words)
        assert status == 0, text
        made.append(place.folder / f"{family}_{kind}")
    return made[0], made[1]


@pytest.mark.parametrize("family", SIZES)
def test_features_are_computed_within_a_step_of_mixed_precision(family: str, place: Any, folders: dict[str, Path]):
    """As on the real data, whose features are not cached; what learns is in float32 and the rest in bfloat16."""
    words = command(place, family, folders[family], f"{family}_mixed")
    more = ["backbone.dtype=bfloat16", "data.cache_features=false", "batches.epochs=1", "data.limit_train=4"]
    status, text = place.runs.run([*words, *more, "data.limit_test=1"])
    assert status == 0, text
    protocol = json.loads((place.folder / f"{family}_mixed" / "matrix.json").read_text())["protocol"]
    assert (protocol["precision"], protocol["projector"]) == ("bf16-mixed", "carried")


def test_a_run_that_was_killed_ends_with_the_same_bits(runs: tuple[Path, Path]):
    assert results(runs[0]) == results(runs[1])


def test_a_run_learns_adapter_and_projector_and_measures_the_router(runs: tuple[Path, Path], folders):
    folder = runs[0] / "task_01_scienceqa"
    assert (folder / "router.json").exists()
    saved = load_file(folder / "adapter" / "adapter_model.safetensors")
    before = load_file(folders[runs[0].name.removesuffix("_whole")] / "model.safetensors")
    learned = [tensor for name, tensor in saved.items() if "moelora_B" in name]
    assert learned
    assert all(tensor.any() for tensor in learned)  # they start at zero
    fixed = "_positions"  # of Qwen-VL's resampler
    projector = {name: tensor for name, tensor in saved.items() if "lora" not in name and fixed not in name}
    frozen = [tensor for tensor in before.values() if any(torch.equal(tensor, each) for each in projector.values())]
    assert projector
    assert not frozen


def test_a_run_does_not_go_on_over_other_weights(place: Any, tmp_path: Path):
    """The folder of a checkpoint, or a name on the hub, may hold another one by then."""
    folder = write("llava", tmp_path / "llava")
    words = command(place, "llava", folder, "replaced")
    assert place.runs.run([*words, *place.kill(1, "batch", 3)])[0] == -9
    file = folder / "model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    status, text = place.runs.run(words)
    assert status == 1
    assert "was begun on a base model of other weights (fingerprint " in text
    assert "restore those it was begun with" in text


def test_the_table_of_the_docs_is_that_of_the_yaml_files():
    root = Path(__file__).parents[2]
    script = runpy.run_path(str(root / "experiments" / "backbone_table.py"))
    assert script["table"]() in (root / "docs" / "backbones.md").read_text()
    assert [line[0] for line in script["rows"]()] == NAMES
