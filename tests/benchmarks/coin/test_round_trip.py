"""CoIN-mini written as the ten raw data sets and built again is CoIN-mini: ids, texts, answers, boxes, ground truth."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.build import BuildOptions, build_task
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.benchmarks.coin.templates import FOLDERS

sys.path.insert(0, str(Path(__file__).parent))

from raw_mini import RAW_FOLDERS, image_sets, raw_options, write_raw

pytestmark = pytest.mark.assets
MORE = {"answers", "answer_type"}  # what raw test samples know and CoIN-mini's do not


@pytest.fixture(scope="module")
def raw(small_suite, tmp_path_factory) -> Path:
    """The raw folders of the small suite."""
    return write_raw(small_suite[0], tmp_path_factory.mktemp("raw"))


def build(raw: Path, out: Path, task: str, **more: Any) -> None:
    # The small suite has images of some classes in one split only.
    options = BuildOptions(options=raw_options(raw, task), skip=task == "imagenet", **more)
    build_task(task, raw / RAW_FOLDERS[task], out, options)


def read(root: Path, folder: str, split: str, type_: str = "original") -> list[dict[str, Any]]:
    return json.loads((root / FOLDERS[type_] / folder / f"{split}.json").read_text())


def normal(sample: dict[str, Any], task: str) -> dict[str, Any]:
    """A sample without what the raw formats cannot carry: the layout of ImageNet's folders, TextVQA's capitals."""
    sample = {key: value for key, value in sample.items() if key not in MORE}
    if task == "imagenet":
        sample["image"] = Path(sample["image"]).name
    if task == "textvqa" and "answer" in sample:
        sample["answer"] = sample["answer"].casefold()
    return sample


def expected(samples: list[dict[str, Any]], task: str) -> dict[Any, dict[str, Any]]:
    """CoIN-mini's samples by id, with the ids that the raw formats of VizWiz, OCR-VQA and RefCOCO give them."""
    seen: Counter[str] = Counter()
    found = {}
    for sample in samples:
        key = "id" if "id" in sample else "question_id"
        name = Path(sample.get("image", "")).stem
        seen[name] += 1
        if task == "vizwiz":
            sample = {**sample, key: name if seen[name] == 1 else f"{name}_{seen[name]}"}
        elif task == "ocrvqa":
            sample = {**sample, key: f"{sample[key][:-1]}_{sample[key][-1]}"}
        elif task == "grounding":
            sample = {**sample, key: f"{image_sets(samples)[int(name[-12:])]}_{sample[key]}"}
        found[sample[key]] = normal(sample, task)
    return found


def train_rows(task: str) -> int:
    """Of 60 for the largest task; see `mini_suite.Task.share`."""
    return {"scienceqa": 60, "imagenet": 15}.get(task, 30)


@pytest.mark.parametrize("task", RAW_TASKS)
def test_samples_are_the_same(small_suite, raw, tmp_path, task):
    build(raw, tmp_path, task, types=("original",), grouped=False)
    folder, evaluation = RAW_TASKS[task].folder, RAW_TASKS[task].evaluation
    for split, key, count in (("train", "id", train_rows(task)), (evaluation, "question_id", 30)):
        built = {sample[key]: normal(sample, task) for sample in read(tmp_path, folder, split)}
        assert len(built) == count
        assert built == expected(read(small_suite[0], folder, split), task)


@pytest.mark.parametrize("task", RAW_TASKS)
def test_images_and_ground_truth_are_the_same(small_suite, raw, tmp_path, task):
    build(raw, tmp_path, task, types=("original",), grouped=False)
    folder, evaluation = RAW_TASKS[task].folder, RAW_TASKS[task].evaluation
    for split in ("train", evaluation):
        for sample in read(tmp_path, folder, split):
            assert "image" not in sample or (tmp_path / "cl_dataset" / sample["image"]).is_file()
    for name in RAW_TASKS[task].truths:
        built, mini = (json.loads((root / "cl_dataset" / name).read_text()) for root in (tmp_path, small_suite[0]))
        if task == "textvqa":
            built, mini = ({entry["question_id"]: entry["answers"] for entry in data["data"]} for data in (built, mini))
        assert built == mini


@pytest.mark.parametrize("task", RAW_TASKS)
def test_every_type_and_conversation_holds_the_same_questions(small_suite, raw, tmp_path, task):
    build(raw, tmp_path, task)
    folder = RAW_TASKS[task].folder
    mini = Counter(turn for sample in read(small_suite[0], folder, "train") for turn in turns(sample))
    for type_ in FOLDERS:
        samples = read(tmp_path, folder, "train", type_)
        assert len({sample["id"] for sample in samples}) == len(samples) <= train_rows(task)
        assert sum(len(sample["conversations"]) for sample in samples) == 2 * train_rows(task)
        assert Counter(turn[2] for sample in samples for turn in turns(sample)) == Counter(
            turn[2] for turn in mini.elements()
        )
        if task != "grounding":  # there the question stands inside the instruction
            assert Counter(turn[1:] for sample in samples for turn in turns(sample)) == Counter(
                t[1:] for t in mini.elements()
            )


def turns(sample: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(image, question without instruction, answer) of a conversation."""
    human, gpt = sample["conversations"][::2], sample["conversations"][1::2]
    first_lines = (part["value"].removeprefix("<image>\n").split("\n")[0] for part in human)
    image = Path(sample.get("image", "")).name
    return [(image, text, part["value"]) for text, part in zip(first_lines, gpt, strict=True)]
