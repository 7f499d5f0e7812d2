"""Building a data set of VQAv2's size from raw files: samples per second, and how much memory it takes.

    python experiments/benchmarks/building.py

The made-up raw files have VQAv2's fields and numbers: 443,757 + 214,354 questions with ten annotators each, on 82,783 +
40,504 images (empty files: only their names are looked at). All three instruction types are written. Beside it stands
what only parsing the same files whole takes.
"""

import argparse
import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import CLOCK, RESULTS, clock, machine, show, write_json
from memory import CLEAR, resident

from coin_lightning.benchmarks.coin.build import build_task
from coin_lightning.benchmarks.coin.options import BuildOptions, BuiltSplit

SPLITS = {"train": (443_757, 82_783), "val": (214_354, 40_504)}
"""Split -> questions, images."""
AIM_SECONDS, AIM_BYTES = 300.0, 500e6
WORDS = ("what", "is", "the", "color", "of", "man", "left", "dog", "wearing", "how", "many", "people", "kitchen")
ANSWERS = ("yes", "no", "2", "white", "tennis racket", "on the table", "blue and green", "frisbee", "left", "1")


def write_raw(folder: Path, scale: float) -> int:
    """Write the raw data set, every number times `scale`; gives the bytes of its four JSON files."""
    total = 0
    for split, (questions, images) in SPLITS.items():
        total += _write_split(folder, split, max(2, round(questions * scale)), max(1, round(images * scale)))
    return total


def _write_split(folder: Path, split: str, questions: int, shown: int) -> int:
    draw = random.Random(split)
    images = folder / f"{split}2014"
    images.mkdir(parents=True)
    for number in range(shown):
        (images / f"COCO_{split}2014_{number + 9:012d}.jpg").touch()
    head = {"info": {"year": 2017}, "license": {"name": "none"}, "data_subtype": f"{split}2014"}
    files = {
        "questions": folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json",
        "annotations": folder / f"v2_mscoco_{split}2014_annotations.json",
    }
    opened = {key: file.open("w") for key, file in files.items()}
    for key, stream in opened.items():
        stream.write(json.dumps(head)[:-1] + f', "{key}": [')
    for place in range(questions):
        image = place * shown // questions + 9
        keys = {"image_id": image, "question_id": image * 1000 + place % 1000}
        text = " ".join(draw.choices(WORDS, k=6)).capitalize() + "?"
        comma = ", " if place else ""
        opened["questions"].write(comma + json.dumps({"question": text, **keys}))
        opened["annotations"].write(comma + json.dumps(_annotation(draw, keys)))
    for stream in opened.values():
        stream.write("]}")
        stream.close()
    return sum(file.stat().st_size for file in files.values())


def _annotation(draw: random.Random, keys: dict[str, int]) -> dict[str, Any]:
    said = draw.choices(ANSWERS, k=3)
    answers = [
        {"answer": said[min(place // 5, 2)], "answer_confidence": "yes", "answer_id": place + 1} for place in range(10)
    ]
    kind = "yes/no" if said[0] in ("yes", "no") else "other"
    return {
        "question_type": "what is",
        "multiple_choice_answer": said[0],
        "answers": answers,
        "answer_type": kind,
        **keys,
    }


def measure(raw: Path, out: Path) -> tuple[list[BuiltSplit], dict[str, float]]:
    """Build once; what came of it, and seconds and bytes beyond what the process had before."""
    before, started = _in_use(), clock()
    built = build_task("vqav2", raw, out, BuildOptions())
    return built, {"seconds": clock() - started, "bytes": _peak() - before}


def _in_use() -> int:
    """Bytes in use now; forgets earlier peaks where the system lets us."""
    with suppress(OSError):
        CLEAR.write_text("5")
    return resident("VmRSS") or 0


def _peak() -> int:
    return resident("VmHWM") or 0


def parse_whole(raw: Path) -> dict[str, float]:
    """Seconds and bytes of `json.load` on the files of the training split."""
    before, started = _in_use(), clock()
    held = [json.loads(file.read_bytes()) for file in sorted(raw.glob("v2_*train2014*.json"))]
    seconds = clock() - started
    del held
    return {"seconds": seconds, "bytes": _peak() - before}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of VQAv2's size")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time: for a machine with other work to do")
    parser.add_argument("--out", default=str(RESULTS / "building.json"))
    args = parser.parse_args(argv)
    CLOCK["cpu"] = args.cpu_time
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        size = write_raw(raw, args.scale)
        built, ours = measure(raw, out)
        _, again = measure(raw, out)
        whole = parse_whole(raw)
    questions = sum(split.questions for split in built)
    figures = {
        "questions": questions,
        "samples": sum(split.samples for split in built),
        "raw_bytes": size,
        "build": ours,
        "second_call": again,
        "json_load_of_train": whole,
        "questions_per_second": questions / ours["seconds"],
    }
    samples = [
        ("build, three types", ours["seconds"], ours["bytes"] / 1e6),
        ("second call: nothing to do", again["seconds"], again["bytes"] / 1e6),
        ("json.load of the training files", whole["seconds"], whole["bytes"] / 1e6),
    ]
    show(f"{questions:,} questions, {size / 1e6:.0f} MB raw", ("", "seconds", "MB beyond start"), samples)
    aims = {"seconds": AIM_SECONDS, "bytes": AIM_BYTES}
    write_json(args.out, {"machine": machine(), "options": {"scale": args.scale}, "results": figures, "aims": aims})


if __name__ == "__main__":
    main()
