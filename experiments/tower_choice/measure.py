"""Which vision tower for `llava_smol`, measured on CoIN-mini: `python experiments/tower_choice/measure.py`.

EfficientNet-Lite0 against a DINOv2-S shaped ViT, which comes as an ONNX file: `pip install onnx` beside the project.
Prints a table and writes `results/tower_choice.json`; about seven minutes on one core.
"""

import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import towers
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

import probes
from coin_lightning import assets
from coin_lightning.backbones.images import open_image
from coin_lightning.benchmarks import coin_mini
from coin_lightning.continual.environment import machine

RESULT = Path(__file__).parent / "results" / "tower_choice.json"
FOLDS, BATCH = 5, 16
SHAPES = {"circle", "rectangle", "triangle"}

# data: images, truth, number of training images (which come first)


def imagenet(root: Path, train: int = 600, test: int = 300) -> tuple[list[Image.Image], list[str], int]:
    """Images and class names of CoIN-mini's ImageNet task."""
    rows = _rows(root, "ImageNet", "train")[:train] + _rows(root, "ImageNet", "test")[:test]
    return [open_image(root / "cl_dataset" / row["image"]) for row in rows], [_answer(row) for row in rows], train


def easy_vqa(train: int = 400, test: int = 200) -> tuple[list[Image.Image], list[tuple[str, str]], int]:
    """easy-VQA's images, enlarged as in CoIN-mini, with (shape, colour) from its published answers."""
    images, labels = [], []
    for split, count in (("train", train), ("test", test)):
        folder = assets.unpack(assets.EASY_VQA) / "easy_vqa" / "data" / split
        answers: dict[int, set[str]] = {}
        for _, answer, number in json.loads((folder / "questions.json").read_text()):
            answers.setdefault(number, set()).update({answer} - {"yes", "no"})
        for number in [number for number in sorted(answers) if len(answers[number]) == 2][:count]:
            image = open_image(folder / "images" / f"{number}.png")
            images.append(image.resize((192, 192), Image.Resampling.NEAREST))
            labels.append(((answers[number] & SHAPES).pop(), (answers[number] - SHAPES).pop()))
    return images, labels, train


def grounding(root: Path) -> tuple[list[Image.Image], Tensor]:
    """Images with one row only, thus with one thing, and its box as centre and size in the padded frame, `[n, 4]`."""
    rows = _rows(root, "Grounding", "train") + _rows(root, "Grounding", "test")
    boxes = Counter(row["image"] for row in rows)
    rows = [row for row in rows if boxes[row["image"]] == 1]
    truth = torch.tensor([json.loads(row.get("answer_bbox") or _answer(row)) for row in rows])
    images = [open_image(root / "cl_dataset" / row["image"]) for row in rows]
    return images, torch.cat([(truth[:, :2] + truth[:, 2:]) / 2, truth[:, 2:] - truth[:, :2]], dim=1)


def _rows(root: Path, task: str, split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((root / "Instructions_Original" / task / f"{split}.json").read_text())
    return rows


def _answer(row: dict[str, Any]) -> str:
    return row["answer"] if "answer" in row else row["conversations"][-1]["value"]


# measurement


@torch.inference_mode()
def encode(tower: towers.Tower, images: list[Image.Image], mean: bool) -> dict[str, Tensor]:
    """Tokens of every variant `[n, tokens, width]`, or `[n, 1, width]` when averaged at once."""
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(images), BATCH):
        batch = torch.stack([tower.pixels(image) for image in images[start : start + BATCH]])
        for name, tokens in tower.encode(batch).items():
            parts.setdefault(name, []).append(tokens.mean(1, keepdim=True) if mean else tokens.half())
    return {name: torch.cat(tokens) for name, tokens in parts.items()}


def classify(features: Tensor, labels: list[str], train: int) -> dict[str, float]:
    """Accuracy of 1-NN and of the linear probe on `[n, 1, width]`."""
    names = sorted(set(labels))
    truth = torch.tensor([names.index(label) for label in labels])
    known, asked = truth[:train], truth[train:]
    linear = probes.tuned_ridge(features[:train], F.one_hot(known, len(names)).float(), features[train:]).argmax(1)
    neighbour = known[probes.nearest(features[:train, 0], features[train:, 0])]
    return {"nearest": _percent(neighbour == asked), "linear": _percent(linear == asked)}


