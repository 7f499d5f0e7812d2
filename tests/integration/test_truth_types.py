"""Truth of another type: what can be converted is scored to the end, all else is refused before the first step."""

import json
from pathlib import Path

import pytest

from coin_lightning.cli import data_verify
from small_coin import answer_file, edit_samples, overrides, write_suite

TASKS = "vizwiz,vqav2,grounding"


def convertible(root: Path) -> None:
    """A number, the official annotator objects, a box as a list."""
    edit_samples(answer_file(root, "vqav2"), lambda samples: samples[0].update(answer=2))
    said = {"answers": [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10}
    edit_samples(answer_file(root, "vizwiz"), lambda samples: [sample.update(said) for sample in samples])
    edit_samples(answer_file(root, "grounding"), lambda samples: samples[0].update(answer_bbox=[0.1, 0.2, 0.6, 0.7]))


def unusable(root: Path) -> None:
    """What the truth refuses (vizwiz), what is no JSON (vqav2), and what only scoring shows (grounding)."""
    edit_samples(answer_file(root, "vizwiz"), lambda samples: samples[1].update(answer=["a"]))
    edit_samples(answer_file(root, "vizwiz"), lambda samples: samples[2].update(answers="unanswered"))
    edit_samples(answer_file(root, "vqav2"), lambda samples: samples[3].update(weight=float("nan")))
    edit_samples(answer_file(root, "grounding"), lambda samples: samples[1].update(answer_bbox=[True, 0.2, 1, 0.7]))


WORDS = [
    ("VizWiz/val.json sample 1", "field 'answer' must be a text or a number, found ['a']"),
    ("VizWiz/val.json sample 2", "field 'answers' must be a list of 10"),
    ("VQAv2/val.json: malformed JSON (behind item 3:", "NaN"),
    ("Grounding/test.json sample 1", "the reference rule cannot use the reference"),
]


def said(text: str, words: tuple[str, str]) -> bool:
    return any(all(word in line for word in words) for line in text.splitlines())


def test_truth_of_another_type_is_read_to_the_end(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=4, test=4)
    convertible(root)
    status, text = place.runs.run(overrides(root, place.cache, tmp_path / "run", tasks=TASKS))
    assert status == 0, text
    folder = tmp_path / "run" / "task_00_zero_shot" / "records"

    def first(task: str) -> dict:
        return json.loads((folder / f"{task}.jsonl").read_text().splitlines()[0])["reference"]

    assert first("vqav2")["answer"] == "2"
    assert first("vizwiz")["answers"] == ["unanswerable"] * 10
    assert first("grounding")["answer_bbox"] == "[0.1,0.2,0.6,0.7]"


def test_unusable_truth_is_refused_together_and_the_folder_takes_the_mended_data(place, tmp_path: Path):
    root, run = write_suite(tmp_path / "suite", train=4, test=4), tmp_path / "run"
    unusable(root)
    command = overrides(root, place.cache, run, tasks=TASKS)
    status, text = place.runs.run(command)
    assert status == 1
    assert [words for words in WORDS if not said(text, words)] == [], text
    assert "Traceback" not in text
    assert not list(run.glob("task_*"))
    write_suite(root, train=4, test=4)
    status, text = place.runs.run(command)
    assert status == 0, text


def test_verify_lists_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_suite(tmp_path / "suite", train=4, test=4)
    unusable(root)
    command = overrides(root, tmp_path / "features", tmp_path / "run", tasks=TASKS)
    assert data_verify.main([*command, f"output={tmp_path / 'page.html'}"]) == 1
    found = [line for task in json.loads((tmp_path / "page.json").read_text())["tasks"] for line in task["findings"]]
    lines = "\n".join(line for each in found if each["kind"] in ("truth", "samples") for line in each["examples"])
    assert [words for words in WORDS if not said(lines, words)] == []


def test_a_task_without_a_rule_is_refused_at_once(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=4, test=1)
    names = ["+scenario.tasks.birds.name=birds", "+scenario.tasks.birds.directory=GQA"]
    more = ["+task@scenario.tasks.birds=_base", *names]
    status, text = place.runs.run(overrides(root, place.cache, tmp_path / "run", *more, tasks="birds"))
    assert status == 1
    assert "no scorer for task 'birds'" in text
    assert not list((tmp_path / "run").glob("task_*"))
