"""Checkpoints whose parts do not fit each other, through the real command and through `data verify`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import llava_folder
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coin_lightning.backbones.loading import load_backbone
from coin_lightning.cli.data_verify import main as verify
from coin_lightning.errors import AssetError

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:transformers")
Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "whole"
    llava_folder.write(path)
    return path


def edit(file: str, *path: str, **changed: object) -> Edit:
    """Change keys of a JSON file, in the part that `path` leads to; None removes one."""

    def change(folder: Path) -> None:
        data = json.loads((folder / file).read_text())
        part = data
        for key in path:
            part = part[key]
        part.update(changed)
        for key in [key for key, value in part.items() if value is None and key in changed]:
            del part[key]
        (folder / file).write_text(json.dumps(data))

    return change


def config(*path: str, **changed: object) -> Edit:
    return edit("config.json", *path, **changed)


def size(pixels: int) -> Edit:
    both = {"height": pixels, "width": pixels}
    return edit("preprocessor_config.json", crop_size=both, size={"shortest_edge": pixels})


def original_llava(folder: Path) -> None:
    """As `liuhaotian/llava-v1.5-7b` was first published: a flat Llama config with `mm_` keys."""
    text = json.loads((folder / "config.json").read_text())["text_config"]
    flat = {**text, "model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_hidden_size": 16}
    (folder / "config.json").write_text(json.dumps(flat))


def gone(*names: str) -> Edit:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def content(name: str, data: bytes) -> Edit:
    return lambda folder: (folder / name).write_bytes(data) and None


SHARD = "model-00002-of-00003.safetensors"
IMAGE_ID = llava_folder.llama_tokenizer().token_to_id("<image>")
CASES: dict[str, tuple[Edit, tuple[str, ...], Edit | str]] = {
    "another image token": (
        config(image_token_index=IMAGE_ID + 1),
        (f"image_token_index={IMAGE_ID + 1}", f"the id {IMAGE_ID}", f"Set image_token_index to {IMAGE_ID}"),
        config(image_token_index=IMAGE_ID),
    ),
    "no row for the image token": (
        config("text_config", vocab_size=IMAGE_ID),
        (f"'<image>' the id {IMAGE_ID}", f"text_config.vocab_size={IMAGE_ID} rows"),
        "config.json",
    ),
    "more tokens than places": (
        config(vision_feature_select_strategy="full"),
        ("image_seq_length=4", "gives 5 tokens per image with vision_feature_select_strategy='full'"),
        config(image_seq_length=5),
    ),
    "fewer tokens than places": (
        config(image_seq_length=None),
        ("image_seq_length=576 (576 where the key is missing)", "gives 4 tokens", "image_seq_length=4"),
        config(image_seq_length=4),
    ),
    "no such layer": (
        config(vision_feature_layer=-5),
        ("vision_feature_layer=-5", "4 layers of states (-4 to 3)"),
        config(vision_feature_layer=-4),
    ),
    "images of another size": (
        size(42),
        ("preprocessor_config.json makes images of 42 x 42 pixels", "vision_config.image_size=28", "crop_size to 28"),
        size(28),
    ),
    "images that are not square": (
        edit("preprocessor_config.json", do_center_crop=False, size={"height": 28, "width": 42}),
        ("makes images of 42 x 28 pixels", "image_size=28"),
        edit("preprocessor_config.json", size={"height": 28, "width": 28}),
    ),
    "llava_next": (
        config(model_type="llava_next"),
        ("model_type='llava_next', must be 'llava'", "Choose the backbone of its family; there are"),
        config(model_type="llava"),
    ),
    "original LLaVA": (
        original_llava,
        ("mm_vision_tower='openai/clip-vit-large-patch14-336'", "format of the original LLaVA code", "its conversion"),
        "config.json",
    ),
    "no tower in the config": (config(vision_config=None), ("config.json has no vision_config",), "config.json"),
    "no preprocessing": (
        gone("preprocessor_config.json"), ("preprocessor_config.json is missing",), "preprocessor_config.json",
    ),
    "no tokenizer": (gone("tokenizer.json"), ("tokenizer.json is missing",), "tokenizer.json"),
    "half a tokenizer": (content("tokenizer.json", b'{"version": "1.0"'), ("cannot be loaded by AutoTokenizer",),
                         "tokenizer.json"),
    "a missing shard": (gone(SHARD), (SHARD, "weights cannot be read"), SHARD),
    "a pointer for a shard": (
        content(SHARD, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        (f"{SHARD}: it is a pointer of Git LFS", "git lfs pull"),
        SHARD,
    ),
    "a page for a shard": (content(SHARD, b"<!DOCTYPE html><html>"), (f"{SHARD}: it is a web page",), SHARD),
    "an empty shard": (content(SHARD, b""), (f"{SHARD}: it is empty",), SHARD),
}  # fmt: skip
"""Name -> how a checkpoint is spoilt, what the message says, and its remedy (a file's name: fetch it again)."""


def arguments(command: list[str], folder: Path, *more: str) -> list[str]:
    return [*command, "backbone=llava_1_5_7b", f"backbone.path={folder}", "protocol.starting_weights=backbone", *more]


@pytest.mark.parametrize("case", CASES)
def test_parts_that_do_not_fit_are_refused_by_run_and_verify_and_the_remedy_works(place, whole, tmp_path, capsys, case):
    spoil, words, remedy = CASES[case]
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    spoil(folder)
    status, text = place.runs.run(arguments(place.command(f"parts {case}", tasks="gqa"), folder))
    assert status == 1, text
    assert "Traceback" not in text
    command = [key for key in place.command("x", tasks="gqa") if not key.startswith(("run_dir", "adapter.", "call"))]
    assert verify(arguments(command, folder, f"output={tmp_path / 'page.html'}")) == 2
    for shown in (text, capsys.readouterr().err):
        assert all(word in shown for word in (*words, str(folder))), shown
    if callable(remedy):
        remedy(folder)
    else:
        shutil.copy(whole / remedy, folder / remedy)
    assert load_backbone(folder, dtype="float32").family.tokens(()) in (4, 5)


def test_a_whole_run_on_a_checkpoint_that_fits(place, whole):
    command = place.command("fitting parts", "backbone.dtype=float32", tasks="gqa")
    status, text = place.runs.run(arguments(command, whole))
    assert status == 0, text


def test_more_tokens_than_the_language_model_has_positions(place, whole):
    command = place.command("long parts", "backbone.max_length=4097", tasks="gqa")
    status, text = place.runs.run(arguments(command, whole))
    assert status == 1
    assert "backbone.max_length=4097 is more than text_config.max_position_embeddings=4096" in text
    assert "set backbone.max_length=4096 or less" in text
    assert load_backbone(whole, max_length=4096, weights=False).max_length == 4096


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (1, "holds 9 weights that config.json has no place for, e.g. model.language_model.layers.1"),
        (3, "lacks 9 weights of a LlavaForConditionalGeneration, e.g. model.language_model.layers.2"),
    ],
)
def test_a_config_of_another_depth_is_refused_by_the_run(place, whole, tmp_path, layers, words):
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    config("text_config", num_hidden_layers=layers)(folder)
    status, text = place.runs.run(arguments(place.command("deep parts", tasks="gqa"), folder))
    assert (status, "Traceback" in text) == (1, False)
    assert words in text


