"""Result folders as CoIN's scripts leave them: for tests of what reads such folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_answers(folder: Path, answers: Sequence[tuple[str, str]], prompt: str = "") -> Path:
    """`merge.jsonl` with a line for each id and text."""
    folder.mkdir(parents=True, exist_ok=True)
    rest = {"answer_id": "x", "model_id": "llava", "metadata": {}}
    lines = [{"question_id": id_, "prompt": prompt, "text": text, **rest} for id_, text in answers]
    (folder / "merge.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_printed(folder: Path, score: float, samples: int = 4, wrong: Sequence[Sequence[str]] | None = None) -> Path:
    """`Result.text`; with the wrong answers (id, text, label), as ImageNet's script adds them."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("question_id", "text", "ground_truth")
    listed = "" if wrong is None else json.dumps([dict(zip(keys, each, strict=True)) for each in wrong], indent=4)
    (folder / "Result.text").write_text(f"Samples: {samples}\nAccuracy: {score:.2f}%\n{listed}")
    return folder


def write_judged(folder: Path, score: int) -> Path:
    """`Prompt_Result.text`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Prompt_Result.text").write_text(f"Final score:{score}")
    return folder


def write_options(folder: Path, outputs: Mapping[str, str], score: float) -> Path:
    """ScienceQA's `output_result.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"acc": score, "correct": 1, "count": len(outputs), "results": {}, "outputs": outputs}
    (folder / "output_result.jsonl").write_text(json.dumps(content, indent=2))
    return folder


def numbered(*texts: str) -> list[tuple[str, str]]:
    """The texts as answers to the questions of `small_coin`: 1000, 1001, ..."""
    return [(str(1000 + number), text) for number, text in enumerate(texts)]


def write_results(root: Path) -> Path:
    """Two runs on TextVQA, ImageNet and GQA of `small_coin`: `lora` with its answers, `HiDe` with printed scores only.

    `lora` lacks TextVQA after GQA. Right are "7", "c" and "left".
    """
    lora = root / "lora"
    write_answers(lora / "TextVQA" / "Finetune", numbered("7", "7", "7", "7"))
    write_judged(write_answers(lora / "TextVQA" / "ImageNet", numbered("7", "7", "8", "8")), 62)
    write_printed(write_answers(lora / "ImageNet" / "Finetune", numbered("c", "c", "c", "c")), 100)
    write_answers(lora / "ImageNet" / "GQA", numbered("C", "C", "x", "c"))
    write_answers(lora / "GQA" / "Finetune", numbered("left", "left", "left", "up"))
    for number, (folder, score) in enumerate({"TextVQA": 60, "imagenet": 96.5, "3_GQA": 55}.items(), start=1):
        for stage in range(number, 4):
            write_printed(root / "HiDe" / folder / f"HiDe-task{stage}", score - 10 * (stage - number), samples=4000)
    return root
