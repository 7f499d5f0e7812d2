"""A very small suite in CoIN's layout on disk: eight tasks, tiny images, one answer per task to learn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
COLOURS = ("red", "green", "blue", "white", "orange")
FOLDERS = {
    "scienceqa": ("ScienceQA", "test"), "textvqa": ("TextVQA", "val"), "imagenet": ("ImageNet", "test"),
    "gqa": ("GQA", "test"), "vizwiz": ("VizWiz", "val"), "grounding": ("Grounding", "test"),
    "vqav2": ("VQAv2", "val"), "ocrvqa": ("OCRVQA", "test"),
}  # fmt: skip
"""Task -> (folder, evaluated split)."""
ANSWERS = {
    "scienceqa": "B", "textvqa": "7", "imagenet": "c", "gqa": "left", "vizwiz": "unanswerable",
    "grounding": "[0.10,0.20,0.60,0.70]", "vqav2": "yes", "ocrvqa": "Poems",
}  # fmt: skip


def write_suite(root: Path, train: int = 20, test: int = 4) -> Path:
    """Write the suite below `root` with so many samples per task; every other ScienceQA sample has no image."""
    for index, colour in enumerate(COLOURS):
        _write_image(root, f"shared/{colour}.jpg", colour, 40 + index)
    for task, (folder, _) in FOLDERS.items():
        _write(train_file(root, task), [_train_sample(task, number) for number in range(train)])
        _write(answer_file(root, task), [_test_sample(task, number) for number in range(test)])
        _truth(root, task, folder, test)
    return root


def train_file(root: Path, task: str) -> Path:
    """`train.json` of a task."""
    return root / "Instructions_Original" / FOLDERS[task][0] / "train.json"


def answer_file(root: Path, task: str) -> Path:
    """The evaluated file of a task."""
    return root / "Instructions_Original" / FOLDERS[task][0] / f"{FOLDERS[task][1]}.json"


def edit_samples(file: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Let `change` work on the samples of a file, in place."""
    samples = json.loads(file.read_text())
    change(samples)
    file.write_text(json.dumps(samples))


def overrides(root: Path, cache: Path, run: Path, *more: str, tasks: str = "scienceqa,textvqa,imagenet") -> list[str]:
    """Command line of a run on the suite: tiny backbone, dropout, two epochs of five steps, checkpoints every two."""
    return [
        "backbone=tiny", f"scenario.order=[{tasks}]", f"paths.data={root}", f"paths.features={cache}", "num_threads=1",
        "scenario.builder=null", "batches.size=4", "answers.batch_size=2", "batches.epochs=2",
        "adapter.rank=8", "adapter.alpha=16", "adapter.dropout=0.1", "optimizer.lr=5e-2", "trainer.log_every_n_steps=1",
        "callbacks.checkpoint.every_n_steps=2", f"run_dir={run}", *more,
    ]  # fmt: skip


def _write(file: Path, data: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))


def _write_image(root: Path, name: str, colour: str, width: int) -> None:
    path = root / "cl_dataset" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 28), colour).save(path)


def _image(task: str, number: int) -> dict[str, str]:
    without = task == "scienceqa" and number % 2
    return {} if without else {"image": f"./shared/{COLOURS[number % len(COLOURS)]}.jpg"}


def _question(task: str, number: int) -> str:
    words = "very " * (number % 3)
    if task == "scienceqa":
        return f"Which is {words}{number}?\nA. no\nB. so\n{LETTER}"
    return f"{task}: what is {words}{number}?\n{SHORT}"


def _train_sample(task: str, number: int) -> dict[str, Any]:
    image = _image(task, number)
    question = ("<image>\n" if image else "") + _question(task, number)
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": ANSWERS[task]}]
    return {"id": f"{task}_{number}", **image, "conversations": turns}


def _test_sample(task: str, number: int) -> dict[str, Any]:
    sample = {"question_id": str(1000 + number), **_image(task, number), "text": _question(task, number)}
    if task == "grounding":
        return {**sample, "answer_bbox": ANSWERS[task], "origin_answer_bbox": ANSWERS[task], "size": [40, 28]}
    return {**sample, "answer": ANSWERS[task]}


def _truth(root: Path, task: str, folder: str, test: int) -> None:
    """Ground-truth files beside the images, for the tasks that have them."""
    place, ids = root / "cl_dataset" / folder, [str(1000 + number) for number in range(test)]
    if task == "scienceqa":
        problem = {"choices": ["no", "so"], "answer": 1, "subject": "natural science"}
        _write(place / "problems.json", dict.fromkeys(ids, problem))
        _write(place / "pid_splits.json", {"test": ids})
    if task == "textvqa":
        data = [{"question_id": int(id_), "answers": [ANSWERS[task]] * 10} for id_ in ids]
        _write(place / "TextVQA_0.5.1_val.json", {"data": data})
    if task == "gqa":
        _write(place / "testdev_balanced_questions.json", {id_: {"answer": ANSWERS[task]} for id_ in ids})
