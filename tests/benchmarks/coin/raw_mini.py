"""CoIN-mini (or any suite in CoIN's layout with its samples) written as the ten raw data sets, in their own formats.

Where a format has no room for what CoIN-mini knows, the nearest public habit stands in: ten equal annotators, one OCR
file per split, boxes in whole pixels. Images are linked, never copied.
"""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

Sample = dict[str, Any]
SETS = {"refcoco": "refs(unc).p", "refcoco+": "refs(unc).p", "refcocog": "refs(umd).p"}
RAW_FOLDERS = {
    "scienceqa": "ScienceQA", "textvqa": "TextVQA", "imagenet": "ImageNet", "gqa": "GQA", "vizwiz": "VizWiz",
    "grounding": "refer", "vqav2": "VQAv2", "ocrvqa": "OCR-VQA",
}  # fmt: skip
"""Task -> its folder below `raw`."""
OCR_LINE = "Reference OCR token: "


def write_raw(suite: Path, raw: Path, limit: int | None = None) -> Path:
    """Write raw folders for all eight tasks below `raw`, from the first `limit` samples of each file of the suite."""
    for write in (_scienceqa, _textvqa, _imagenet, _gqa, _vizwiz, _refcoco, _vqav2, _ocrvqa):
        write(_Suite(suite, limit), raw)
    return raw


def raw_options(raw: Path, task: str) -> dict[str, str]:
    """The builder's options that give CoIN-mini's wording and classes."""
    classes = len((raw / "ImageNet" / "LOC_synset_mapping.txt").read_text().splitlines())
    return {
        "textvqa": {"ocr": "rosetta"}, "vizwiz": {"hint": "llava"}, "imagenet": {"classes": str(classes)}
    }.get(task, {})  # fmt: skip


def both_splits(raw: Path) -> Path:
    """A list of the ImageNet classes that have images in both splits, one of which is given another label."""
    folders = [{folder.name for folder in (raw / "ImageNet" / split).iterdir()} for split in ("train", "val")]
    wnids = sorted(folders[0] & folders[1])
    file = raw / "classes.txt"
    file.write_text("\n".join([f"{wnids[0]} Something else", *wnids[1:]]))
    return file


class _Suite:
    """Samples and images of a suite."""

    def __init__(self, root: Path, limit: int | None) -> None:
        self.root, self.limit = root, limit

    def samples(self, folder: str, split: str) -> list[Sample]:
        """Samples with `id` (str), `question` (first line), `text` (without `<image>`), and what else they hold."""
        file = self.root / "Instructions_Original" / folder / f"{split}.json"
        return [_flat(sample) for sample in json.loads(file.read_text())[: self.limit]]

    def image(self, name: str) -> Path:
        return (self.root / "cl_dataset" / name).resolve()


def _flat(sample: Sample) -> Sample:
    if "conversations" in sample:
        human, gpt = sample["conversations"]
        sample = {**sample, "question_id": sample["id"], "text": human["value"], "answer": gpt["value"]}
    text = sample["text"].removeprefix("<image>\n")
    return {**sample, "id": str(sample["question_id"]), "text": text, "question": text.split("\n")[0]}


def _json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target, target_is_directory=target.is_dir())


def _stem(sample: Sample) -> str:
    return Path(sample["image"]).name.split(".")[0]


def _ten(answer: str) -> list[str]:
    return [answer] * 10


def _scienceqa(suite: _Suite, raw: Path) -> None:
    truth = json.loads(suite.image("ScienceQA/problems.json").read_text())
    ids = {split: [sample["id"] for sample in suite.samples("ScienceQA", split)] for split in ("train", "test")}
    problems = {id_: truth[id_] for listed in ids.values() for id_ in listed}
    _json(raw / "ScienceQA" / "problems.json", problems)
    _json(raw / "ScienceQA" / "pid_splits.json", {**ids, "val": []})
    _link(raw / "ScienceQA" / "images", suite.image("ScienceQA/images"))


