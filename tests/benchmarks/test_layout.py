import pytest
from PIL import Image

from coin_lightning.benchmarks.layout import (
    Entry,
    Item,
    evaluation_sample,
    instruction_path,
    short,
    train_sample,
    write_json,
)
from coin_lightning.benchmarks.layout import write_image as write


def test_a_image_sample_and_a_text_sample():
    item = Item(short("What is this?"), "cat")
    assert train_sample(Entry("7", "./a.jpg", item)) == {
        "id": "7",
        "image": "./a.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is this?\nAnswer the question using a single word or phrase."},
            {"from": "gpt", "value": "cat"},
        ],
    }
    without = train_sample(Entry(8, None, Item("Q", "A")))
    assert without["id"] == "8"
    assert "image" not in without
    assert without["conversations"][0]["value"] == "Q"
    assert evaluation_sample(Entry(8, None, Item("Q", "A"))) == {"question_id": 8, "text": "Q", "answer": "A"}


def test_a_box_sample_has_boxes_instead_of_an_answer():
    truth = {"answer_bbox": "[0.1,0.2,0.3,0.4]", "origin_answer_bbox": "[0.0,0.2,0.3,0.4]", "size": [4, 6]}
    sample = evaluation_sample(Entry("1", "./b.jpg", Item("where", "[0.1,0.2,0.3,0.4]", truth)))
    assert sample == {"question_id": "1", "image": "./b.jpg", "text": "where", **truth}


def test_files_have_fixed_bytes_and_places(tmp_path):
    assert instruction_path(tmp_path, "VQAv2", "val") == tmp_path / "Instructions_Original/VQAv2/val.json"
    write_json(tmp_path / "new" / "a.json", [{"é": 1}])
    assert (tmp_path / "new" / "a.json").read_bytes() == b'[\n {\n  "\\u00e9": 1\n }\n]\n'
    write(tmp_path, "./deep/er.jpg", Image.new("RGB", (16, 8), (250, 10, 10)))
    with Image.open(tmp_path / "cl_dataset/deep/er.jpg") as opened:
        assert opened.size == (16, 8)
        assert opened.getpixel((3, 3)) == pytest.approx((250, 10, 10), abs=3)
        assert opened.layer[0][1:3] == opened.layer[1][1:3] == (1, 1)  # no colour subsampling
