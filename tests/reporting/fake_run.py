"""Write a run folder as the training command leaves it, without any model: for tests of what reads such folders."""

import json
import math
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

TASKS = ("scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa")
LEARNED = (0.83, 0.50, 0.95, 0.57, 0.55, 0.33, 0.63, 0.57, 0.70, 0.45)
HOSTILE = "<script>alert('x')</script> & <b>bold</b>"
METRIC_KEYS = ("acc", "maa", "bwt", "bwt_coin", "forgetting", "learning_accuracy", "fwt", "transfer", "intransigence")


def exact_scorer(task: str, variant: str) -> Any:
    """Stand-in for the project's scorers: right when prediction and reference agree."""
    return lambda record: float(record["prediction"] == str(_expected(record["reference"])))


def _expected(reference: dict[str, Any]) -> str:
    return str(reference.get("answer_bbox", reference.get("answer")))


def share_right(row: int, task: int, seed: int, keep: float) -> float:
    """Share of right answers: low before training, high right after, decaying later; seeds differ a little."""
    zero_shot = 0.05 + 0.03 * (task % 3)
    noise = random.Random(1000 * seed + 10 * row + task).uniform(-0.04, 0.04) if row else 0.0
    if row <= task:
        return max(0.0, zero_shot + (noise if row else 0.0))
    decay = keep ** (row - task - 1)
    return min(1.0, zero_shot + (LEARNED[task % len(LEARNED)] - zero_shot) * decay + noise)


def build_run(
    root: Path,
    tasks: tuple[str, ...] = TASKS,
    finished: int | None = None,
    seen_only: bool = True,
    method: str = "moelora",
    seed: int = 1,
    answers: int = 40,
    keep: float = 0.8,
    router: bool = True,
    images: bool = True,
) -> Path:
    """Write the folder and return it.

    Args:
        root: the run folder to make.
        tasks: task keys in training order.
        finished: how many experiences are done after zero-shot (default all); -1: not even zero-shot.
        seen_only: ``evaluation=seen``, so that cells above the diagonal are null (zero-shot is always whole).
        method: method name in ``matrix.json``; ``keep`` is how much of a task one further task leaves.
        seed: run seed; answers: test rows per task; router: write router.json; images: write the images.
    """
    finished = len(tasks) if finished is None else finished
    root.mkdir(parents=True, exist_ok=True)
    scores: list[list[float | None]] = [[None] * len(tasks) for _ in range(len(tasks) + 1)]
    for row in range(finished + 1):
        for task in range(len(tasks)):
            if row == 0 or not seen_only or task < row:
                right = round(answers * share_right(row, task, seed, keep))
                scores[row][task] = 100.0 * right / answers
                _write_records(root, tasks, row, task, right, answers)
        _write_experience(root, tasks, row, scores[row], answers, router)
    if images:
        _write_images(root / "images", tasks)
    _write_environment(root, tasks)
    _write_matrix(root, tasks, scores, finished, method, seed, answers)
    return root


def folder_name(tasks: tuple[str, ...], row: int) -> str:
    """``task_00_zero_shot``, ``task_01_scienceqa``, ..."""
    return f"task_{row:02d}_{'zero_shot' if row == 0 else tasks[row - 1]}"


