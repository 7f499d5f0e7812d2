"""Samples in CoIN's layout, and files that appear whole or not at all."""

import hashlib
import json

import pytest

from coin_lightning.benchmarks.coin.raw_sample import RawSample
from coin_lightning.benchmarks.coin.templates import load_instructions
from coin_lightning.benchmarks.coin.writer import SampleFile, test_sample, train_sample

GQA, GROUNDING = load_instructions("gqa"), load_instructions("grounding")
SHORT = "Answer the question using a single word or phrase."
BOX = "Please provide the bounding box coordinate of the region this sentence describes: {}."


def human(text: str) -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


def test_conversation_with_the_instruction_on_its_first_turn():
    turns = [
        RawSample("q1", "GQA/images/5.jpg", " Is it dark? ", " yes ", "5"),
        RawSample("q2", "GQA/images/5.jpg", "What is this? ", "pipe", "5"),
    ]
    assert train_sample(turns, GQA, "original", 0) == {
        "id": "5",
        "image": "./GQA/images/5.jpg",
        "conversations": [
            human(f"<image>\nIs it dark?\n{SHORT}"), gpt("yes"), human("What is this?"), gpt("pipe"),
        ],
    }  # fmt: skip


def test_grounding_has_it_on_every_turn():
    turns = [
        RawSample(n, "a.jpg", text, "[0.0,0.1,0.5,1.0]", "refcoco_9") for n, text in enumerate(("man", "left dog"))
    ]
    sample = train_sample(turns, GROUNDING, "original", 0)
    assert sample["id"] == "refcoco_9"
    assert [part["value"] for part in sample["conversations"][::2]] == [
        f"<image>\n{BOX.format('man')}", BOX.format("left dog"),
    ]  # fmt: skip


def test_single_question_without_image():
    sample = train_sample([RawSample(12, None, "Which?", "A")], load_instructions("scienceqa"), "original", 0)
    assert sample == {
        "id": "12",
        "conversations": [
            human("Which?\nAnswer with the option's letter from the given choices directly."), gpt("A"),
        ],
    }  # fmt: skip


def test_evaluation_samples_keep_their_id_and_fields():
    fields = {"answers": ["net"] * 10, "answer_type": "other"}
    sample = RawSample(458752000, "COCO2014/val2014/c.jpg", "What is this?", "net ", "458752", fields)
    assert test_sample(sample, GQA, "original", 0) == {
        "question_id": 458752000,
        "image": "./COCO2014/val2014/c.jpg",
        "text": f"What is this?\n{SHORT}",
        "answer": "net",
        **fields,
    }


def test_boxes_stand_in_their_own_fields():
    fields = {"answer_bbox": "[0.0,0.1,0.5,1.0]", "origin_answer_bbox": "[0.0,0.0,0.5,1.0]", "size": [640, 480]}
    sample = test_sample(
        RawSample("refcoco_1", "a.jpg", "man", "[0.0,0.1,0.5,1.0]", fields=fields), GROUNDING, "original", 0
    )
    assert sample == {"question_id": "refcoco_1", "image": "./a.jpg", "text": BOX.format("man"), **fields}


def test_file_appears_when_the_block_ends(tmp_path):
    file = tmp_path / "new" / "train.json"
    with SampleFile(file) as samples:
        samples.write({"id": "1", "é": "\n"})
        samples.write({"id": "2"})
        assert not file.exists()
    assert file.read_bytes() == b'[\n{"id": "1", "\\u00e9": "\\n"},\n{"id": "2"}\n]\n'
    assert json.loads(file.read_text()) == [{"id": "1", "é": "\n"}, {"id": "2"}]
    assert samples.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (samples.samples, samples.bytes) == (2, file.stat().st_size)
    assert [entry.name for entry in file.parent.iterdir()] == ["train.json"]


def test_no_sample_is_an_empty_list(tmp_path):
    with SampleFile(tmp_path / "a.json"):
        pass
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_an_error_leaves_what_was_there(tmp_path):
    file = tmp_path / "train.json"
    file.write_text("before")
    with pytest.raises(TypeError, match="not JSON serializable"), SampleFile(file) as samples:
        samples.write({"id": object()})
    assert file.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.json"]
