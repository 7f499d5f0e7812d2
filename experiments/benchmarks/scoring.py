"""Scoring: seconds for 100,000 answers by each rule and variant, and by both variants at once, on one core.

    python experiments/benchmarks/scoring.py

Answers are as mixed as real ones: frequent short answers, phrases that come once, capitals, punctuation, sentences,
blank answers, and one in a hundred that runs to the length limit. Every round has samples of its own, so that only
frequent answers are found in a cache. The slowest round counts.
"""

import argparse
import random
from collections.abc import Callable
from typing import Any

from harness import CLOCK, RESULTS, clock, machine, show, write_json

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import Scoring, get_scorer
from coin_lightning.evaluation.side_by_side import score_all

AIM = 5.0
"""Seconds."""
TASKS, VARIANTS = [*task_nodes(conf_dir())], ("corrected", "reference")
BOTH = "both"
FREQUENT = (
    "yes",
    "no",
    "1",
    "2",
    "3",
    "red",
    "blue",
    "white",
    "left",
    "right",
    "man",
    "unanswerable",
    "nike",
    "frisbee",
)
SYLLABLES = ("ka", "lo", "mi", "ter", "son", "ber", "ra", "dan", "vu", "she", "pol", "gri", "est", "on", "ful", "ing")
FORMS: tuple[Callable[[str], str], ...] = (
    str, str, str, str.upper, str.title, "{}.".format, "the {}".format, "{}, I think".format, "a {} - or two".format,
)  # fmt: skip
LONG = 4000


def word(rng: random.Random) -> str:
    """A word that hardly ever comes twice."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 5)))


def answer(rng: random.Random) -> str:
    """Three in five from a short list, the others one to four words of their own."""
    return rng.choice(FREQUENT) if rng.random() < 0.6 else " ".join(word(rng) for _ in range(rng.randint(1, 4)))


def box(rng: random.Random) -> str:
    """A box with two decimals."""
    (x1, x2), (y1, y2) = (sorted(round(rng.random(), 2) for _ in range(2)) for _ in "xy")
    return f"[{x1},{y1},{x2},{y2}]"


def reference(task: str, rng: random.Random) -> tuple[str, dict[str, Any]]:
    """What is right, and the sample's own fields."""
    if task == "grounding":
        truth = box(rng)
        return truth, {"answer_bbox": truth, "origin_answer_bbox": truth, "size": [640, 480], "image": "a.jpg"}
    right = answer(rng)
    if task == "scienceqa":
        choices = [right, *(answer(rng) for _ in range(rng.randint(1, 4)))]
        parts = {"subject": "natural science", "grade": f"grade{rng.randint(1, 12)}", "hint": rng.random() < 0.5}
        return "A", {"answer": "A", "choices": choices, "answer_index": 0, **parts}
    if task not in ("textvqa", "vizwiz", "vqav2"):
        return right, {"answer": right, "image": "a.jpg"}
    said = [right, right, rng.choice(FORMS)(right), answer(rng), answer(rng)]
    return right, {"answer": right, "answers": [rng.choice(said) for _ in range(10)], "image": "a.jpg"}


def prediction(right: str, task: str, rng: random.Random) -> str:
    """Half right in some form, the others another answer; blank or without end now and then."""
    luck = rng.random()
    if luck < 0.01:
        return (right + " ") * (LONG // (len(right) + 1))
    if luck < 0.03:
        return ""
    other = box(rng) if task == "grounding" else answer(rng)
    return rng.choice(FORMS)(right if luck < 0.55 else other)


def records(task: str, count: int, seed: str) -> list[AnswerRecord]:
    """Answers of a task."""
    rng = random.Random(f"{seed}/{task}")
    samples = (reference(task, rng) for _ in range(count))
    return [
        AnswerRecord(task, str(at), "What is it?", prediction(right, task, rng), sample)
        for at, (right, sample) in enumerate(samples)
    ]


def measure(task: str, count: int, rounds: int) -> dict[str, Any]:
    """Seconds by variant and for both: the slowest round."""
    seconds: dict[str, list[float]] = {name: [] for name in (*VARIANTS, BOTH)}
    for turn in range(rounds):
        for name in seconds:
            samples = records(task, count, f"{turn}/{name}")
            started = clock()
            score_all(samples, Scoring.of(task, {})) if name == BOTH else get_scorer(task, name).score(samples)
            seconds[name].append(clock() - started)
    return {"task": task, "records": count, "seconds": {name: max(found) for name, found in seconds.items()}}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time: for a machine with other work to do")
    parser.add_argument("--out", default=str(RESULTS / "scoring.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure every task, print, write."""
    args = parse(argv)
    CLOCK["cpu"] = args.cpu_time
    found = machine()
    results = [measure(task, args.records, args.rounds) for task in args.tasks]
    show(
        f"seconds for {args.records} answers (aim: below {AIM:g} by each rule)",
        ["task", *VARIANTS, BOTH],
        [[result["task"], *result["seconds"].values()] for result in results],
    )
    slowest = max(result["seconds"][variant] for result in results for variant in VARIANTS)
    content = {"benchmark": "scoring", "aims": {"slowest": AIM}, "machine": found, "slowest": slowest}
    print(f"written: {write_json(args.out, {**content, 'results': results})}")


if __name__ == "__main__":
    main()
