"""Loading a checkpoint in the format of `llava-hf/llava-1.5-7b-hf`, checked against transformers' own forward."""

import importlib.util
import json
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.images import pad_to_square
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import AssetError, ConfigError
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.sample_format import Media, TrainSample

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:transformers")


def _writer():
    spec = importlib.util.spec_from_file_location("llava_folder", Path(__file__).with_name("llava_folder.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint that no test changes."""
    path = tmp_path_factory.mktemp("hub") / "llava-1.5-small-hf"
    _writer().write(path)
    return path


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A checkpoint that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "spoiled"))


@pytest.fixture(scope="module")
def llava(folder) -> Backbone:
    return load_backbone(folder, dtype="float32")


@pytest.fixture(scope="module")
def direct(folder) -> LlavaForConditionalGeneration:
    """The same checkpoint without any of this project's code."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def encoder(llava, tmp_path_factory) -> Encoder:
    """Samples with pixels; `images` holds two noise images."""
    images = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for name, size in (("a", (40, 28, 3)), ("b", (28, 56, 3))):
        Image.fromarray(noise.integers(0, 255, size, dtype=np.uint8)).save(images / f"{name}.png")
    return Encoder(llava, images, None)


SAMPLES = [
    TrainSample("1", (Turn("What is it?", "No cat", 1),), (Media("a.png"),), "sample 0"),
    TrainSample("2", (Turn("Why?", "No"),), (), "sample 1"),
    TrainSample("3", (Turn("Is it", "A cat", 1), Turn("Sure?", "No")), (Media("b.png"),), "sample 2"),
]
SEVERAL = TrainSample(
    "4", (Turn("Both?", "No", 2), Turn("cat", "A cat", 1)), tuple(map(Media, ("b.png", "a.png", "b.png"))), "sample 3"
)


def test_every_weight_arrives_under_the_published_names(llava, direct, folder):
    names = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"} < set(names)
    assert "vision_tower.vision_model.embeddings.class_embedding" in names
    assert len(set(names.values())) == 3  # shards
    written = {name: tensor for file in set(names.values()) for name, tensor in load_file(folder / file).items()}
    assert torch.equal(llava.model.lm_head.weight, written["language_model.lm_head.weight"])
    projector = llava.core.multi_modal_projector
    assert torch.equal(projector.linear_2.weight, written["multi_modal_projector.linear_2.weight"])
    assert all(torch.equal(tensor, llava.model.state_dict()[name]) for name, tensor in direct.state_dict().items())


def test_what_the_backbone_knows_of_the_checkpoint(llava, folder):
    added = json.loads((folder / "added_tokens.json").read_text())
    assert llava.name == "llava-1.5-small-hf"
    assert llava.image_token_id == added["<image>"]
    assert llava.family.tokens(()) == (28 // 14) ** 2
    assert (llava.family.feature_count(()), llava.family.width) == (4, 16)
    assert llava.end_id == 2
    assert not any(parameter.requires_grad for parameter in llava.parameters())


def test_the_last_tokens_of_a_vicuna_sample_by_hand(llava):
    tokens, labels = llava.tokens(llava.prompt.render([Turn("cat", "No", images=1), Turn("A cat", "cat")]))
    names = llava.tokenizer.convert_ids_to_tokens
    assert names(tokens[:4]) == ["<s>", "▁", "A", "▁c"]
    image = tokens.index(llava.image_token_id)
    assert names(tokens[image:]) == [
        *["<image>"] * 4, "▁", "\n", "c", "a", "t", "▁", "ASSISTANT", ":", "▁No", "</s>",
        "▁", "USER", ":", "▁", "A", "▁cat", "▁", "ASSISTANT", ":", "▁cat", "</s>",
    ]  # fmt: skip
    learned = {at: label for at, label in enumerate(labels) if label != IGNORE}
    end = len(tokens)
    assert list(learned) == [end - 13, end - 12, end - 2, end - 1]
    assert names(list(learned.values())) == ["▁No", "</s>", "▁cat", "</s>"]


def ours(llava: Backbone, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets at the learned tokens, as `ContinualMLLM.training_step` gets them."""
    features = torch.cat(llava.encode_images(batch["pixels"])) if "pixels" in batch else None
    images = llava.project(features, [*chain(*batch["grids"])])
    return llava.answer_logits(llava.hidden_states(batch["input_ids"], images), batch["labels"])


def stacked(batch: dict) -> torch.Tensor | None:
    """Pixels `[n, 3, S, S]` of a batch."""
    return torch.cat([each["pixel_values"] for each in batch["pixels"]]) if "pixels" in batch else None


SAMPLE_SETS = [SAMPLES[:1], SAMPLES[1:2], [SEVERAL], [*SAMPLES[:2], SEVERAL, SAMPLES[2]]]


