"""The data check against bare decoding of the same images: what else it does should cost little beside that.

    python experiments/benchmarks/verify.py

Images have the size and the file length of COCO's. The first call has an empty ledger, the second one a full one.
Reading samples, tokens, leakage, the hash of every image and the ledger are all in the time of the check.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import CLOCK, RESULTS, interleaved, machine, ratio, show, write_json
from PIL import Image

from coin_lightning.backbones.base import Backbone
from coin_lightning.cli.data_verify import composed, text_backbone
from coin_lightning.quiet import quiet_libraries
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.image_ledger import ImageLedger, cores
from coin_lightning.tasks.options import DataOptions
from coin_lightning.tasks.verify import TaskReport, verify_task

AIM = 1.25
FIRST, AGAIN, DECODE = "verify, first call", "verify, second call", "decode only"
SIZE = (640, 480)
BASES = 16
"""Different images; files differ by bytes behind the image's end."""
WORDS = ("red", "green", "two", "left", "a dog", "yes", "no", "wooden", "on the table", "kitchen")


def write_images(folder: Path, count: int) -> list[str]:
    """`count` JPEG files of about 100 kB; their names."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    bases = []
    for number in range(BASES):
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        fine = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(fine + rng.normal(0, 9, fine.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.jpg", quality=90)
        bases.append((folder / f"{number}.jpg").read_bytes())
    names = [f"{number}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(bases[number % BASES] + number.to_bytes(4, "big"))
    return names


def write_task(root: Path, count: int) -> list[str]:
    """A task in CoIN's layout with as many images as training and test samples together; the images."""
    images, draw = write_images(root / "cl_dataset" / "GQA" / "images", count), random.Random(0)
    paths = [f"GQA/images/{name}" for name in images]
    trains = paths[: -count // 8]
    folder = root / "Instructions_Original" / "GQA"
    folder.mkdir(parents=True)
    samples = [_train_sample(f"n{at}", path, draw) for at, path in enumerate(trains)]
    tests = [
        {"question_id": f"t{at}", "image": path, "text": _question(draw), "answer": draw.choice(WORDS)}
        for at, path in enumerate(paths[len(trains) :])
    ]
    (folder / "train.json").write_text(json.dumps(samples))
    (folder / "test.json").write_text(json.dumps(tests))
    return paths


def _question(draw: random.Random) -> str:
    words = " ".join(draw.choices(WORDS, k=7))
    return f"What is {words}?\nAnswer the question using a single word or phrase."


def _train_sample(id_: str, image: str, draw: random.Random) -> dict[str, Any]:
    """A conversation of six turns, as CoIN's larger tasks have."""
    turns = []
    for _ in range(6):
        turns += [{"from": "human", "value": _question(draw)}, {"from": "gpt", "value": draw.choice(WORDS)}]
    turns[0]["value"] = "<image>\n" + turns[0]["value"]
    return {"id": id_, "image": image, "conversations": turns}


def decode_all(folder: Path, images: list[str], workers: int) -> int:
    """The least that looking at every image takes; gives the number of pixels."""

    def decode(image: str) -> int:
        with Image.open(folder / image) as opened:
            width, height = opened.convert("RGB").size
        return width * height

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(decode, images))


def check(root: Path, backbone: Backbone, ledger: Callable[[], ImageLedger], workers: int) -> TaskReport:
    """One call of the check."""
    task = InstructionTask("gqa", "GQA", DataOptions(root=root, features=root / "features"))
    return verify_task(task, backbone, ledger(), published=True, workers=workers)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3, help="each runs every side once; the median counts")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--backbone", default="llava_smol", help="whose tokenizer counts")
    parser.add_argument("--max-length", type=int, default=2048, help="context; the default is that of the 7B models")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time: for a machine with other work to do")
    parser.add_argument("--out", default=str(RESULTS / "verify.json"))
    return parser.parse_args(argv)


def measure(root: Path, images: list[str], backbone: Backbone, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the three sides, and the report of the last check."""
    fresh = (ImageLedger(root / f"ledger_{number}.sqlite") for number in range(1000))
    known = ImageLedger(root / "known.sqlite")
    found: list[TaskReport] = [check(root, backbone, lambda: known, args.workers)]  # fills it, and warms the files
    sides: dict[str, Callable[[], Any]] = {
        DECODE: partial(decode_all, root / "cl_dataset", images, args.workers),
        FIRST: lambda: found.append(check(root, backbone, partial(next, fresh), args.workers)),
        AGAIN: lambda: found.append(check(root, backbone, lambda: known, args.workers)),
    }
    times = interleaved(sides, repeats=args.rounds, warmup=0)
    assert all(report == found[0] for report in found)
    assert found[0].levels["error"] == 0
    return {"seconds": times, "report": found[0]}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse(argv)
    CLOCK["cpu"] = args.cpu_time
    quiet_libraries()
    found = machine()
    backbone = text_backbone(composed([f"backbone={args.backbone}", f"backbone.max_length={args.max_length}"]))
    with tempfile.TemporaryDirectory() as folder:
        images = write_task(Path(folder), args.images)
        mean_bytes = sum((Path(folder) / "cl_dataset" / image).stat().st_size for image in images) / len(images)
        measured = measure(Path(folder), images, backbone, args)
    times = measured["seconds"]
    lines = [[name, median(seconds), median(seconds) / len(images) * 1e3] for name, seconds in times.items()]
    show(f"data check, {len(images)} images, {args.workers} threads", ["side", "seconds", "ms per image"], lines)
    content = {
        "benchmark": "verify",
        "aim": {"verify_over_decode_at_most": AIM},
        "machine": found,
        "images": len(images),
        "image_size": SIZE,
        "image_bytes": mean_bytes,
        "samples": measured["report"].counts,
        "questions": measured["report"].balance["train"]["count"] + measured["report"].balance["test"]["count"],
        "workers": args.workers,
        "backbone": backbone.name,
        "max_length": backbone.max_length,
        "rounds": args.rounds,
        "compares": "whole check of a task (samples, tokens, leakage, hashes, ledger) with decoding its images in as "
        "many threads; the second call finds all of them in the ledger",
        "verify_over_decode": ratio(times, FIRST, DECODE),
        "second_call_over_decode": ratio(times, AGAIN, DECODE),
        "seconds": times,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()
