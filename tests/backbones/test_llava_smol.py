import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from coin_lightning import assets
from coin_lightning.backbones import llava_smol
from coin_lightning.backbones.assembled import list_files
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import AssetError, ConfigError

REPOSITORY = Path(__file__).parents[2]


def fake_assembly(folder: Path, cache: Path | None = None) -> None:
    """In place of the conversion that takes a minute."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    list_files(folder)


@pytest.fixture
def built(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(llava_smol, "assemble", fake_assembly)
    return llava_smol.checkpoint(tmp_path)


def test_the_checkpoint_is_put_together_once(built, tmp_path, monkeypatch):
    assert built == tmp_path / "models" / f"llava_smol-{llava_smol.VERSION}"
    assert [path.name for path in built.parent.iterdir()] == [built.name]  # no scratch folder is left

    def never(folder, cache):
        raise AssertionError("assembled a second time")

    monkeypatch.setattr(llava_smol, "assemble", never)
    assert llava_smol.checkpoint(tmp_path) == built


def test_a_folder_from_before_there_were_sha256_is_known_by_its_sizes(built, tmp_path):
    (built / "assembled.json").write_text(json.dumps({"config.json": 2, "model.safetensors": 7}))
    assert llava_smol.checkpoint(tmp_path) == built
    (built / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(AssetError, match=r"damaged \(model.safetensors\)"):
        llava_smol.checkpoint(tmp_path)


def test_an_assembly_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(folder, cache):
        folder.mkdir()
        raise AssetError("no wheel")

    monkeypatch.setattr(llava_smol, "assemble", fail)
    with pytest.raises(AssetError, match="no wheel"):
        llava_smol.checkpoint(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_quicker_process_wins(tmp_path, monkeypatch):
    def race(folder, cache):
        fake_assembly(folder)
        fake_assembly(tmp_path / "models" / f"llava_smol-{llava_smol.VERSION}")

    monkeypatch.setattr(llava_smol, "assemble", race)
    assert (llava_smol.checkpoint(tmp_path) / "config.json").is_file()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"weight"), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"weighur"), "model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "assembled.json").unlink(), "no readable assembled.json"),
        (lambda folder: (folder / "assembled.json").write_text("{"), "no readable assembled.json"),
    ],
    ids=["cut", "altered", "missing", "no list", "broken list"],
)
def test_a_damaged_checkpoint_is_refused_with_the_remedy(built, tmp_path, spoil, named):
    spoil(built)
    with pytest.raises(AssetError, match=rf"assembled model is damaged \({named}\); remove the folder and run again"):
        llava_smol.checkpoint(tmp_path)


def test_the_shipped_projector_names_its_recipe():
    file = llava_smol.shipped_projector()
    note = json.loads(file.with_suffix(".json").read_text())
    assert file.stat().st_size < 8_000_000
    with safe_open(file, "pt") as stored:
        assert stored.metadata()["recipe"] == note["recipe_sha256"]
        shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
    assert shapes == {
        "linear_1.weight": [576, 1728], "linear_1.bias": [576],
        "linear_2.weight": [576, 576], "linear_2.bias": [576],
    }  # fmt: skip
    assert note["recipe"] == yaml.safe_load((REPOSITORY / "experiments/stage1/llava_smol.yaml").read_text())
    assert note["limit"] is None
    assert note["held_out_loss"]["after"] < 0.6 * note["held_out_loss"]["before"]
    assert note["cells_named_right"] > 0.5  # by chance: one of some thousand names


@pytest.fixture(scope="module")
def smol() -> Backbone:
    return llava_smol.load(dtype="float32")


@pytest.mark.assets
def test_the_recipes_hash_covers_its_values_and_the_captions():
    from coin_lightning.benchmarks import coin_mini

    note = json.loads(llava_smol.shipped_projector().with_suffix(".json").read_text())
    text = json.dumps(note["recipe"], sort_keys=True).encode()
    captions = (coin_mini.ensure() / note["recipe"]["data"]).read_bytes()
    assert hashlib.sha256(text + captions).hexdigest() == note["recipe_sha256"]


@pytest.mark.assets
def test_parts_and_sizes(smol):
    assert smol.family.tokens(()) == 49 == (224 // 32) ** 2
    assert (smol.family.feature_count(()), smol.family.width) == (49, 1728)
    assert smol.tokenizer.convert_tokens_to_ids("<image>") == smol.image_token_id
    rows = smol.model.get_input_embeddings().weight
    assert rows.shape[0] % 64 == 0
    assert smol.image_token_id < rows.shape[0]
    old = smol.image_token_id  # the first new row; SmolLM2 has 49,152
    assert old == 49152
    assert torch.allclose(rows[old:], rows[:old].mean(0).expand_as(rows[old:]), atol=1e-6)
    assert smol.model.lm_head.weight is rows
    assert not any(parameter.requires_grad for parameter in smol.parameters())


@pytest.mark.assets
def test_markers_in_texts_are_no_tokens(smol):
    turns = [Turn("Read <|im_end|> and <image>.", "It says <|im_start|>.", images=1)]
    tokens, labels = smol.tokens(smol.prompt.render(turns))
    assert tokens.count(smol.image_token_id) == 49
    assert tokens.count(smol.end_id) == 2
    learned = [label for label in labels if label != IGNORE]
    assert smol.tokenizer.decode(learned) == "It says <|im_start|>.<|im_end|>"
    assert learned.count(smol.tokenizer.convert_tokens_to_ids("<|im_start|>")) == 0


@pytest.mark.assets
def test_the_tokenizers_own_chat_template(smol):
    prompt = prompt_for("chat_template", smol.tokenizer)
    turns = [Turn("What?", "A cat", images=1), Turn("Sure?", "Yes")]
    text, spans, _ = prompt.render(turns)
    assert [text[start:end] for start, end in spans] == ["A cat<|im_end|>", "Yes<|im_end|>"]
    own = smol.prompt.render(turns).text
    assert text.endswith(own + "\n")  # behind a system message of the template
    assert text.startswith("<|im_start|>system\n")
    assert prompt.end_of_turn == smol.prompt.end_of_turn


@pytest.mark.assets
def test_without_weights_it_counts_the_same_tokens(smol):
    empty = llava_smol.load(weights=False)
    turns = [Turn("What?", "A cat", images=1)]
    assert empty.tokens(empty.prompt.render(turns)) == smol.tokens(smol.prompt.render(turns))
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert (empty.family.feature_count(()), empty.family.width) == (smol.family.feature_count(()), smol.family.width)


def test_nothing_in_it_is_instruction_tuned():
    with pytest.raises(ConfigError, match="backbone llava_smol has no such weights; use backbone or pretrained"):
        llava_smol.load(starting_weights="instruction_tuned")


@pytest.mark.assets
def test_chatml_markers_are_single_tokens_and_only_the_answer_is_learned(smol):
    tokens, labels = smol.tokens(smol.prompt.render([Turn("What?", "A cat", images=1)]))
    learned = [label for label in labels if label != IGNORE]
    assert tokens.count(smol.image_token_id) == 49
    assert smol.tokenizer.decode(learned) == "A cat<|im_end|>"
    assert learned == tokens[-len(learned) :]
    assert learned[-1] == smol.end_id
    assert smol.tokenizer.convert_ids_to_tokens(tokens[0]) == "<|im_start|>"


@pytest.mark.assets
def test_its_answers_are_sentences_and_the_same_every_time(smol):
    photo = Image.open(next(assets.unpack(assets.SCIKIT_IMAGE).rglob("coffee.png")))
    features = smol.project(smol.encode_images([smol.pixels(photo.convert("RGB"))])[0], [()])
    asked = [
        (smol.tokens(smol.prompt.render([Turn("What is the capital of France? Answer with one word.")]))[0], None),
        (smol.tokens(smol.prompt.render([Turn("Describe the image.", images=1)]))[0], features),
    ]
    answers = []
    for tokens, image in asked * 2:
        ids = torch.tensor([tokens])
        answers += smol.answer(ids, torch.ones_like(ids), 8, image)
    assert "Paris" in answers[0]
    assert answers[:2] == answers[2:]
    assert len(answers[1].split()) > 1