def locate(tokens: Tensor, boxes: Tensor) -> dict[str, float]:
    """Cross-validated ridge from the grid `[n, tokens, width]` to the box: mean IoU and the share above 0.5."""
    order = probes.shuffled(len(boxes))
    overlaps = []
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = order[torch.arange(len(order)) % FOLDS != fold]
        found = probes.tuned_ridge(tokens[train], boxes[train], tokens[test])
        overlaps.append(probes.iou(probes.corners(found), probes.corners(boxes[test])))
    overlap = torch.cat(overlaps)
    return {"mean_iou": _percent(overlap), "iou_over_half": _percent(overlap > 0.5)}


def milliseconds(candidates: dict[str, towers.Tower], repeats: int = 10) -> dict[str, float]:
    """Median ms per image in batches of 8; the towers take turns, so that a busy machine slows both."""
    batch = torch.randn(8, 3, towers.SIDE, towers.SIDE, generator=torch.Generator().manual_seed(probes.SEED))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats + 1):
        for name, tower in candidates.items():
            start = time.perf_counter()
            with torch.inference_mode():
                tower.model(batch)
            times[name].append((time.perf_counter() - start) / 8 * 1e3)
    return {name: round(statistics.median(values[1:]), 1) for name, values in times.items()}


def _percent(values: Tensor) -> float:
    return round(100 * values.float().mean().item(), 1)


def score(tower: towers.Tower, named: tuple, shapes: tuple, boxed: tuple) -> dict[str, dict[str, Any]]:
    """Every probe of every variant of one tower."""
    rows: dict[str, dict[str, Any]] = {}
    for name, features in encode(tower, named[0], mean=True).items():
        rows[name] = {f"imagenet_{probe}": value for probe, value in classify(features, *named[1:]).items()}
    for name, features in encode(tower, shapes[0], mean=True).items():
        for what, labels in zip(("shape", "colour"), zip(*shapes[1], strict=True), strict=True):
            rows[name][f"{what}_linear"] = classify(features, list(labels), shapes[2])["linear"]
    for name, tokens in encode(tower, boxed[0], mean=False).items():
        sides = [side for side in (16, 8, 7, 4) if side**2 <= tokens.shape[1]] or [1]
        boxes = {str(side**2): locate(probes.pooled(tokens.float(), side), boxed[1]) for side in sides}
        rows[name] |= {"tokens": tokens.shape[1], "width": tokens.shape[2], "grounding_by_tokens": boxes}
    return rows


def main() -> None:
    """Measure both towers, print the table, write the JSON."""
    root = coin_mini.ensure()
    candidates = {"Lite0": towers.efficientnet(), "ViT": towers.vit()}
    named, shapes, boxed = imagenet(root), easy_vqa(), grounding(root)
    speed = milliseconds(candidates)
    size = {name: sum(p.numel() for p in tower.model.parameters()) for name, tower in candidates.items()}
    costs = {"ms_per_image": speed, "parameters": size, "fp32_mb": {n: round(s * 4e-6, 1) for n, s in size.items()}}
    report = {
        "machine": machine(),
        "torch": torch.__version__,
        "unit": "percent",
        "images": {
            "imagenet": f"{named[2]} of {len(named[0])} to train",
            "easy_vqa": f"{shapes[2]} of {len(shapes[0])} to train",
            "grounding": f"{len(boxed[0])} in {FOLDS} folds",
        },
        "costs": costs,
        "rows": {k: row for tower in candidates.values() for k, row in score(tower, named, shapes, boxed).items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def show(report: dict[str, Any]) -> None:
    """Print one line per variant."""
    scores = ("imagenet_nearest", "imagenet_linear", "shape_linear", "colour_linear")
    table = Table("variant", "tokens x width", *scores, "box: mean IoU / over 0.5, by tokens", title="Probes, percent")
    for name, row in report["rows"].items():
        found = row["grounding_by_tokens"].items()
        boxes = "\n".join(f"{tokens}: {box['mean_iou']} / {box['iou_over_half']}" for tokens, box in found)
        table.add_row(name, f"{row['tokens']} x {row['width']}", *(str(row[key]) for key in scores), boxes)
    Console(width=140).print(table, report["costs"], report["machine"])


if __name__ == "__main__":
    main()
