"""Bounds of a run: real single-task and joint runs, read by `report` and by a run, and refused where they are none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from results import without_manifests

TASKS = ("scienceqa", "textvqa")


def command(place, name: str, *more: str) -> list[str]:
    """Of a run long enough for scores above zero, which a ratio needs."""
    return place.short(name, "batches.epochs=6", *more)


@pytest.fixture(scope="module")
def runs(place) -> dict[str, Path]:
    """A sequence of two tasks, both alone, both jointly; each with another seed."""
    found = {}
    for seed, (name, more) in enumerate(
        {
            "sequence": (),
            "alone_scienceqa": ("scenario.order=[scienceqa]",),
            "alone_textvqa": ("scenario.order=[textvqa]",),
            "jointly": ("scenario.joint=true",),
            "other_rank": ("scenario.joint=true", "adapter.rank=16", "batches.epochs=1"),
        }.items(),
        start=0,
    ):
        status, text = place.runs.run([*command(place, name, *more), f"seed={seed}"])
        assert status == 0, text
        found[name] = place.folder / name
    return found


@pytest.fixture
def report(place) -> Callable[..., tuple[int, str]]:
    """Exit status and text of `coin_lightning report`."""
    return lambda *words: place.runs.run(["report", *map(str, words)])


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def end(run: Path) -> dict[str, float]:
    """Scores of the last row."""
    matrix = read(run / "matrix.json")
    return dict(zip(matrix["tasks"], matrix["scores"][-1], strict=True))


def test_report_takes_bounds_and_keeps_them(runs, place, report):
    run, alone = runs["sequence"], [runs[f"alone_{task}"] for task in TASKS]
    before = read(run / "matrix.json")
    assert before["metrics"]["retention"] is before["metrics"]["intransigence"] is None
    status, text = report(run, f"bounds.individual={place.folder}/alone_*", f"bounds.joint={runs['jointly']}")
    assert status == 0, text
    after = read(run / "matrix.json")
    own = [end(folder)[task] for folder, task in zip(alone, TASKS, strict=True)]
    learned = [after["scores"][1][0], after["scores"][2][1]]
    assert after["metrics"]["intransigence"] == pytest.approx(sum(own) / 2 - sum(learned) / 2)
    assert after["metrics"]["retention"] == pytest.approx(
        after["metrics"]["acc"] * 2 / sum(end(runs["jointly"]).values())
    )
    assert read(run / "metrics.json") == after["metrics"]
    assert after["scores"] == before["scores"]
    assert [each["run"].split("/")[-1] for each in after["bounds"]["individual"]["runs"]] == [f.name for f in alone]
    assert len(after["bounds"]["joint"]["runs"][0]["config_sha256"]) == 64
    page = (run / "report.html").read_text()
    assert "Single-task runs (S)" in page
    assert "/jointly</code> (seed 3, config" in page
    assert str(place.folder) not in page
    assert report(run)[0] == 0  # without the words they stay
    assert read(run / "matrix.json")["metrics"] == after["metrics"]


def test_a_run_takes_the_same_keys_and_is_no_other_run_for_it(runs, place):
    words = command(place, "bounded")
    joint = f"bounds.joint={runs['jointly']}"
    assert place.runs.run([*words, joint])[0] == 0
    with_bound = read(place.folder / "bounded/matrix.json")
    jointly = sum(end(runs["jointly"]).values()) / 2
    assert with_bound["metrics"]["retention"] == pytest.approx(with_bound["metrics"]["acc"] / jointly)
    assert with_bound["scores"] == read(runs["sequence"] / "matrix.json")["scores"]
    individual = ",".join(str(runs[f"alone_{task}"]) for task in TASKS)
    status, text = place.runs.run([*words, f"bounds.individual=[{individual}]"])  # finished: only bounds are read
    assert status == 0, text
    metrics = read(place.folder / "bounded/matrix.json")["metrics"]
    assert None not in (metrics["retention"], metrics["intransigence"], metrics["retention_individual"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bounds.joint={other_rank}", "protocol.adapter: 'rank 8"),
        ("bounds.joint={alone_textvqa}", "is no joint run; make one with scenario.joint=true"),
        ("bounds.individual={jointly}", "learned scienceqa, textvqa, not one task alone"),
        ("bounds.individual={alone_textvqa}", "bounds.individual: no run of scienceqa is among them"),
        ("bounds.individual=[{alone_textvqa},{alone_textvqa}]", "textvqa stands in two runs"),
        ("bounds.joint=nowhere/seed_*", "bounds.joint=nowhere/seed_*: no such run folder"),
        ("bounds.upper={jointly}", "bounds.upper: there is no such bound; use individual or joint"),
    ],
)
def test_what_is_no_bound_is_refused_and_changes_nothing(runs, report, words, message):
    before = (runs["sequence"] / "matrix.json").read_bytes()
    status, text = report(runs["sequence"], words.format_map(runs))
    assert status == 1
    assert message in text.replace("\n", " ") or message in text
    assert (runs["sequence"] / "matrix.json").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("subsets.json", lambda content: content["textvqa"]["test"].update(of=99), "samples used of textvqa"),
        ("environment.json", lambda content: content["data"]["textvqa"].update(sha256={}), "data files of textvqa"),
        (
            "task_02_joint/scores.json",
            lambda content: content["versions"].update(textvqa=2),
            "scorers of textvqa: 1 and",
        ),
    ],
)
def test_other_samples_data_or_scorers_are_no_bound(runs, report, tmp_path, file, change, message):
    copy = tmp_path / "joint"
    for name in ("matrix.json", "config.yaml", "subsets.json", "environment.json", "task_02_joint/scores.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((runs["jointly"] / name).read_bytes())
    (copy / "task_00_zero_shot").mkdir()
    zero = json.loads((runs["jointly"] / "task_00_zero_shot/scores.json").read_text())
    del zero["manifest"]
    if file.endswith("scores.json"):
        zero["versions"]["textvqa"] = 2
    (copy / "task_00_zero_shot/scores.json").write_text(json.dumps(zero))
    without_manifests(copy)
    content = read(copy / file)
    change(content)
    (copy / file).write_text(json.dumps(content))
    status, text = report(runs["sequence"], f"bounds.joint={copy}")
    assert status == 1
    assert message in text


@pytest.mark.parametrize(
    ("group", "key", "message"),
    [("method", "name", "method.name: 'moelora' and 'other'"), ("optimizer", "weight_decay", "optimizer.weight_decay:"),
     ("schedule", "warmup_ratio", "schedule.warmup_ratio: 0.03 and 'other'"),
     ("trainer", "gradient_clip_val", "trainer.gradient_clip_val:"),
     ("backbone", "path", "backbone.path: None and 'other'"), ("backbone", "max_length", "backbone.max_length:")],
)  # fmt: skip
def test_what_was_learned_otherwise_is_no_bound(runs, report, tmp_path, group, key, message):
    copy = Path(shutil.copytree(runs["jointly"], tmp_path / "joint"))
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config[group][key] = "other"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    status, text = report(runs["sequence"], f"bounds.joint={copy}")
    assert status == 1
    assert message in text


def test_a_task_alone_is_compared_by_what_the_sequence_has_for_it(place, report):
    """Batch 2 x 2 x 1 and three epochs of ScienceQA, 4 x 1 x 1 and one of TextVQA, in the sequence and alone."""
    own = [
        "scenario.tasks.scienceqa.batches.size=2", "scenario.tasks.scienceqa.batches.epochs=3",
        "protocol.global_batch={scienceqa: 4, textvqa: 4}",
    ]  # fmt: skip
    learned = {"by_task": "scienceqa,textvqa", "by_task_scienceqa": "scienceqa", "by_task_textvqa": "textvqa"}
    for name, tasks in learned.items():
        status, text = place.runs.run(place.brief(name, *own, tasks=tasks))
        assert status == 0, text
    run, alone = place.folder / "by_task", f"bounds.individual={place.folder}/by_task_*"
    assert read(run / "matrix.json")["protocol"]["epochs"] == "scienceqa 3, textvqa 1"
    status, text = report(run, alone)
    assert status == 0, text


def test_a_task_alone_that_was_learned_or_answered_otherwise_is_no_bound(place, report):
    """Three passes, another warm-up and longer answers than in the sequence."""
    answers = "scenario.tasks.gqa.answers"
    more = {
        "short_warm_up": (),
        "long_warm_up": ("schedule.warmup_ratio=0.5", f"{answers}.max_new_tokens=1", f"{answers}.batch_size=1"),
        "three_passes": ("scenario.tasks.gqa.batches.epochs=3",),
    }
    for name, words in more.items():
        status, text = place.runs.run(place.brief(name, *words))
        assert status == 0, text
    run, passes = (place.folder / name for name in ("long_warm_up", "three_passes"))
    status, text = report(run, f"bounds.individual={passes}")
    assert status == 1
    assert text.rstrip().splitlines()[-3:] == [
        "  schedule.warmup_ratio: 0.5 and 0.03",
        "  scenario.tasks.gqa.batches.epochs: 1 and 3",
        "  scenario.tasks.gqa.answers.max_new_tokens: 1 and 12",
    ], text
    status, text = report(place.folder / "short_warm_up", f"bounds.individual={passes}")
    assert text.rstrip().splitlines()[-1] == "  scenario.tasks.gqa.batches.epochs: 1 and 3"


def test_all_tasks_at_once_are_no_bound_of_other_passes(runs, report, tmp_path):
    copy = Path(shutil.copytree(runs["sequence"], tmp_path / "sequence"))
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["scenario"]["tasks"]["textvqa"]["batches"]["epochs"] = 1
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    status, text = report(copy, f"bounds.joint={runs['jointly']}")
    assert (status, text.rstrip().splitlines()[-1]) == (1, "  scenario.tasks.textvqa.batches.epochs: 1 and 6")


def test_bounds_are_those_of_one_run(runs, report):
    status, text = report(runs["sequence"], runs["jointly"], f"bounds.joint={runs['jointly']}")
    assert status == 1
    assert "2 runs are given; bounds are those of one run" in text