@pytest.mark.parametrize("samples", SAMPLE_SETS, ids=["image", "text", "several", "mixed and padded"])
def test_loss_and_logits_are_those_of_transformers_with_its_masks(llava, direct, encoder, samples, monkeypatch):
    # the library keeps features in float32; without this rounding the two agree to the last bits only
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    batch = encoder.train_batch(samples)
    logits, targets = ours(llava, batch)
    lengths = [len(encoder.encode(sample)[0]) for sample in samples]
    mask = torch.tensor([[1] * length + [0] * (max(lengths) - length) for length in lengths])
    output = direct(
        input_ids=batch["input_ids"], attention_mask=mask, pixel_values=stacked(batch), labels=batch["labels"]
    )
    answers = batch["labels"][:, 1:] != IGNORE
    assert torch.allclose(logits, output.logits[:, :-1][answers], atol=2e-5)
    assert F.cross_entropy(logits, targets).item() == pytest.approx(output.loss.item(), abs=1e-5)


def test_half_precision_features_change_the_logits_by_little(llava, direct, encoder):
    batch = encoder.train_batch(SAMPLES[:1])
    output = direct(input_ids=batch["input_ids"], pixel_values=stacked(batch))
    logits, _ = ours(llava, batch)
    assert torch.allclose(logits, output.logits[:, :-1][batch["labels"][:, 1:] != IGNORE], atol=5e-3)


def test_a_sample_in_a_padded_batch_is_the_sample_alone(llava, encoder):
    together, targets = ours(llava, encoder.train_batch(SAMPLES))
    alone = [ours(llava, encoder.train_batch([sample])) for sample in SAMPLES]
    assert torch.allclose(together, torch.cat([logits for logits, _ in alone]), atol=2e-5)
    assert torch.equal(targets, torch.cat([target for _, target in alone]))


def test_cached_features_are_bit_equal_to_those_computed_in_the_step(llava, encoder, tmp_path):
    store = FeatureStore(tmp_path / llava.tower_key(), llava.family.width)
    cached = Encoder(llava, encoder.image_root, store)
    digests = [cached.hash_of(name) for name in ("a.png", "b.png")]
    pixels = encoder.train_batch(SAMPLES)["pixels"]
    store.add(digests, llava.encode_images(pixels))
    assert torch.equal(cached.train_batch(SAMPLES)["features"], torch.cat(llava.encode_images(pixels)))


def test_pixels_are_llavas_padding_followed_by_the_checkpoints_processor(llava):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 44, 3), dtype=np.uint8))
    square = pad_to_square(image, (122, 116, 104))  # int(255 mean) of CLIP
    expected = llava.family.processor(images=square, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(llava.pixels(image)["pixel_values"][0], expected)


def test_dtype_and_another_prompt(folder):
    half = load_backbone(folder, dtype="bfloat16", name="mine", prompt="vicuna_v1", max_length=77)
    assert (half.name, half.max_length, next(half.parameters()).dtype) == ("mine", 77, torch.bfloat16)
    with pytest.raises(ConfigError, match=r"end of turn '<\|im_end\|>' is \d+ tokens; choose a prompt that fits"):
        load_backbone(folder, prompt="chatml")


def test_a_projector_file_replaces_the_checkpoints(folder, tmp_path):
    file = tmp_path / "projector.safetensors"
    weights = {f"linear_{n}.{kind}": torch.randn(shape) for n, kind, shape in (
        (1, "weight", (32, 16)), (1, "bias", (32,)), (2, "weight", (32, 32)), (2, "bias", (32,)),
    )}  # fmt: skip
    save_file(weights, file)
    projector = load_backbone(folder, dtype="float32", projector=file).core.multi_modal_projector
    assert all(torch.equal(tensor, weights[name]) for name, tensor in projector.state_dict().items())
    save_file({**weights, "linear_1.weight": torch.randn(32, 24)}, file)
    with pytest.raises(AssetError, match=r"projector weights do not fit the model:(.|\n)*linear_1\.weight"):
        load_backbone(folder, projector=file)
    del weights["linear_2.bias"]
    save_file(weights, file)
    with pytest.raises(AssetError, match=r"do not fit the model:(.|\n)*linear_2\.bias"):
        load_backbone(folder, projector=file)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(AssetError, match=r"projector\.safetensors: projector weights cannot be read"):
        load_backbone(folder, projector=file)
    with pytest.raises(AssetError, match=r"none\.safetensors: projector weights are missing"):
        load_backbone(folder, projector=tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "alpaca"}, r"backbone\.prompt='alpaca' is unknown"),
        ({"dtype": "float12"}, r"backbone\.dtype='float12' is no floating-point type"),
        ({"quantization": "int3"}, r"backbone\.quantization='int3' is unknown; use null, nf4 or int8"),
        ({"image_frame": "stretch"}, r"backbone\.image_frame='stretch' is unknown"),
    ],
    ids=["prompt", "dtype", "quantization", "frame"],
)
def test_unknown_options_are_refused_with_the_known_ones(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        load_backbone(folder, **options)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(AssetError, match=message) as refusal:
        load_backbone(folder, dtype="float32")
    assert str(folder) in str(refusal.value)


def test_a_missing_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(tmp_path / "nowhere", r"backbone\.path=.* cannot be loaded(.|\n)*Give a folder with a checkpoint")


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "model-00002-of-00003.safetensors", "tokenizer.json"]
)
def test_a_missing_file(copy, name):
    (copy / name).unlink()
    if name == "preprocessor_config.json":
        (copy / "processor_config.json").unlink()
    refused(copy, rf"(?s)backbone\.path=.* cannot be .*{name}")