def _write_records(root: Path, tasks: tuple[str, ...], row: int, task: int, right: int, answers: int) -> None:
    lines = []
    order = random.Random(97 * row + task).sample(range(answers), answers)
    for number in range(answers):
        is_right = order[number] < right
        lines.append(json.dumps(_record(tasks[task], number, is_right, row)))
    path = root / folder_name(tasks, row) / "records" / f"{tasks[task]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _record(task: str, number: int, is_right: bool, row: int) -> dict[str, Any]:
    reference: dict[str, Any] = {"answer": ["red", "two", "yes", "a circle"][number % 4]}
    if task == "scienceqa":
        choices = ["iron", "wood", "glass", "wool"]
        reference = {"answer": "ABCD"[number % 4], "choices": choices, "answer_index": number % 4}
    if task != "scienceqa" or number % 2:
        reference["image"] = f"./{task}/{number % 10}.png"
    if task == "textvqa":
        reference["answers"] = [reference["answer"]] * 10
    if task == "grounding":
        reference = {"answer_bbox": "[0.25,0.30,0.60,0.70]", "size": [160, 120], "image": reference["image"]}
    wrong = "[0.50,0.20,0.90,0.60]" if task == "grounding" else ["blue", "Unanswerable", HOSTILE][number % 3]
    if task == "scienceqa" and number % 2 == 0:  # every second wrong answer names an option
        wrong = "ABCD"[(number + 1) % 4]
    prompt = f"<image>\nWhat is shown in image {number}?\nAnswer the question using a single word or phrase."
    prediction = _expected(reference) if is_right else wrong
    identity = {"task": task, "question_id": f"{task}-{number}", "prompt": prompt}
    return identity | {"prediction": prediction, "reference": reference}


def _write_experience(
    root: Path, tasks: tuple[str, ...], row: int, scores: list[float | None], answers: int, router: bool
) -> None:
    folder = root / folder_name(tasks, row)
    done = {task: score for task, score in zip(tasks, scores, strict=True) if score is not None}
    name = "zero_shot" if row == 0 else tasks[row - 1]
    _dump(folder / "scores.json", {
        "experience": row, "task": name, "scorer": "corrected", "unit": "percent", "scores": done,
        "counts": dict.fromkeys(done, answers), "seconds": 20.0 + row, "answers": answers * len(done)})  # fmt: skip
    if row == 0:
        return
    _dump(folder / "train.json", train_cost(row, name))
    if router:
        _dump(folder / "router.json", _router(row, tuple(done)))


def train_cost(row: int, task: str) -> dict[str, Any]:
    """Content of ``train.json``: 320 samples in 64 + row seconds."""
    return {
        "experience": row, "task": task, "steps": 40, "samples": 320, "tokens": 3200 + row, "seconds": 64.0 + row,
        "loss_first": 3.0, "loss_last": 0.5, "trainable_parameters": 4_879_000, "checkpoint_bytes": 19_600_000,
        "peak_memory_bytes": 2_100_000_000,
    }  # fmt: skip


def _router(row: int, tasks: tuple[str, ...], experts: int = 8, blocks: int = 30) -> dict[str, Any]:
    layers = [f"model.language_model.layers.{b}.self_attn.{p}_proj" for b in range(blocks) for p in "qv"]
    load = {task: [_gates(index, place, experts) for place in range(len(layers))] for index, task in enumerate(tasks)}
    return {"num_experts": experts, "layers": layers, "load": load}


def _gates(task: int, layer: int, experts: int) -> list[float]:
    raw = [math.exp(0.6 * math.sin(1.7 * e + 0.9 * task * (layer / 60) + 0.1 * layer)) for e in range(experts)]
    return [value / sum(raw) for value in raw]


def _write_images(folder: Path, tasks: tuple[str, ...]) -> None:
    for index, task in enumerate(tasks):
        (folder / task).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            image = Image.new("RGB", (160, 120), (245, 240 - 10 * number, 200 + 5 * index))
            draw = ImageDraw.Draw(image)
            draw.ellipse((30 + 5 * number, 20, 100 + 5 * number, 90), fill=(30 * index, 90, 160), outline="black")
            image.save(folder / task / f"{number}.png")


def _write_environment(root: Path, tasks: tuple[str, ...]) -> None:
    data = {task: {"folder": str(root / "images"), "train": 2000, "test": 400, "sha256": {"train.json": "ab" * 32}}
            for task in tasks}  # fmt: skip
    _dump(root / "environment.json", {
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0"}, "git": "0123abc",
        "machine": {"cpu": "Some CPU 2.5 GHz", "cores": 2, "device": "cpu"}, "data": data})  # fmt: skip
    (root / "config.yaml").write_text("seed: 1\n", encoding="utf-8")


