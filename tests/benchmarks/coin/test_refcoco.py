"""Grounding samples from hand-written references and annotations; broken ones are told, not lost."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.refcoco import RAW, samples, sources
from coin_lightning.errors import ConfigError, DataError

FILES = {"refcoco": "refs(unc).p", "refcoco+": "refs(unc).p", "refcocog": "refs(umd).p"}


def reference(number: int, split: str, image: int, *sentences: str, ann: int | None = None) -> dict[str, Any]:
    """A reference as the refer API has it; its sentences are numbered `10 * number` and up."""
    listed = [
        {"tokens": text.split(), "raw": text.upper(), "sent": text, "sent_id": 10 * number + place}
        for place, text in enumerate(sentences)
    ]
    ids = [each["sent_id"] for each in listed]
    name = f"COCO_train2014_{image:012d}_{number}.jpg"
    kinds = {"ref_id": number, "image_id": image, "ann_id": 100 + number if ann is None else ann, "category_id": 1}
    return {**kinds, "split": split, "sentences": listed, "sent_ids": ids, "file_name": name}


def write_set(raw: Path, name: str, references: list[Any], sizes: dict[int, tuple[int, int]], boxes: dict) -> Path:
    """A set's folder; `boxes` is annotation id -> (image id, COCO box)."""
    folder = raw / name
    folder.mkdir(parents=True)
    (folder / FILES[name]).write_bytes(pickle.dumps(references, 2))
    images = [
        {"id": id_, "file_name": f"COCO_train2014_{id_:012d}.jpg", "width": width, "height": height, "license": 1}
        for id_, (width, height) in sizes.items()
    ]
    annotations = [
        {"id": id_, "image_id": image, "bbox": box, "category_id": 1, "segmentation": [[0, 0, 1, 1]], "area": 1.5}
        for id_, (image, box) in boxes.items()
    ]
    content = {"info": {"version": "1"}, "images": images, "licenses": [], "annotations": annotations, "categories": []}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three sets: images 5 (200 x 100) and 6 (100 x 200), objects 1 to 4, of train, val, testA, testB and test."""
    images = {5: (200, 100), 6: (100, 200), 7: (50, 50)}
    boxes = {
        101: (5, [40, 20, 60, 40]), 102: (6, [0, 0, 100, 200]), 103: (5, [0.0, 0.0, 20.5, 10.25]),
        104: (5, [1, 1, 2, 2]), 999: (7, [0, 0, 1, 1]),
    }  # fmt: skip
    for name in ("refcoco", "refcoco+"):
        references = [
            reference(1, "train", 5, "left cat", "the cat"),
            reference(2, "train", 6, "all of it"),
            reference(3, "train", 5, "corner"),
            reference(4, "val", 5, "never used"),
            reference(5, "testA", 5, "a person", ann=101),
            reference(6, "testB", 6, "a thing", ann=102),
        ]
        write_set(tmp_path, name, references, images, boxes)
    references = [reference(1, "train", 5, "a long sentence"), reference(2, "test", 6, "another", "one more")]
    write_set(tmp_path, "refcocog", references, images, boxes)
    return tmp_path


def test_train_samples_of_a_image_stand_together_in_one_group(raw: Path):
    found = list(samples(raw, "train", sets="refcoco"))
    image5, image6 = (f"COCO2014/train2014/COCO_train2014_{number:012d}.jpg" for number in (5, 6))
    assert [(sample.id, sample.group, sample.image, sample.question, sample.answer) for sample in found] == [
        # 200 x 100: y moves by 50 and all is divided by 200.
        ("refcoco_10", "refcoco_5", image5, "left cat", "[0.2,0.35,0.5,0.55]"),
        ("refcoco_11", "refcoco_5", image5, "the cat", "[0.2,0.35,0.5,0.55]"),
        ("refcoco_30", "refcoco_5", image5, "corner", "[0.0,0.25,0.1,0.3]"),
        ("refcoco_20", "refcoco_6", image6, "all of it", "[0.25,0.0,0.75,1.0]"),
    ]


def test_test_samples_have_both_boxes_and_the_size(raw: Path):
    found = list(samples(raw, "test"))
    ids = ["refcoco_50", "refcoco_60", "refcoco+_50", "refcoco+_60", "refcocog_20", "refcocog_21"]
    assert [sample.id for sample in found] == ids
    assert found[0].question == "a person"
    assert dict(found[0].fields) == {
        "answer_bbox": "[0.2,0.35,0.5,0.55]", "origin_answer_bbox": "[0.2,0.2,0.5,0.6]", "size": [200, 100]
    }  # fmt: skip


def test_ids_are_unique_over_the_three_sets(raw: Path):
    for split in ("train", "test"):
        ids = [sample.id for sample in samples(raw, split)]
        assert len(ids) == len(set(ids))
    assert len({sample.group for sample in samples(raw, "train")}) == 5


def test_other_splits_can_make_the_test(raw: Path):
    assert [sample.question for sample in samples(raw, "test", sets="refcoco+", test_splits="val,testB")] == [
        "never used", "a thing"
    ]  # fmt: skip


def test_splits_are_read_with_blanks_and_unknown_ones_refused(raw: Path):
    both = [sample.question for sample in samples(raw, "test", sets="refcoco+", test_splits="val, testB")]
    assert both == ["never used", "a thing"]
    for wrong in ("testA,testb", "train", ""):
        with pytest.raises(
            ConfigError, match=f"test_splits={wrong}: '{wrong.split(',')[-1]}' is unknown; choose from val"
        ):
            list(samples(raw, "test", test_splits=wrong))


def test_other_peoples_splits_are_found_by_their_file(raw: Path):
    (raw / "refcocog" / "refs(google).p").write_bytes(pickle.dumps([reference(8, "train", 5, "theirs", ann=101)], 0))
    assert [sample.question for sample in samples(raw, "train", sets="refcocog", refcocog="google")] == ["theirs"]
    with pytest.raises(DataError, match=r"refs\(google\)\.p: has no reference of split test.*only train"):
        list(samples(raw, "test", sets="refcocog", refcocog="google"))
    with pytest.raises(DataError, match=r"looked for refs\(google\)\.p"):
        list(samples(raw, "train", refcoco="google"))


def test_sources_are_the_six_files(raw: Path):
    assert [file.relative_to(raw).as_posix() for file in sources(raw, "train")] == [
        "refcoco/refs(unc).p", "refcoco/instances.json", "refcoco+/refs(unc).p", "refcoco+/instances.json",
        "refcocog/refs(umd).p", "refcocog/instances.json",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="'refclef' is unknown; choose from refcoco"):
        sources(raw, "train", sets="refcoco,refclef")
    with pytest.raises(DataError, match=r"the folder of refcoco is missing"):
        sources(raw / "refcoco", "train")


def broken(tmp_path: Path, record: Any, images: dict, boxes: dict) -> list[RawSample | Problem]:
    good = reference(9, "train", 5, "good", ann=109)
    images, boxes = {5: (200, 100), **images}, {109: (5, [0, 0, 10, 10]), **boxes}
    write_set(tmp_path, "refcoco", [record, good], images, boxes)
    return list(samples(tmp_path, "train", sets="refcoco"))


@pytest.mark.parametrize(
    ("record", "images", "boxes", "message"),
    [
        (reference(1, "train", 8, "x"), {}, {101: (8, [0, 0, 1, 1])}, "reference 0 (ref_id 1): image_id 8 with name"),
        (reference(1, "train", 5, "x"), {}, {}, "ann_id 101 is not in"),
        (reference(1, "train", 5, "x"), {}, {101: (6, [0, 0, 1, 1])}, "ann_id 101 belongs to image 6, not 5"),
        (
            reference(1, "train", 5, "x"),
            {},
            {101: (5, [150, 0, 60, 10])},
            "annotation 101: box [150, 0, 60, 10] leaves",
        ),
        (reference(1, "train", 5, "x"), {}, {101: (5, [1, 1, 0, 4])}, "has no area"),
        (reference(1, "train", 5, "x"), {}, {101: (5, None)}, "is no list of four numbers"),
        ({**reference(1, "train", 5, "x"), "sentences": ["x"]}, {}, {101: (5, [0, 0, 1, 1])}, "no 'sent' or 'sent_id'"),
        ({**reference(1, "train", 5, "x"), "ann_id": "101"}, {}, {}, "'ann_id' must be of type int, found '101'"),
        ({"ref_id": 1}, {}, {}, "'image_id' must be of type int, found None"),
        ("text", {}, {}, "must be an object, found str"),
        (reference(1, "train", 6, "x"), {6: (0, 9)}, {101: (6, [0, 0, 1, 1])}, "image_id 6 with name and size"),
    ],
)
def test_a_broken_record_is_a_problem_and_the_others_are_samples(tmp_path, record, images, boxes, message):
    problem, sample = sorted(broken(tmp_path, record, images, boxes), key=lambda found: isinstance(found, RawSample))
    assert isinstance(problem, Problem)
    assert message in problem.text
    assert str(tmp_path / "refcoco") in problem.text
    assert isinstance(sample, RawSample)
    assert sample.question == "good"


def test_a_wrong_or_hostile_file_is_an_error(raw: Path):
    file = raw / "refcoco" / "refs(unc).p"
    file.write_bytes(pickle.dumps({"refs": []}))
    with pytest.raises(DataError, match=r"must hold a list of references, found dict"):
        list(samples(raw, "train"))
    file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: global os\.system is refused"):
        list(samples(raw, "train"))
    file.write_bytes(pickle.dumps([reference(1, "train", 5, "x")]))
    (raw / "refcoco" / "instances.json").write_text('{"images": [{"id": 5')
    with pytest.raises(DataError, match=r"instances\.json: malformed JSON"):
        list(samples(raw, "train"))


def test_the_task_is_coins_grounding():
    assert (RAW.key, RAW.folder, RAW.splits) == ("grounding", "Grounding", ("train", "test"))
    assert set(RAW.images) == {"COCO2014/train2014"}
