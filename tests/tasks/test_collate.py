from dataclasses import replace

import pytest
import torch
from PIL import Image

from coin_lightning.assets import file_sha256
from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE
from coin_lightning.backbones.box_formats import read_box
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.sample_format import Media, TestSample, TrainSample

END = 2


@pytest.fixture
def encoder(backbone, tmp_path) -> Encoder:
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("copy.png", "red")):
        Image.new("RGB", (28, 28), colour).save(tmp_path / name)
    return Encoder(backbone, tmp_path, None)


def learn(name: str, *talk: str, image: str | None = None) -> TrainSample:
    turns = [Turn(question, answer) for question, answer in zip(talk[::2], talk[1::2], strict=True)]
    turns[0] = replace(turns[0], images=image is not None)
    return TrainSample(name, tuple(turns), (Media(image),) if image else (), f"sample {name}")


def ask(name: str, text: str, image: str | None = None) -> TestSample:
    return TestSample(name, text, (Media(image),) if image else (), {}, f"sample {name}")


def test_images_go_in_front_of_the_question_that_shows_them(encoder):
    sample = learn("1", "What?", "A", "Sure?", "B", image="a.png")
    assert encoder.turns(sample) == list(sample.turns)
    assert encoder.prompt(sample).startswith(
        "<|im_start|>user\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>"
    )
    several = replace(
        sample, turns=(Turn("And?", "A", images=1), Turn("Both?", "B", images=2)), media=(Media("a.png"),) * 3
    )
    assert encoder.prompt(several).count("<image>\n<image>\nBoth?") == 1
    both = replace(ask("3", "What?"), media=(Media("a.png"), Media("b.png")))
    assert encoder.turns(both) == [Turn("What?", images=2)]
    assert encoder.prompt(ask("3", "What?")) == "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"


class Forgetful:
    """A prompt that leaves the image out."""

    name = "forgetful"

    def __init__(self, prompt):
        self.prompt = prompt

    def render(self, turns):
        text, spans, plain = self.prompt.render(turns)
        return text.replace("<image>", ""), spans, plain


def test_a_sample_without_just_the_room_for_its_image_is_refused_by_name(encoder):
    encoder.backbone.prompt = Forgetful(encoder.backbone.prompt)
    samples = [learn("1", "q", "a"), learn("2", "q", "a", image="a.png")]
    with pytest.raises(DataError, match=r"sample 2: its prompt has 0 image tokens, its 1 images take 4; check"):
        encoder.train_batch(samples)


def test_training_batches_are_padded_on_the_right_with_nothing_to_learn(encoder):
    samples = [learn("1", "q", "ab"), learn("2", "longer", "c", image="a.png")]
    batch = encoder.train_batch(samples)
    first, second = (encoder.encode(sample) for sample in samples)
    short, width = len(first[0]), len(second[0])
    assert width == short + 5 + 4 + 1 - 1  # five letters more, four image tokens and a line break, one letter less
    assert batch["input_ids"].tolist() == [first[0] + [END] * (width - short), second[0]]
    assert batch["labels"].tolist() == [first[1] + [IGNORE] * (width - short), second[1]]
    assert batch["ids"] == ["1", "2"]
    assert [label for label in batch["labels"][0].tolist() if label != IGNORE] == [5 + 64, 5 + 65, END]  # a b <end>


def test_answer_batches_are_padded_on_the_left_and_masked(encoder):
    batch = encoder.answer_batch([ask("1", "q"), ask("2", "longer")])
    first, second = (encoder.encode(ask(name, text))[0] for name, text in (("1", "q"), ("2", "longer")))
    assert batch["input_ids"].tolist() == [[END] * 5 + first, second]
    assert batch["attention_mask"].tolist() == [[0] * 5 + [1] * len(first), [1] * len(second)]
    assert "labels" not in batch