def _write_matrix(
    root: Path,
    tasks: tuple[str, ...],
    scores: list[list[float | None]],
    finished: int,
    method: str,
    seed: int,
    answers: int,
) -> None:
    per_task = [train_cost(row, tasks[row - 1]) for row in range(1, finished + 1)]
    counts = [[None if cell is None else answers for cell in row] for row in scores]
    _dump(root / "matrix.json", {
        "tasks": list(tasks), "rows": ["zero_shot", *tasks], "unit": "percent", "scores": scores, "counts": counts,
        "metrics": _metrics(scores, finished == len(tasks)),
        "protocol": {"name": "as_intended", "scorer": "corrected", "projector": "carried", "judge": None, "epochs": 1},
        "cost": {
            "train_seconds": sum(cost["seconds"] for cost in per_task), "evaluation_seconds": 20.0 * (finished + 1),
            "trainable_parameters": 4_879_000, "checkpoint_bytes": 19_600_000, "peak_memory_bytes": 2_100_000_000,
            "per_task": per_task},
        "experiment": "moelora_llava", "method": method, "backbone": "llava_smol", "seed": seed,
        "notes": ["CoIN-mini is a miniature for development: its numbers compare with nobody's published numbers."],
    })  # fmt: skip


def _metrics(scores: list[list[float | None]], complete: bool) -> dict[str, float | None]:
    if not complete:
        return dict.fromkeys(METRIC_KEYS)
    count = len(scores[0])
    final = [float(cell or 0) for cell in scores[-1]]
    diagonal = [float(scores[i + 1][i] or 0) for i in range(count)]
    drop = sum(final) - sum(diagonal)
    metrics: dict[str, float | None] = dict.fromkeys(METRIC_KEYS)
    metrics |= {"acc": sum(final) / count, "learning_accuracy": sum(diagonal) / count, "bwt_coin": drop / count,
                "bwt": drop / max(count - 1, 1), "forgetting": -drop / max(count - 1, 1), "maa": 45.5}  # fmt: skip
    return metrics


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def add_judge(root: Path, name: str = "embedding", kind: str = "embedding", unparsed: int = 0) -> dict[str, Any]:
    """A judge in ``matrix.json``: half-way between each score and 100; ``unparsed`` stands in the first cell."""
    content = json.loads((root / "matrix.json").read_text())
    scores = [[None if cell is None else 50 + cell / 2 for cell in row] for row in content["scores"]]
    lost = [[None if cell is None else 0 for cell in row] for row in content["scores"]]
    lost[0][0] = unparsed
    section = {
        "scores": scores, "counts": content["counts"], "unparsed": lost, "metrics": {"acc": 77.5, "bwt": -5.0},
        "protocol": {"judge": kind, "model": "some-model", "version": "1.0", "temperature": None, "seed": None,
                     "variant": "strict", "prompt_sha": "0123456789ab"}}  # fmt: skip
    content.setdefault("judges", {})[name] = section
    content["metrics"] |= {"judge/acc": 77.5, "judge/bwt": -5.0}
    _dump(root / "matrix.json", content)
    return section


def add_variants(root: Path, points: float = 2.5) -> None:
    """Both variants in ``matrix.json`` and every ``scores.json``: the reference rules give ``points`` more, and one row
    of each task differs."""
    content = json.loads((root / "matrix.json").read_text())
    higher = [[None if cell is None else cell + points for cell in row] for row in content["scores"]]
    content["variants"] = {
        "corrected": {"scores": content["scores"], "metrics": {"acc": 40.0}},
        "reference": {"scores": higher, "metrics": {"acc": 40.0 + points}},
    }
    content["differing"] = [[None if cell is None else 1 for cell in row] for row in content["scores"]]
    _dump(root / "matrix.json", content)
    for file in root.glob("task_*/scores.json"):
        scores = json.loads(file.read_text())
        more = {task: value + points for task, value in scores["scores"].items()}
        scores["variants"] = {"corrected": {"scores": scores["scores"]}, "reference": {"scores": more}}
        scores["differing"] = dict.fromkeys(scores["scores"], 1)
        scores["breakdown"] = {"scienceqa": {"image": {"score": 75.0, "count": 20}}}
        _dump(file, scores)
