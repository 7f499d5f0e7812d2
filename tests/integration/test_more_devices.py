"""One process, two with whole models, two with a sharded one: the same steps on the same samples, and the same end.

13 samples in steps of four: the last step has one, which only one of two processes can learn from.
"""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ranks import srun, together, torchrun
from small_coin import overrides, write_suite

pytestmark = pytest.mark.ddp

TASKS = "scienceqa,imagenet"
ALONE = ["batches.size=4"]
TWO = ["trainer.accelerator=cpu", "trainer.devices=2", "batches.size=2"]
FSDP = ["trainer=fsdp", "+callbacks.backend._target_=probes.BackendOfGpus"]
RANKS = {
    "ddp": ["trainer=ddp", *TWO],
    "fsdp": [*FSDP, *TWO],
    "sharded": [*FSDP, "trainer.strategy.trainable=sharded", *TWO, "batches.size=1"],  # two batches to a step
}

OFFLOAD = ["trainer.strategy.offload=true"]
SHARED = {1: ["trainer.accelerator=cpu", "batches.size=2"], 2: ["trainer=fsdp", *TWO]}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(tmp_path_factory.mktemp("devices") / "suite", train=13, test=5)


@pytest.fixture(scope="module")
def command(place, suite: Path):
    def of(name: str, *more: str, tasks: str = TASKS) -> list[str]:
        exact = [
            "adapter.dropout=0.0",
            "optimizer._target_=torch.optim.SGD",
            "optimizer.lr=0.5",
            "+optimizer.momentum=0.9",
            "batches.epochs=1",
            "protocol.global_batch=4",
        ]
        return overrides(suite, place.cache, place.folder / name, *exact, *more, tasks=tasks)

    return of


@pytest.fixture(scope="module")
def alone(place, command) -> Path:
    status, text = place.runs.run(command("devices_alone", *ALONE))
    assert status == 0, text
    return place.folder / "devices_alone"


def distances(one: Path, other: Path) -> dict[str, float]:
    """Largest difference of two runs in a number, by file of tensors."""
    files = sorted(file.relative_to(one) for file in one.glob("task_*/**/*.safetensors"))
    assert files == sorted(file.relative_to(other) for file in other.glob("task_*/**/*.safetensors"))
    assert files
    found = {}
    for file in files:
        mine, theirs = load_file(one / file), load_file(other / file)
        assert mine.keys() == theirs.keys()
        found[str(file)] = max([0.0, *((mine[name] - theirs[name]).abs().max().item() for name in mine)])
    return found


@pytest.fixture(scope="module")
def ended(place, command):
    """Run folder of a kind, killed with SIGKILL behind a checkpoint and then brought to its end."""
    found: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in found:
            name = f"devices_{kind}"
            argv = command(name, *RANKS[kind], *pieces(place, kind))
            start(place, [*argv, *place.kill(2, "train", 3)], 2, -signal.SIGKILL)
            if kind == "fsdp":
                refuse_one_process(place, name, command(name, *SHARED[1]))
                stop_in_step(place, argv)
            start(place, argv, 2, 0, srun if kind == "sharded" else torchrun)
            found[kind] = place.folder / name
        return found[kind]

    return of


def pieces(place, kind: str) -> list[str]:
    return ["+callbacks.pieces._target_=probes.Pieces", f"+callbacks.pieces.folder={place.folder}/pieces_{kind}"]


def start(place, argv: list[str], processes: int, status: int, launcher=torchrun) -> str:
    """What the first of so many processes prints; all end with the status, and the others say nothing."""
    done = together(place, argv, launcher) if processes > 1 else [place.runs.run(argv)]
    assert {found for found, _ in done} == {status}, done
    assert status or not any(text.strip() for _, text in done[1:])
    return done[0][1]


def stop_in_step(place, argv: list[str]) -> None:
    """One process is asked to end while it answers: the others are not left in the middle of a batch."""
    values = {"_target_": "probes.SignalAt", "position": 2, "moment": "predict", "step": 2, "number": 15, "rank": 1}
    start(place, [*argv, *(f"+callbacks.signal.{key}={value}" for key, value in values.items())], 2, 143)


def refuse_one_process(place, name: str, argv: list[str]) -> None:
    """A task that two began; nothing of it changes."""
    before = {file: file.read_bytes() for file in (place.folder / name).rglob("*") if file.is_file()}
    text = start(place, argv, 1, 1)
    assert "task_02_imagenet/last.ckpt: the task was begun by 2 processes and cannot be continued by 1" in text
    assert {file: file.read_bytes() for file in before} == before


def test_the_weights_have_moved(alone: Path):
    """Else equal ends would say nothing."""
    for file in alone.glob("task_*/adapter/*.safetensors"):
        assert max(value.abs().max().item() for name, value in load_file(file).items() if "moelora_B" in name) > 1e-3


