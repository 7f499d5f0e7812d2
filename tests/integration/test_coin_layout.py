"""`scenario=coin` on the published layout with its oddities, from JSON and through `datasets`: a run, its subsets."""

import json
from pathlib import Path

import pytest

from small_coin import answer_file, edit_samples, overrides, train_file, write_suite

TASKS = "scienceqa,grounding,vizwiz"


def read(file: Path):
    return json.loads(file.read_text())


def records(run: Path, task: str) -> list[dict]:
    text = (run / "task_00_zero_shot" / "records" / f"{task}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def odd_suite(root: Path) -> Path:
    """The small suite as published files are: ids of both kinds, `.jpg.jpg`, boxes as lists, the other spelling."""
    write_suite(root)

    def train(samples):
        for number, sample in enumerate(samples):
            sample["id"] = number if number % 2 else f"n{number}"
            if "image" in sample and number % 4 == 0:
                sample["image"] += ".jpg"
        question, answer = samples[0]["conversations"]
        more = [{"from": "human", "value": "And now?"}, {"from": "gpt", "value": answer["value"]}]
        samples[0]["conversations"] = [
            {**question, "value": question["value"].removeprefix("<image>\n") + "\n<image>"},
            answer,
        ]
        samples[0]["conversations"] += more

    edit_samples(train_file(root, "grounding"), train)
    edit_samples(
        train_file(root, "vizwiz"), lambda samples: [sample.update(id=7 * at) for at, sample in enumerate(samples)]
    )
    edit_samples(answer_file(root, "grounding"), lambda samples: samples[1].update(answer_bbox=[0.1, 0.2, 0.6, 0.7]))
    edit_samples(
        answer_file(root, "vizwiz"), lambda samples: [sample.update(id=sample.pop("question_id")) for sample in samples]
    )
    (root / "Instructions_Original").rename(root / "Instruction_Original")
    return root


def command(place, root: Path, run: Path, *more: str) -> list[str]:
    return [
        "scenario=coin", *overrides(root, place.cache, run, tasks=TASKS), f"paths.coin={root}",
        "data.fraction=0.4", "data.limit_test=3", "batches.epochs=1",
        *(f"scenario.tasks.{task}.answers.max_new_tokens=24" for task in TASKS.split(",")), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def from_json(place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("coin")
    root, run = odd_suite(folder / "suite"), folder / "run"
    status, text = place.runs.run(command(place, root, run))
    assert status == 0, text
    return root, run


def test_a_run_on_parts_of_the_samples_writes_down_which(from_json):
    _, run = from_json
    matrix, subsets = read(run / "matrix.json"), read(run / "subsets.json")
    assert matrix["tasks"] == TASKS.split(",")
    assert matrix["counts"][3] == [3, 3, 3]
    for task in TASKS.split(","):
        assert subsets[task]["train"]["of"] == 20
        assert len(subsets[task]["train"]["ids"]) == 8
        assert (subsets[task]["test"]["of"], len(subsets[task]["test"]["ids"])) == (4, 3)
        assert [record["question_id"] for record in records(run, task)] == subsets[task]["test"]["ids"]
    assert all(isinstance(record["reference"]["answer_bbox"], str) for record in records(run, "grounding"))


def test_the_subsets_of_a_run_are_a_list_of_ids_for_another(place, from_json, tmp_path: Path):
    root, run = from_json
    more = ["data.limit_test=null", f"data.test_ids={run / 'subsets.json'}", "scenario.train=false"]
    status, text = place.runs.run(command(place, root, tmp_path / "again", *more))
    assert status == 0, text
    assert [read(tmp_path / "again" / "subsets.json")[task]["test"] for task in TASKS.split(",")] == [
        read(run / "subsets.json")[task]["test"] for task in TASKS.split(",")
    ]
    (tmp_path / "ids.json").write_text('{"scienceqa": ["1001"], "grounding": ["1001"], "vizwiz": ["4711"]}')
    other = ["data.limit_test=null", f"data.test_ids={tmp_path / 'ids.json'}", "scenario.train=false"]
    status, text = place.runs.run(command(place, root, tmp_path / "again", *other))
    assert status == 1
    assert "data.test_ids: " in text  # a finished run is not given out as one of other samples
    status, text = place.runs.run(command(place, root, tmp_path / "new", *other))
    assert status == 1
    assert "ids.json: vizwiz has no sample with id '4711'" in text


def test_the_same_samples_through_datasets_give_the_same_scores(place, from_json, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    root, run = from_json
    for file in (root / "Instruction_Original").glob("*/*.json"):
        target = tmp_path / "parquet" / "Instructions_Original" / file.parent.name / f"{file.stem}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        samples = [
            {**sample, **{key: str(sample[key]) for key in ("id", "question_id") if key in sample}}
            for sample in read(file)
        ]
        for sample in samples:
            if "answer_bbox" in sample:
                sample["answer_bbox"] = str(sample["answer_bbox"])
        datasets.Dataset.from_list(samples).to_parquet(target)
    more = ["source=datasets", f"source.path={tmp_path / 'parquet'}"]
    status, text = place.runs.run(command(place, root, tmp_path / "run", *more), HF_HOME=str(tmp_path / "hf"))
    assert status == 0, text
    assert read(tmp_path / "run" / "subsets.json") == read(run / "subsets.json")
    assert read(tmp_path / "run" / "matrix.json")["scores"] == read(run / "matrix.json")["scores"]
