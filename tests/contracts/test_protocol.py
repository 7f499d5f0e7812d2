"""What each field of `conf/protocol/*.yaml` promises: another value changes what the field says."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from coin_lightning.cli.build import build, check_config
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.protocol import Protocol
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import get_scorer
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import final_summary

TASKS = "imagenet,textvqa"
PUBLISHED = ("protocol=as_published",)
OTHERS = (
    "protocol.projector_lr=0.01", "protocol.global_batch={imagenet: 12, textvqa: 20}",
    "protocol.test_subset={imagenet: 2, textvqa: 1}",
)  # fmt: skip
"""Settings of the runs that the tests share; each run costs seconds."""
SETS = ("as_intended", "as_published")


def composed(*overrides: str) -> DictConfig:
    """A run's config, for what can be seen without running it."""
    before = HydraConfig.instance().cfg
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=["backbone=tiny", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    run = config.copy()
    with open_dict(run):
        del run["hydra"]
    OmegaConf.resolve(run)
    HydraConfig.instance().cfg = before
    return run


@pytest.fixture(scope="module")
def ran(place) -> Callable[..., Path]:
    """Run with these settings of the protocol (once), and give the folder; `<folder>_recorded` is what a probe saw."""
    done: dict[tuple[str, ...], Path] = {}

    def run(*settings: str) -> Path:
        if settings not in done:
            name = f"protocol_{len(done)}"
            words = ["data.limit_test=4", *place.record(f"{name}_recorded"), *settings]
            status, text = place.runs.run(place.command(name, *words, tasks=TASKS))
            assert status == 0, text
            done[settings] = place.folder / name
        return done[settings]

    return run


def recorded(run: Path, position: int) -> dict[str, Any]:
    return json.loads((run.parent / f"{run.name}_recorded" / f"{position}.0.json").read_text())


def matrix(run: Path) -> dict[str, Any]:
    return json.loads((run / "matrix.json").read_text())


def projector(weights: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in weights.items() if "multi_modal_projector.modules_to_save" in name}


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_every_field_and_they_are_told_with_the_result(ran, name: str):
    config = composed(f"protocol={name}")
    check_config(config)
    values: Any = OmegaConf.to_container(config.protocol)
    assert set(values) == {field.name for field in fields(Protocol)}
    told = matrix(ran() if name == "as_intended" else ran(*PUBLISHED))["protocol"]
    assert set(values) <= set(told)
    for field in ("name", "starting_weights", "projector", "projector_lr", "evaluation_frame", "boxes", "long_samples",
                  "scorers", "bwt_divisor", "judge_variant"):  # fmt: skip
        assert told[field] == values[field]


def test_the_sets_differ_in_every_field_but_the_batch():
    intended, published = (composed(f"protocol={name}").protocol for name in SETS)
    assert {field for field in intended if intended[field] == published[field]} == {"global_batch"}


def test_starting_weights_reach_the_backbone():
    for value in ("backbone", "pretrained"):
        assert composed(f"protocol.starting_weights={value}").backbone.starting_weights == value
    with pytest.raises(ConfigError, match="instruction_tuned"):
        build(composed("protocol.starting_weights=instruction_tuned").backbone)
    assert composed("protocol=as_published", "backbone=llava_1_5_7b").backbone.starting_weights == "pretrained"


def test_a_carried_projector_goes_on(ran):
    first, second = (recorded(ran(), position) for position in (1, 2))
    assert projector(first["after"]) == projector(second["before"])
    assert projector(first["before"]) != projector(first["after"])


def test_a_reinitialised_projector_is_new_from_the_second_task_on(ran):
    plain, run = ran(), ran(*PUBLISHED)
    assert projector(recorded(run, 1)["before"]) == projector(recorded(plain, 1)["before"])
    old, new = recorded(run, 1)["after"], recorded(run, 2)["before"]
    assert all(new[name] != value for name, value in projector(old).items())
    assert all(new[name] == value for name, value in old.items() if "multi_modal_projector" not in name)


def test_a_frozen_projector_learns_nothing(ran):
    run = ran("protocol.projector=frozen")
    assert not any("projector" in name for name in recorded(run, 1)["trainable"])
    assert [group["name"] for group in json.loads((run / "plan.json").read_text())["groups"]] == ["adapter"]


def test_the_rate_of_the_projector_is_that_of_every_step(ran):
    for words, share in (((), 2e-5 / 5e-2), (OTHERS, 0.01 / 5e-2), (PUBLISHED, 1.0)):
        rates = recorded(ran(*words), 1)["rates"]
        assert len(rates) == 10
        assert all(own == pytest.approx(share * adapter) for adapter, own in rates)


def test_the_schedule_comes_with_the_set(ran):
    intended, published = (recorded(ran(*words), 1)["rates"] for words in ((), PUBLISHED))
    assert intended[-1][0] < 0.2 * max(rate for rate, _ in intended)
    assert [rate for rate, _ in published] == [0.0, *[5e-2] * 9]  # constant behind the first two steps


def test_the_global_batch_is_made_by_accumulation(ran):
    run = ran(*OTHERS)
    folders = "task_01_imagenet", "task_02_textvqa"
    assert [json.loads((run / name / "train.json").read_text())["steps"] for name in folders] == [4, 2]
    # 5 batches of 4 in each of two epochs: 3 + 2, and 5
    assert matrix(run)["protocol"]["global_batch"] == "imagenet 12, textvqa 20"
    assert matrix(run)["protocol"]["batch"] == "imagenet 4 x 3 x 1, textvqa 4 x 5 x 1"
    assert matrix(ran())["protocol"]["global_batch"] == "4"


def test_a_global_batch_that_cannot_be_made_is_refused_before_anything_is_written(place, tmp_path: Path):
    words = ["protocol.global_batch=10", f"run_dir={tmp_path / 'run'}"]
    status, text = place.runs.run([*place.command("unused", tasks=TASKS), *words])
    assert status == 1
    assert "nearest that fit: 8 and 12" in text
    assert not list(tmp_path.glob("run/*"))


def prepared(place, *settings: str) -> Scenario:
    """The scenario of a config, read by the tiny model."""
    words = place.command("unused", *settings, tasks="imagenet,textvqa,grounding")
    config = composed(*[word for word in words if not word.startswith(("backbone=", "num_threads"))])
    scenario: Scenario = build(config.scenario)
    scenario.prepare(build(config.backbone), 0)
    return scenario


def test_the_reference_crop_changes_test_images_of_its_tasks_and_nothing_else(place):
    same, crop = prepared(place), prepared(place, "protocol.evaluation_frame=reference_crop")
    for task, twin in zip(crop.tasks, same.tasks, strict=True):
        task.compute_features()
        twin.compute_features()
        image = task.test_samples[0].image
        cropped = not torch.equal(
            task.encoder.features(image, answering=True), twin.encoder.features(image, answering=True)
        )
        assert cropped == (task.name in ("imagenet", "grounding"))
        assert torch.equal(task.encoder.features(image), twin.encoder.features(image))


def test_boxes_are_converted_or_left_as_written(place):
    notation = "+backbone.boxes={frame: original, numbers: percent_tags}"
    texts = {}
    for value in ("converted", "as_written"):
        task = prepared(place, notation, f"protocol.boxes={value}").tasks[2]
        texts[value] = task.encoder.turns(task.train_samples[0])[0].answer
        assert ("box_format" in task.references[0]) == (value == "converted")
    assert texts["as_written"] == "[0.10,0.20,0.60,0.70]"
    assert texts["converted"].startswith("{<10>")


def test_long_samples_are_refused_or_cut(place):
    refused, cut = (prepared(place, f"protocol.long_samples={value}").tasks[2] for value in ("refuse", "truncate"))
    for task in (refused, cut):
        task.test_samples, task.encoder.backbone.max_length = [], len(task.encoder.whole(task.train_samples[0])[0]) - 1
    with pytest.raises(DataError, match=r"do not fit backbone\.max_length"):
        refused.check()
    cut.check()
    assert any("training samples are cut at" in note for note in cut.notes)
    room = cut.encoder.backbone.max_length
    assert max(len(cut.encoder.encode(sample)[0]) for sample in cut.train_samples) == room
    assert max(len(refused.encoder.encode(sample)[0]) for sample in refused.train_samples) > room


def test_the_scorers_decide_the_headline_score():
    blank = AnswerRecord("imagenet", "1", "What?", "", {"answer": "cat"})
    suites = [build(composed(f"protocol.scorers={value}").evaluation) for value in ("corrected", "reference")]
    assert [get_scorer("imagenet", suite.variant)(blank) for suite in suites] == [0.0, 1.0]


def test_the_divisor_decides_which_backward_transfer_comes_first(ran):
    for words, key in (((), "bwt"), (PUBLISHED, "bwt_coin")):
        run = ran(*words)
        assert {"bwt", "bwt_coin"} <= set(matrix(run)["metrics"])
        assert load_matrix(run).headline_bwt == key
        order = [line for line in _printed(final_summary(run)) if "Backward transfer" in line]
        assert ("as CoIN" in order[0]) == (key == "bwt_coin")


def _printed(renderable: Any) -> list[str]:
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120).print(renderable)
    return out.getvalue().splitlines()


def test_the_test_subset_is_what_is_asked(ran, place, tmp_path: Path):
    assert matrix(ran())["counts"][2] == [4, 4]
    assert matrix(ran(*OTHERS))["counts"][2] == [2, 1]
    assert matrix(ran(*OTHERS))["protocol"]["test_subset"] == "imagenet 2, textvqa 1"
    assert len(json.loads((ran(*OTHERS) / "subsets.json").read_text())["imagenet"]["test"]["ids"]) == 2
    file = tmp_path / "ids.json"
    file.write_text(json.dumps({"imagenet": ["1001", "1003"], "textvqa": ["1000"], "grounding": ["1002"]}))
    scenario = prepared(place, f"protocol.test_subset={file}")
    ids = [[sample.id for sample in task.test_samples] for task in scenario.tasks]
    assert ids == [["1001", "1003"], ["1000"], ["1002"]]


@pytest.mark.parametrize(("variant", "score"), [("strict", None), ("reference", 1.0)])
def test_the_judges_replies_are_read_by_the_variant(variant: str, score: float | None):
    judge = build(composed("judge=embedding", f"protocol.judge_variant={variant}").judge)
    assert judge.variant == variant
    assert judge.parse("I would say 10 of 100") == score