def test_weights_of_another_width_are_named_with_both_shapes(place, whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    config("text_config", intermediate_size=48)(folder)
    status, text = place.runs.run(arguments(place.command("wide parts", tasks="gqa"), folder))
    assert status == 1
    assert "6 weights have another shape than config.json says" in text
    assert "[32, 64] instead of [32, 48]" in text


def test_the_head_is_never_drawn_at_random(whole, tmp_path):
    """Without its own weights it is refused, unless the config ties it to the embedding."""
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    file = folder / index["weight_map"].pop("language_model.lm_head.weight")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    left = {name: tensor for name, tensor in load_file(file).items() if "lm_head" not in name}
    save_file(left, file, metadata={"format": "pt"})
    with pytest.raises(AssetError, match=r"lacks 1 weights of a Llava.*, e\.g\. lm_head\.weight"):
        load_backbone(folder, dtype="float32")
    config(tie_word_embeddings=True)(folder)
    config("text_config", tie_word_embeddings=True)(folder)
    tied = load_backbone(folder, dtype="float32").model
    assert tied.lm_head.weight is tied.get_input_embeddings().weight


@pytest.mark.parametrize("frame", ["pad", "squash", "crop"])
def test_every_frame_gives_the_towers_size_or_is_refused(whole, tmp_path, frame):
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    edit("preprocessor_config.json", do_center_crop=False)(folder)  # only squares become squares
    wide = Image.new("RGB", (56, 28))
    if frame == "crop":
        with pytest.raises(AssetError, match=r"makes images of 40 x 28 pixels with backbone\.image_frame=crop"):
            load_backbone(folder, image_frame=frame, weights=False)
        padded = load_backbone(folder, weights=False)
        with pytest.raises(AssetError, match=r"makes images of 56 x 28 pixels with backbone\.image_frame=crop"):
            padded.pixels(wide, "crop")
    else:
        assert load_backbone(folder, image_frame=frame, weights=False).pixels(wide)["pixel_values"].shape == (
            1,
            3,
            28,
            28,
        )


def test_a_projector_that_is_a_web_page_is_refused_and_the_remedy_works(place, whole, tmp_path):
    """Also before the language model is read, and with the file fetched again the run goes through."""
    file = tmp_path / "mm_projector.bin"
    file.write_bytes(b"<html>not found</html>")
    command = place.command("page projector", f"backbone.projector={file}", "backbone.dtype=float32", tasks="gqa")
    status, text = place.runs.run(arguments(command, whole))
    assert (status, "Traceback" in text) == (1, False)
    assert f"{file}: projector weights cannot be read: it is a web page (HTML or XML), not the file itself" in text
    assert "fetch the file again" in text
    projector = load_backbone(whole, dtype="float32").core.multi_modal_projector.state_dict()
    torch.save({name: tensor + 1 for name, tensor in projector.items()}, file)
    status, text = place.runs.run(arguments(command, whole))
    assert status == 0, text
