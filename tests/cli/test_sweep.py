"""`-m`: a member that fails is reported, the others run and are what they are alone; a signal ends the whole sweep."""

import json
import os
import shutil
from pathlib import Path

import pytest

from coin_lightning.cli.finished import is_drawn
from coin_lightning.cli.launch import torchrun_variables

FAIL = "+callbacks.fail._target_=probes.FailAt"


def members(place, folder: Path, *words: str) -> list[str]:
    """Words of a command without its own `run_dir`, so that each member gets its folder below `folder`."""
    small = ("batches.epochs=1", "data.limit_test=1")  # five steps
    kept = [word for word in place.command("unused", *small, *words, tasks="gqa") if not word.startswith("run_dir=")]
    return [*kept, f"paths.runs={folder}", "experiment_name=swept"]


def finished(folder: Path) -> list[str]:
    return sorted(file.parents[1].name for file in folder.rglob("matrix.json"))


def test_an_impossible_member_is_told_before_the_others_run(place, tmp_path: Path):
    status, text = place.runs.run(["-m", *members(place, tmp_path, "adapter.num_experts=3,4")])
    assert status == 0, text
    told, reason = (
        "1 of 2 members cannot be run:",
        "  adapter.num_experts=3: r=8 cannot be split evenly over num_experts=3",
    )
    assert 0 <= text.index(told) < text.index("member 2 of 2: adapter.num_experts=4") < text.index("run folder")
    assert text.count(reason) == 2  # before, and again at the end
    assert "Traceback" not in text
    assert len(finished(tmp_path)) == 1
    assert "num_experts=4" in finished(tmp_path)[0]
    page = (tmp_path / "swept" / "sweep_num_experts.html").read_text()
    assert "1 of 2 runs are finished, 1 failed or cannot be run" in page
    assert page.count("report.html") == 1


def test_impossible_members_may_refuse_the_whole_sweep(place, tmp_path: Path):
    words = members(place, tmp_path, "adapter.num_experts=4,3", "sweep.impossible=refuse")
    status, text = place.runs.run([words[0], "-m", *words[1:]])  # the flag may stand behind an override
    assert status == 1
    assert "error: 1 of 2 members cannot be run:" in text
    assert "leave these out with sweep.impossible=skip" in text
    assert list(tmp_path.rglob("config.yaml")) == []


@pytest.mark.parametrize(
    ("word", "message"),
    [("data.boxes=as_written", "data.boxes='as_written', but protocol.boxes='converted', which results would tell"),
     ("published=nowhere", "published='nowhere' names no row"), ("optimizer.lr=0", "optimizer.lr=0: must be positive")],
)  # fmt: skip
def test_a_member_alone_says_itself_why_it_cannot_be_run(place, tmp_path: Path, word: str, message: str):
    status, text = place.runs.run(["-m", *members(place, tmp_path, "seed=0", word)])
    assert status == 1
    assert f"error: {message}" in text
    assert list(tmp_path.rglob("config.yaml")) == []


def test_a_sweep_needs_no_place_for_its_runs(place, tmp_path: Path):
    """It once ended in Hydra's `HydraConfig was not set`, and every test named `paths.runs`."""
    words = [word for word in members(place, tmp_path, "seed=0,1", "scenario.train=false") if "paths.runs" not in word]
    status, text = place.runs.run(["-m", *words], FOLDER=str(tmp_path))
    assert status == 0, text
    assert len(finished(tmp_path / "runs" / "swept")) == 2
    assert (tmp_path / "runs" / "swept" / "sweep_seed.html").is_file()
    assert "finished" in text.rpartition("disk")[2]  # the table of all runs
    assert f"report  {tmp_path / 'runs' / 'swept' / 'sweep_seed.html'}" in text.splitlines()


def test_several_processes_and_a_sweep_do_not_go_together(place, tmp_path: Path):
    words = members(place, tmp_path, "seed=0,1", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    status, text = place.runs.run(["-m", *words], **torchrun_variables(2)[0])
    assert status == 1
    assert "each would run the whole sweep" in text
    assert list(tmp_path.rglob("config.yaml")) == []


def test_a_member_behind_one_that_failed_in_training_has_the_bits_it_has_alone(place, tmp_path: Path):
    words = members(place, tmp_path / "sweep", FAIL, "+callbacks.fail.step=3,99", "logger=wandb")
    status, text = place.runs.run(["-m", *words], WANDB_MODE="offline")
    assert status == 1
    assert "Traceback" in text
    assert "  +callbacks.fail.step=3: ZeroDivisionError: a bug in a callback" in text
    alone = members(place, tmp_path / "alone", FAIL, "+callbacks.fail.step=99")
    status, text = place.runs.run(alone)
    assert status == 0, text
    kept = [list((tmp_path / name).rglob("task_01_gqa/adapter/*.safetensors")) for name in ("sweep", "alone")]
    assert [len(files) for files in kept] == [1, 1]
    assert kept[0][0].read_bytes() == kept[1][0].read_bytes()


def test_all_well_is_status_zero_and_a_finished_sweep_is_not_run_again(place, tmp_path: Path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)  # configs of one's own, and folders
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nscenario: {train: false}\n")
    told = (f"hydra.searchpath=[file://{tmp_path / 'conf'}]", r"hydra.sweep.subdir='it\'s_${seed}'")
    tmp_path = tmp_path / "method=lora"  # as the folders of runs are called
    words = ["-m", *told, *members(place, tmp_path, "seed=0,1", "+experiment=mine")]
    status, text = place.runs.run(words)
    assert status == 0, text
    runs = [tmp_path / "swept" / f"it's_{seed}" for seed in (0, 1)]
    assert sorted(file.parent for file in tmp_path.rglob("matrix.json")) == runs
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("matrix.json")}
    status, text = place.runs.run(words)
    assert status == 0
    assert "2 of 2 members are finished" in text
    alone = json.loads((runs[0] / "command.json").read_text())["arguments"]  # finds the run of the sweep
    assert place.runs.run(alone)[0] == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("matrix.json")} == before
    status, text = place.runs.run([*words, "num_threads=3"])  # of the same folders, whose scores are not theirs
    assert status == 1
    assert text.count("was started with another config") == 4  # as it comes, and at the end
    assert "disk" not in text  # no table
    assert "0 of 2 runs are finished, 2 failed" in (tmp_path / "swept" / "sweep_seed.html").read_text()