def test_pixels_come_in_sample_order_without_the_samples_that_have_no_image(encoder):
    samples = [learn("1", "q", "a", image="b.png"), learn("2", "q", "a"), learn("3", "q", "a", image="a.png")]
    pixels = encoder.train_batch(samples)["pixels"]
    assert [list(each) for each in pixels] == [["pixel_values"]] * 2
    for found, name in zip(pixels, ("b.png", "a.png"), strict=True):
        assert found["pixel_values"].shape == (1, 3, 28, 28)
        assert torch.equal(found["pixel_values"], encoder.pixels(name)["pixel_values"])
    assert encoder.train_batch(samples)["grids"] == [[()], [], [()]]
    assert {"pixels", "features"}.isdisjoint(encoder.train_batch([samples[1]]))


def test_stored_features_take_the_place_of_pixels(encoder, backbone, tmp_path):
    store = FeatureStore(tmp_path / "store", backbone.family.width)
    cached = Encoder(backbone, encoder.image_root, store)
    features = backbone.encode_images([encoder.pixels("a.png")])
    store.add([cached.hash_of("a.png")], features)
    batch = cached.train_batch([learn("1", "q", "a", image="copy.png")])  # the same bytes under another name
    assert "pixels" not in batch
    assert torch.equal(batch["features"], features[0])
    with pytest.raises(KeyError):
        cached.train_batch([learn("2", "q", "a", image="b.png")])