def _textvqa(suite: _Suite, raw: Path) -> None:
    folder = raw / "TextVQA"
    known = json.loads(suite.image("TextVQA/TextVQA_0.5.1_val.json").read_text())["data"]
    truth = {str(entry["question_id"]): entry["answers"] for entry in known}  # of val; train has one answer
    for split in ("train", "val"):
        samples = suite.samples("TextVQA", split)
        data = [
            {
                "question": sample["question"], "image_id": _stem(sample), "image_classes": [], "image_width": 1,
                "image_height": 1, "answers": truth.get(sample["id"], _ten(sample["answer"])), "set_name": split,
                "question_id": int(sample["id"]), "question_tokens": sample["question"].split(),
            }
            for sample in samples
        ]  # fmt: skip
        head = {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.5.1"}
        _json(folder / f"TextVQA_0.5.1_{split}.json", {**head, "data": data})
        tokens = {_stem(sample): sample["text"].split("\n")[1].removeprefix(OCR_LINE).split(", ") for sample in samples}
        ocr = [{"image_id": name, "ocr_tokens": listed, "ocr_info": []} for name, listed in tokens.items()]
        _json(folder / f"TextVQA_Rosetta_OCR_v0.2_{split}.json", {"dataset_name": "textvqa", "data": ocr})
    _link(folder / "train_images", suite.image("TextVQA/train_images"))


def _imagenet(suite: _Suite, raw: Path) -> None:
    splits = {"train": suite.samples("ImageNet", "train"), "val": suite.samples("ImageNet", "test")}
    labels = sorted({sample["answer"] for samples in splits.values() for sample in samples})
    wnids = {label: f"n{90_000_000 + place}" for place, label in enumerate(labels)}
    for split, samples in splits.items():
        for sample in samples:
            place = raw / "ImageNet" / split / wnids[sample["answer"]] / Path(sample["image"]).name
            _link(place, suite.image(sample["image"]))
    names = "".join(f"{wnid} {label.lower()}, a second name\n" for label, wnid in wnids.items())
    (raw / "ImageNet" / "LOC_synset_mapping.txt").write_text(names)


def _gqa(suite: _Suite, raw: Path) -> None:
    train = {
        sample["id"]: {
            "question": sample["question"], "answer": sample["answer"], "imageId": _stem(sample), "isBalanced": True,
            "fullAnswer": sample["answer"], "groups": {}, "types": {}, "semantic": [],
        }
        for sample in suite.samples("GQA", "train")
    }  # fmt: skip
    truth = json.loads(suite.image("GQA/testdev_balanced_questions.json").read_text())
    _json(raw / "GQA" / "train_balanced_questions.json", train)
    test = {sample["id"]: truth[sample["id"]] for sample in suite.samples("GQA", "test")}
    _json(raw / "GQA" / "testdev_balanced_questions.json", test)
    _link(raw / "GQA" / "images", suite.image("GQA/images"))


def _vizwiz(suite: _Suite, raw: Path) -> None:
    for split in ("train", "val"):
        data = [
            {
                "image": Path(sample["image"]).name, "question": sample["question"], "answer_type": "other",
                "answers": [{"answer_confidence": "yes", "answer": each} for each in _ten(_vizwiz_answer(sample))],
                "answerable": int(sample["answer"] != "Unanswerable"),
            }
            for sample in suite.samples("VizWiz", split)
        ]  # fmt: skip
        _json(raw / "VizWiz" / "Annotations" / f"{split}.json", data)
        _link(raw / "VizWiz" / split, suite.image(f"VizWiz/{split}"))


def _vizwiz_answer(sample: Sample) -> str:
    return "unanswerable" if sample["answer"] == "Unanswerable" else sample["answer"]


def _vqav2(suite: _Suite, raw: Path) -> None:
    for split in ("train", "val"):
        samples = suite.samples("VQAv2", split)
        keys = [{"image_id": int(_stem(sample)[-12:]), "question_id": int(sample["id"])} for sample in samples]
        questions = [{**key, "question": sample["question"]} for key, sample in zip(keys, samples, strict=True)]
        annotations = [
            {
                **key, "question_type": "none of the above", "multiple_choice_answer": sample["answer"],
                "answer_type": "yes/no" if sample["answer"] in ("yes", "no") else "other",
                "answers": [
                    {"answer": each, "answer_confidence": "yes", "answer_id": place + 1}
                    for place, each in enumerate(_ten(sample["answer"]))
                ],
            }
            for key, sample in zip(keys, samples, strict=True)
        ]  # fmt: skip
        head = {"info": {}, "license": {}, "data_subtype": f"{split}2014", "data_type": "mscoco"}
        name = f"v2_OpenEnded_mscoco_{split}2014_questions.json"
        _json(raw / "VQAv2" / name, {**head, "task_type": "Open-Ended", "questions": questions})
        _json(raw / "VQAv2" / f"v2_mscoco_{split}2014_annotations.json", {**head, "annotations": annotations})
        _link(raw / "COCO2014" / f"{split}2014", suite.image(f"COCO2014/{split}2014"))


def _ocrvqa(suite: _Suite, raw: Path) -> None:
    books: dict[str, Sample] = {}
    for split, number in (("train", 1), ("test", 3)):
        for sample in sorted(suite.samples("OCRVQA", split), key=lambda sample: sample["id"]):
            book = {"imageURL": "", "genre": "", "split": number, "title": "", "authorName": "", "questions": []}
            book = books.setdefault(_stem(sample), {**book, "answers": []})
            book["questions"].append(sample["question"])
            book["answers"].append(sample["answer"])
    _json(raw / "OCR-VQA" / "dataset.json", books)
    _link(raw / "OCR-VQA" / "images", suite.image("OCR-VQA/images"))


def _refcoco(suite: _Suite, raw: Path) -> None:
    """The images take turns between the three sets; every object has one sentence."""
    samples = {split: suite.samples("Grounding", split) for split in ("train", "test")}
    sizes = _sizes(suite, samples["train"] + samples["test"])
    owners = image_sets(samples["train"]) | image_sets(samples["test"])
    for name, file in SETS.items():
        mine = [
            (split, sample) for split, listed in samples.items() for sample in listed if owners[_number(sample)] == name
        ]
        folder = raw / "refer" / name
        by_number = {_number(sample): sample for _, sample in mine}
        images = [
            {"id": id_, "file_name": Path(sample["image"]).name, "width": sizes[id_][0], "height": sizes[id_][1]}
            for id_, sample in by_number.items()
        ]
        annotations = [
            {
                "id": int(sample["id"]),
                "image_id": _number(sample),
                "bbox": _pixels(sample, sizes[_number(sample)]),
                "iscrowd": 0,
            }
            for _, sample in mine
        ]
        _json(folder / "instances.json", {"info": {}, "images": images, "annotations": annotations, "categories": []})
        (folder / file).write_bytes(pickle.dumps(list(_references(name, mine)), 2))
    _link(raw / "COCO2014" / "train2014", suite.image("COCO2014/train2014"))


def image_sets(samples: list[Sample]) -> dict[int, str]:
    """COCO's image number -> the set that gets it."""
    images = dict.fromkeys(_number(sample) for sample in samples)
    return {number: list(SETS)[place % 3] for place, number in enumerate(images)}


def _references(name: str, mine: list[tuple[str, Sample]]) -> Iterator[Sample]:
    for place, (split, sample) in enumerate(mine):
        expression = sample["text"].split("describes: ")[1].removesuffix(".")
        if split == "test" and name != "refcocog":
            split = ("testA", "testB")[place % 2]
        sentence = {"raw": expression.upper(), "sent": expression, "sent_id": int(sample["id"])}
        yield {
            "ref_id": place, "ann_id": int(sample["id"]), "image_id": _number(sample), "split": split, "category_id": 1,
            "file_name": f"{_stem(sample)}_{place}.jpg", "sent_ids": [int(sample["id"])],
            "sentences": [{**sentence, "tokens": expression.split()}],
        }  # fmt: skip


def _number(sample: Sample) -> int:
    return int(_stem(sample)[-12:])


def _sizes(suite: _Suite, samples: list[Sample]) -> dict[int, tuple[int, int]]:
    sizes = {}
    for sample in samples:
        with Image.open(suite.image(sample["image"])) as opened:
            sizes[_number(sample)] = opened.size
    return sizes


def _pixels(sample: Sample, size: tuple[int, int]) -> list[int]:
    """COCO's box in whole pixels whose padded form is the sample's, and the other form too where the sample has it."""
    padded = json.loads(sample["answer_bbox"] if "answer_bbox" in sample else sample["answer"])
    original = json.loads(sample["origin_answer_bbox"]) if "origin_answer_bbox" in sample else [None] * 4
    side, found = max(size), []
    for place, (want, want_original) in enumerate(zip(padded, original, strict=True)):
        length = size[place % 2]
        shift = (side - length) // 2
        fitting = [
            pixel for pixel in range(length + 1)
            if round((pixel + shift) / side, 2) == want and want_original in (None, round(pixel / length, 2))
        ]  # fmt: skip
        found.append(fitting[0] if place < 2 else fitting[-1])
    left, top, right, bottom = found
    return [left, top, right - left, bottom - top]