@pytest.mark.parametrize("kind", RANKS)
def test_two_processes_end_where_one_does_also_over_a_kill(ended, alone: Path, kind: str):
    assert max(distances(alone, ended(kind)).values()) < 1e-5


@pytest.mark.parametrize("kind", RANKS)
def test_answers_scores_and_router_do_not_depend_on_the_processes(ended, alone: Path, kind: str):
    files = sorted(file.relative_to(alone) for file in alone.glob("task_*/records/*.jsonl"))
    assert len(files) == 2 + 1 + 2
    for file in [*files, Path("matrix.csv"), Path("metrics.json")]:
        assert (ended(kind) / file).read_bytes() == (alone / file).read_bytes(), file
    for file in sorted(alone.glob("task_*/router.json")):
        mine, theirs = (json.loads(path.read_text()) for path in (file, ended(kind) / file.relative_to(alone)))
        for task in mine["load"]:
            torch.testing.assert_close(torch.tensor(theirs["load"][task]), torch.tensor(mine["load"][task]))


@pytest.mark.parametrize("kind", RANKS)
def test_files_hold_whole_tensors_and_no_objects(ended, alone: Path, kind: str):
    run = ended(kind)
    kinds = {file.suffix for file in run.glob("task_*/**/*") if file.is_file()}
    assert kinds <= {".json", ".jsonl", ".safetensors", ".md"}
    for position in (1, 2):
        mine, theirs = (
            json.loads(next(path.glob(f"task_0{position}*/train.json")).read_text()) for path in (alone, run)
        )
        for key in ("steps", "samples", "trainable_parameters", "checkpoint_bytes"):
            assert mine[key] == theirs[key]


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_goes_on_between_tasks_with_another_number_of_processes(place, command, ended, alone, first, then):
    name = f"devices_{first}_to_{then}"
    if first == 1:
        start(place, command(name, *SHARED[first], *place.kill(2, "train", 1)), first, -signal.SIGKILL)  # nothing saved
    else:  # as if the second task had never begun
        shutil.rmtree(shutil.copytree(ended("fsdp"), place.folder / name) / "task_02_imagenet")
    start(place, command(name, *SHARED[then]), then, 0)
    assert max(distances(alone, place.folder / name).values()) < 1e-5
    trained = [json.loads(file.read_text()) for file in sorted((place.folder / name).glob("task_*/train.json"))]
    assert [task["devices"] for task in trained] == [first, then]


def test_each_process_holds_half_of_the_layers(place, ended):
    """Of a layer's frozen numbers, or of all; what learns is whole or half, the projector always whole."""
    held = {}
    for kind in RANKS:
        ended(kind)
        held[kind] = [json.loads((place.folder / f"pieces_{kind}" / f"{rank}.json").read_text()) for rank in (0, 1)]
    (all_of_it, _) = held["ddp"]
    for rank in (0, 1):
        assert held["ddp"][rank] == all_of_it
        assert held["fsdp"][rank] == {**all_of_it, "layers": all_of_it["layers"] // 2}
        assert held["sharded"][rank] == {**held["fsdp"][rank], "adapter": all_of_it["adapter"] // 2}


def test_what_methods_keep_does_not_depend_on_the_processes(place, command):
    """Slots that grow between tasks, prototypes over all samples and importances of an odd number of them."""
    more = ["method=hide_llava", "+plugin=ewc", "plugin.ewc.fisher_samples=5", "plugin.ewc.weight=10"]
    start(place, command("methods_alone", *ALONE, *more), 1, 0)
    start(place, command("methods_fsdp", *RANKS["fsdp"], *OFFLOAD, *more, "batches.size=1"), 2, 0)
    found = distances(place.folder / "methods_alone", place.folder / "methods_fsdp")
    state = load_file(place.folder / "methods_alone" / "task_02_imagenet" / "method_state.safetensors")
    assert len([value for value in state.values() if value.any()]) > 3
    assert max(found.values()) < 1e-5
    for file in sorted((place.folder / "methods_alone").glob("task_*/records/*.jsonl")):
        other = place.folder / "methods_fsdp" / file.relative_to(place.folder / "methods_alone")
        assert other.read_bytes() == file.read_bytes()


def test_an_adapter_that_does_not_learn_stays_whole(place, command):
    """L2P's: it is saved with the others, and nobody gathers it."""
    start(place, command("l2p_fsdp", *RANKS["fsdp"], "method=l2p", "data.limit_train=4", tasks="imagenet"), 2, 0)
    saved = load_file(place.folder / "l2p_fsdp" / "task_01_imagenet" / "adapter" / "adapter_model.safetensors")
    assert {tuple(value.shape) for name, value in saved.items() if "q_proj.lora_A" in name} == {(1, 32)}