@pytest.mark.parametrize("name", ["config.json", "model-00002-of-00003.safetensors"], ids=["config", "shard"])
def test_a_cut_off_file(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[: (copy / name).stat().st_size // 2])
    refused(copy, r"backbone\.path=.* cannot be (loaded|read)")


def test_a_tokenizer_without_the_image_token(copy):
    text = json.loads((copy / "tokenizer.json").read_text())
    text["added_tokens"] = [token for token in text["added_tokens"] if token["content"] != "<image>"]
    (copy / "tokenizer.json").write_text(json.dumps(text))
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {
        key: token for key, token in settings["added_tokens_decoder"].items() if token["content"] != "<image>"
    }
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    (copy / "added_tokens.json").unlink()
    refused(copy, "the tokenizer has no <image> token")


def test_a_checkpoint_that_lacks_weights_is_not_filled_up_at_random(copy, tmp_path):
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    name = "multi_modal_projector.linear_2.weight"
    file = copy / index["weight_map"].pop(name)
    tensors = load_file(file)
    projector = {key: torch.zeros(shape) for key, shape in (
        ("linear_1.weight", (32, 16)), ("linear_1.bias", 32), ("linear_2.weight", (32, 32)), ("linear_2.bias", 32),
    )}  # fmt: skip
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(copy, r"lacks 1 weights of a Llava.*, e\.g\. .*linear_2\.weight")
    save_file(projector, tmp_path / "projector.safetensors")
    loaded = load_backbone(copy, dtype="float32", projector=tmp_path / "projector.safetensors")
    assert loaded.core.multi_modal_projector.linear_2.weight.eq(0).all()


def test_recomputed_layers_give_the_same_gradients(folder, encoder):
    batch, grads = encoder.train_batch(SAMPLES[:1]), []
    for recompute in ("none", "all"):
        model = load_backbone(folder, dtype="float32", gradient_checkpointing=recompute).train()
        weight = model.core.language_model.layers[0].mlp.up_proj.weight.requires_grad_()
        logits, targets = ours(model, batch)
        F.cross_entropy(logits, targets).backward()
        grads.append(weight.grad)
    assert grads[0].abs().sum() > 0
    assert torch.allclose(grads[0], grads[1], atol=1e-7)


LLAVA_TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def test_the_checkpoints_own_chat_template(copy):
    (copy / "chat_template.json").unlink()
    (copy / "chat_template.jinja").write_text(LLAVA_TEMPLATE)
    loaded = load_backbone(copy, dtype="float32", prompt="chat_template")
    own = load_backbone(copy, dtype="float32", system="")
    turns = [Turn("A cat", "No", images=1)]
    tokens, labels = loaded.tokens(loaded.prompt.render(turns))
    behind = len(loaded.tokenizer(" ", add_special_tokens=False)["input_ids"])  # the template's blank behind the turn
    assert (tokens[:-behind], labels[:-behind]) == own.tokens(own.prompt.render(turns))
    assert loaded.end_id == own.end_id == 2


def test_without_weights_all_but_the_model_is_there(folder, llava):
    empty = load_backbone(folder, weights=False, gradient_checkpointing="all")
    turns = [Turn("A cat", "No", images=1)]
    assert empty.tokens(empty.prompt.render(turns)) == llava.tokens(llava.prompt.render(turns))
    assert (empty.family.feature_count(()), empty.family.width, empty.end_id, empty.name) == (4, 16, 2, llava.name)
    assert all(parameter.is_meta for parameter in empty.parameters())
    image = Image.new("RGB", (40, 28), "red")
    assert torch.equal(empty.pixels(image)["pixel_values"], llava.pixels(image)["pixel_values"])
    with pytest.raises(ConfigError, match="quantization='int3' is unknown"):
        load_backbone(folder, weights=False, quantization="int3")
    with pytest.raises(AssetError, match=r"none\.safetensors: projector weights are missing"):
        load_backbone(folder, weights=False, projector="none.safetensors")


def test_a_folder_without_weight_files_is_enough_without_weights(copy):
    for file in copy.glob("*.safetensors*"):
        file.unlink()
    assert load_backbone(copy, weights=False).family.tokens(()) == 4
    refused(copy, r"weights cannot be read: .*model\.safetensors")


def test_another_system_message_and_boxes(folder):
    told = load_backbone(
        folder, dtype="float32", system="Be brief.", image_frame="squash", boxes={"numbers": "percent_tags"}
    )
    assert told.prompt.render([Turn("cat")]).text == "Be brief. USER: cat ASSISTANT:"
    assert told.prompt.name == "vicuna_v1 with system 'Be brief.'"
    assert told.box_format.describe() == {"frame": "squashed", "numbers": "percent_tags"}