def test_the_sweep_draws_the_last_pages_of_its_members_and_again_what_it_could_not_draw(place, tmp_path: Path):
    words = ["-m", *members(place, tmp_path, "seed=0,1", "scenario.train=false")]
    status, text = place.runs.run(words, PAGE="1")
    assert status == 0, text
    runs = [file.parent for file in tmp_path.rglob("matrix.json")]
    assert len(runs) == 2
    assert [is_drawn(run) for run in runs] == [True, True]
    assert all(list(run.glob("figures/*.png")) for run in runs)
    figures = runs[1] / "figures"
    shutil.rmtree(figures)
    figures.touch()
    os.utime(runs[1] / "matrix.json")
    status, text = place.runs.run(words, PAGE="1")
    assert status == 0
    assert "FileExistsError" in text
    assert text.count("pages of the sweep could not be written, for the reason above; the same command tries it") == 1
    assert "2 of 2 runs are finished" in (tmp_path / "swept" / "sweep_seed.html").read_text()
    figures.unlink()
    assert place.runs.run(words, PAGE="1")[0] == 0
    assert is_drawn(runs[1])
    assert list(figures.glob("*.png"))


@pytest.mark.parametrize(
    "told",
    [
        "hydra/sweeper=basic",
        "hydra.sweep.subdir='${now:%H-%M-%S-%f}_${seed}'",
        "hydra.sweep.subdir='n${hydra:job.num}'",
        "hydra.sweep.subdir='n${hydra:job.id}'",
    ],
)
def test_last_pages_are_drawn_whoever_sweeps_and_wherever_the_runs_lie(place, tmp_path: Path, told: str):
    words = members(place, tmp_path, "seed=0,0,1", "scenario.train=false", told)
    status, text = place.runs.run(["-m", *words], PAGE="1")
    assert status == 0, text
    runs = [file.parent for file in tmp_path.rglob("matrix.json")]
    assert len(runs) >= 2
    assert all(is_drawn(run) and list(run.glob("figures/*.png")) for run in runs), text


def test_a_signal_ends_the_member_and_the_sweep(place, tmp_path: Path):
    words = members(place, tmp_path, FAIL, "+callbacks.fail.step=3,99", "+callbacks.fail.signal_sweep=true")
    status, text = place.runs.run(["-m", *words])
    assert status == 143, text
    assert finished(tmp_path) == [] or "step=99" not in finished(tmp_path)[0]
    assert len(list(tmp_path.rglob("config.yaml"))) == 1  # the second member was never begun


def test_a_failing_single_run_keeps_its_traceback(place, tmp_path: Path):
    status, text = place.runs.run(members(place, tmp_path, FAIL, "+callbacks.fail.step=3"))
    assert status == 1
    assert "ZeroDivisionError: a bug in a callback" in text
    assert "members of the sweep" not in text


def test_a_member_that_is_named_twice_is_one_run_on_the_page(place, tmp_path: Path):
    status, text = place.runs.run(["-m", *members(place, tmp_path, "seed=0,0")])
    assert status == 0, text
    assert "equal runs" not in text
    page = (tmp_path / "swept" / "sweep.html").read_text()
    assert page.count("report.html") == 1


def test_a_sweep_of_which_nothing_can_be_run_has_failed(place, tmp_path: Path):
    status, text = place.runs.run(["-m", *members(place, tmp_path, "adapter.num_experts=3,5")])
    assert status == 1
    assert "2 of 2 members could not be run and were skipped:" in text
    assert finished(tmp_path) == []


def test_numbers_are_no_names_of_folders_where_several_members_run_at_once(place, tmp_path: Path):
    """A launcher counts on from the first of those that are left: members would find each other's runs."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = members(place, tmp_path, "seed=0,1", "hydra/launcher=joblib", "hydra.sweep.subdir=${hydra.job.num}")
    status, text = place.runs.run(["-m", *words])
    assert status == 1
    assert "folders named after hydra.job.num or hydra.job.id belong to other members" in text
    assert list(tmp_path.rglob("config.yaml")) == []
