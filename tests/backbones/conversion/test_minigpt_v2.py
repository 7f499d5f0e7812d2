"""MiniGPT-v2's three parts by the command, with its last LoRA and without."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import published_minigpt_v2 as published

from coin_lightning.backbones.conversion.minigpt_v2 import merged, without_key_bias
from coin_lightning.backbones.families.minigpt_v2 import MiniGPTv2
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.cli.convert import main
from coin_lightning.errors import ConfigError

PIXELS = torch.randn(3, 448, 448, generator=torch.Generator().manual_seed(3))
SETTINGS = {"prompt": "minigpt_v2", "family": MiniGPTv2, "dtype": "float32", "max_length": 512}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def folders(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What was done with the LoRA -> folder."""
    root = tmp_path_factory.mktemp("converted")
    for lora in ("merged", "left_out"):
        assert main(["minigpt_v2", str(source), str(root / lora), "--lora", lora]) == 0
    return {path.name: path for path in root.iterdir()}


@pytest.mark.parametrize("lora", ["merged", "left_out"])
def test_features_and_logits_are_those_of_the_published_parts(source, folders, lora):
    backbone = load_backbone(folders[lora], **SETTINGS)
    features = backbone.family.features(backbone.core, [{"pixel_values": PIXELS[None]}])
    torch.testing.assert_close(features[0], published.features(published.tower(), PIXELS), rtol=1e-4, atol=1e-4)
    ids, _ = backbone.tokens(backbone.prompt.render([Turn("What is the cat?", "It is", 1)]), [()])
    hidden = backbone.hidden_states(torch.tensor([ids]), backbone.project(features[0], [()]))
    expected = published.logits(source, ids, PIXELS, backbone.image_token_id, lora == "merged")
    found = backbone.model.lm_head(hidden)[0, :, : expected.shape[1]]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.05


def test_with_and_without_the_lora_are_two_models(folders):
    weights = [
        load_backbone(folder, **SETTINGS).language_model.layers[0].self_attn.q_proj.weight
        for folder in folders.values()
    ]
    assert (weights[0] - weights[1]).abs().max() > 0.01


def test_the_scale_is_the_checkpoints_own_alpha_by_the_rank_and_the_manifest_says_it(folders):
    manifest = json.loads((folders["merged"] / "conversion.json").read_text())
    assert (manifest["stage_lora"], manifest["stage_lora_scale"]) == ("merged", published.ALPHA / published.RANK)
    assert {len(each["sha256"]) for each in manifest["sources"].values()} == {64}


@pytest.mark.parametrize(
    ("start", "right", "wrong"),
    [("pretrained", "left_out", "merged"), ("instruction_tuned", "merged", "left_out")],
)
def test_a_protocol_that_asks_for_the_other_one_is_told_how_to_convert(folders, start, right, wrong):
    """As CoIN's code does it, nothing of the stage's LoRA is loaded; as its paper says, all of it."""
    load_backbone(folders[right], starting_weights=start, weights=False, **SETTINGS)
    with pytest.raises(ConfigError, match=rf"protocol.starting_weights='{start}'.*is {wrong}\. .* --lora {right}"):
        load_backbone(folders[wrong], starting_weights=start, weights=False, **SETTINGS)
    load_backbone(folders[wrong], starting_weights="backbone", weights=False, **SETTINGS)


def test_what_stands_on_either_side_of_the_image_is_tokenised_by_itself_as_in_the_authors_code(folders):
    backbone = load_backbone(folders["merged"], weights=False, **SETTINGS)
    words = backbone.tokenizer
    ids, labels = backbone.tokens(backbone.prompt.render([Turn("What is it?", "It is", 1)]), [()])
    pieces = [
        words(text, add_special_tokens=False)["input_ids"]
        for text in ("[INST] <Img>", "</Img> What is it?  [/INST]", "It is</s>")
    ]
    image = [backbone.image_token_id] * 4
    assert ids == [words.bos_token_id, *pieces[0], *image, *pieces[1], *pieces[2]]
    assert ids.count(words.bos_token_id) == 1  # the authors' evaluation has two
    assert [id_ for id_, label in zip(ids, labels, strict=True) if label >= 0] == pieces[2]


def test_the_key_has_no_bias():
    assert without_key_bias(torch.ones(2), torch.full((2,), 3.0)).tolist() == [1, 1, 0, 0, 3, 3]


def test_a_lora_is_added_in_float32_and_rounded_once():
    weight = torch.tensor([[1.0]], dtype=torch.bfloat16)
    a, b = torch.tensor([[1.0]]), torch.tensor([[2**-9]])
    assert merged(weight, a, b, 4.0).item() == 1 + 2**-7
    assert merged(weight, a, b, 1.0).item() == 1


def change(file: Path, edit) -> None:
    stored = torch.load(file, weights_only=True)
    edit(stored)
    torch.save(stored, file)


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("eva_vit_g.pth", lambda w: w.pop("blocks.1.attn.q_bias"), "1 weights are missing, e.g. blocks.1.attn.q_bias"),
        ("eva_vit_g.pth", lambda w: w.pop("pos_embed"), "has no pos_embed; give MiniGPT-v2's eva_vit_g.pth"),
        ("eva_vit_g.pth", lambda w: w.pop("blocks.0.norm1.weight"), "weights"),
        ("checkpoint_stage2.pth", lambda w: w.pop("model"), "must hold named tensors under 'model'"),
        ("checkpoint_stage2.pth", lambda w: w["model"].pop("llama_proj.bias"), "1 weights are missing, e.g. llama_pro"),
        ("checkpoint_stage2.pth", lambda w: w["model"].update(x=torch.ones(1)), "1 weights have no place in a minigpt"),
        (
            "checkpoint_stage2.pth",
            lambda w: w["model"].pop("llama_model.base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"),
            "has one of the two LoRA matrices of model.layers.1.self_attn.v_proj",
        ),
        (
            "checkpoint_stage2.pth",
            lambda w: w["model"].update({"llama_proj.weight": torch.ones(3, 3)}),
            "llama_proj.weight [3, 3] has another shape than config.json says",
        ),
    ],
)  # fmt: skip
def test_parts_that_are_damaged_or_of_another_model_are_refused(source, tmp_path, capsys, file, edit, message):
    for each in source.iterdir():
        if each.name != "made":
            (tmp_path / each.name).symlink_to(each)
    (tmp_path / file).unlink()
    (tmp_path / file).write_bytes((source / file).read_bytes())
    change(tmp_path / file, edit)
    assert main(["minigpt_v2", str(tmp_path), str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parts_that_lie_elsewhere_are_named(source, tmp_path, capsys):
    assert main(["minigpt_v2", str(tmp_path), str(tmp_path / "out")]) == 1
    assert (
        "must hold one folder of Llama-2, found 0; put it there, or name it with --language-model"
        in capsys.readouterr().err
    )
    command = [
        "minigpt_v2",
        str(tmp_path),
        str(tmp_path / "out"),
        "--language-model",
        str(source / "Llama-2-7b-chat-hf"),
    ]
    command += ["--vision-tower", str(source / "eva_vit_g.pth"), "--checkpoint", str(source / "checkpoint_stage2.pth")]
    assert main(command) == 0
    assert (tmp_path / "out" / "config.json").is_file()
