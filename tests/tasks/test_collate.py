import pytest
import torch
from PIL import Image

from coin_lightning.backbones.base import IGNORE
from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore, file_hash
from coin_lightning.tasks.rows import TestRow, TrainRow

END = 2


@pytest.fixture
def encoder(backbone, tmp_path) -> Encoder:
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("copy.png", "red")):
        Image.new("RGB", (28, 28), colour).save(tmp_path / name)
    return Encoder(backbone, tmp_path, None)


def learn(name: str, *talk: str, image: str | None = None) -> TrainRow:
    turns = tuple(Turn(question, answer) for question, answer in zip(talk[::2], talk[1::2], strict=True))
    return TrainRow(name, turns, image, f"row {name}")


def ask(name: str, text: str, image: str | None = None) -> TestRow:
    return TestRow(name, text, image, {}, f"row {name}")


def test_the_picture_goes_in_front_of_the_first_question_only(encoder):
    row = learn("1", "What?\n<image>", "A", "<image>Sure?", "B", image="a.png")
    assert [turn.question for turn in encoder.turns(row)] == ["<image>\nWhat?", "Sure?"]
    text_only = learn("2", "<image>\nWhat?", "A")
    assert [turn.question for turn in encoder.turns(text_only)] == ["What?"]
    assert encoder.turns(ask("3", "What?", "a.png")) == [Turn("<image>\nWhat?")]
    assert encoder.prompt(ask("3", "What?")) == "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"


def test_training_batches_are_padded_on_the_right_with_nothing_to_learn(encoder):
    rows = [learn("1", "q", "ab"), learn("2", "longer", "c", image="a.png")]
    batch = encoder.train_batch(rows)
    first, second = (encoder.encode(row) for row in rows)
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


def test_pixels_come_in_row_order_without_the_rows_that_have_no_picture(encoder):
    rows = [learn("1", "q", "a", image="b.png"), learn("2", "q", "a"), learn("3", "q", "a", image="a.png")]
    pixels = encoder.train_batch(rows)["pixels"]
    assert pixels.shape == (2, 3, 28, 28)
    assert torch.equal(pixels[0], encoder.picture("b.png"))
    assert torch.equal(pixels[1], encoder.picture("a.png"))
    assert encoder.pictures([rows[1]]) == {}


def test_stored_features_take_the_place_of_pixels(encoder, backbone, tmp_path):
    store = FeatureStore(tmp_path / "store", backbone.feature_shape)
    cached = Encoder(backbone, encoder.images, store)
    features = backbone.encode_pictures(torch.stack([encoder.picture("a.png")]))
    store.add([cached.hash_of("a.png")], features)
    batch = cached.train_batch([learn("1", "q", "a", image="copy.png")])  # the same bytes under another name
    assert "pixels" not in batch
    assert torch.equal(batch["features"], features)
    with pytest.raises(KeyError):
        cached.train_batch([learn("2", "q", "a", image="b.png")])


def test_a_picture_is_hashed_once(encoder, tmp_path):
    digest = encoder.hash_of("a.png")
    assert digest == file_hash(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert encoder.hash_of("a.png") == digest