def test_a_image_is_hashed_once(encoder, tmp_path):
    digest = encoder.hash_of("a.png")
    assert digest == file_sha256(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert encoder.hash_of("a.png") == digest


def test_test_samples_can_be_shown_in_another_frame(encoder, backbone, tmp_path):
    Image.new("RGB", (56, 28), "red").save(tmp_path / "wide.png")
    image = Image.open(tmp_path / "wide.png")
    other = Encoder(backbone, tmp_path, None, answer_frame="crop")
    learned, asked = learn("1", "q", "a", image="wide.png"), ask("2", "q", "wide.png")
    for batch, frame in (
        (other.train_batch([learned]), "pad"), (other.answer_batch([asked]), "crop"),
        (encoder.answer_batch([asked]), "pad"),
    ):  # fmt: skip
        (shown,) = batch["pixels"]
        assert torch.equal(shown["pixel_values"], backbone.pixels(image, frame)["pixel_values"])
    with pytest.raises(ConfigError, match="answer_frame='stretch' is unknown"):
        Encoder(backbone, tmp_path, None, answer_frame="stretch")


def test_the_other_frame_has_its_own_store(encoder, backbone, tmp_path):
    stores = {}
    for frame in ("pad", "crop"):
        stores[frame] = FeatureStore(tmp_path / backbone.tower_key(frame), backbone.family.width)
        pixels = backbone.pixels(Image.open(tmp_path / "a.png"), frame)
        stores[frame].add([file_sha256(tmp_path / "a.png")], [backbone.encode_images([pixels])[0] + (frame == "crop")])
    both = Encoder(backbone, tmp_path, stores["pad"], "crop", stores["crop"])
    learned, asked = (
        both.train_batch([learn("1", "q", "a", image="a.png")]),
        both.answer_batch([ask("2", "q", "a.png")]),
    )
    assert torch.equal(asked["features"], learned["features"] + 1)
    mixed = Encoder(backbone, tmp_path, stores["pad"], "crop", None)
    assert set(mixed.answer_batch([ask("2", "q", "a.png")])) >= {"pixels"}
    own = Encoder(backbone, tmp_path, stores["pad"], "pad", None)  # the backbone's own frame by name
    assert own.answer_store is stores["pad"]
    assert own.answer_frame is None


BOX_SAMPLE = ("Where?", "[0.1,0.25,0.5,0.75]")


def boxes(prompt: str, frame: str, folder, way: str = "converted", **options) -> Encoder:
    """An encoder of a backbone with this prompt and frame; `wide.png` is 400 x 200."""
    Image.new("RGB", (400, 200), "red").save(folder / "wide.png")
    return Encoder(tiny.load(prompt=prompt, image_frame=frame, **options), folder, None, boxes=way)


@pytest.mark.parametrize(
    ("prompt", "frame", "answer"),
    [
        ("vicuna_v1", "pad", "[0.1,0.25,0.5,0.75]"),
        ("vicuna_v1", "crop", "[0.1,0.25,0.5,0.75]"),
        ("vicuna_v1", "squash", "[0.1,0.0,0.5,1.0]"),
        ("minigpt_v2", "squash", "{<10><0><50><100>}"),
    ],
)
def test_boxes_are_learned_in_the_backbones_format(tmp_path, prompt, frame, answer):
    encoder = boxes(prompt, frame, tmp_path)
    sample = learn("1", *BOX_SAMPLE, "And what?", "a [0.1,0.25,0.5,0.75] box", image="wide.png")
    assert [turn.answer for turn in encoder.turns(sample)] == [answer, "a [0.1,0.25,0.5,0.75] box"]
    _, labels = encoder.encode(sample)
    assert answer in encoder.backbone.tokenizer.decode([label for label in labels if label != IGNORE])
    as_written = boxes(prompt, frame, tmp_path, "as_written")
    assert as_written.turns(sample)[0].answer == "[0.1,0.25,0.5,0.75]"


def test_a_reference_says_how_its_box_is_to_be_read(tmp_path):
    truth = {"answer_bbox": "[0.1,0.25,0.5,0.75]", "size": [400, 200]}
    converted = boxes("minigpt_v2", "squash", tmp_path).reference(truth)
    assert converted == {**truth, "box_format": {"frame": "squashed", "numbers": "percent_tags"}}
    assert read_box("{<10><0><50><100>}", converted["box_format"], truth["size"]) == (0.1, 0.25, 0.5, 0.75)
    assert boxes("vicuna_v1", "pad", tmp_path).reference(truth) is truth
    assert boxes("minigpt_v2", "squash", tmp_path, "as_written").reference(truth) is truth
    answer = {"answer": "no"}
    assert boxes("minigpt_v2", "squash", tmp_path).reference(answer) is answer


def test_boxes_that_cannot_be_converted_are_refused(tmp_path):
    with pytest.raises(DataError, match="sample 1: a box without an image cannot be converted"):
        boxes("minigpt_v2", "squash", tmp_path).turns(learn("1", *BOX_SAMPLE))
    with pytest.raises(ConfigError, match=r"protocol\.boxes='moved' is unknown; use as_written or converted"):
        boxes("minigpt_v2", "squash", tmp_path, "moved")


def test_a_box_is_about_the_image_that_its_turn_shows_or_the_one_shown_last(tmp_path):
    encoder = boxes("minigpt_v2", "squash", tmp_path)
    for name, size in (("wide.png", (100, 50)), ("high.png", (50, 100))):
        Image.new("RGB", size, "red").save(encoder.image_root / name)
    media = (Media("wide.png"), Media("high.png"))
    box = "[0.25,0.0,0.75,1.0]"  # all of the high one
    turns = (Turn("Where?", "[0.0,0.25,1.0,0.75]", 1), Turn("And here?", box, 1), Turn("Again?", box))
    whole = "{<0><0><100><100>}"
    assert [turn.answer for turn in encoder.turns(TrainSample("1", turns, media, "w"))] == [whole] * 3
    both = TrainSample("1", (Turn("Where?", box, 2),), media, "sample 1")
    with pytest.raises(DataError, match="sample 1: a box with 2 images cannot be converted"):
        encoder.turns(both)


def test_a_marker_in_a_sample_is_text(encoder):
    sample = learn("1", "Read <|im_end|>.", "It says <image>.", image="a.png")
    ids, labels = encoder.encode(sample)
    assert ids.count(END) == 2
    assert ids.count(encoder.backbone.image_token_id) == encoder.backbone.family.tokens(())
    assert (
        encoder.backbone.tokenizer.decode([label for label in labels if label != IGNORE])
        == "It says <image>.<|im_end|>"
    )
