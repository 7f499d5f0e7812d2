"""Loop: our whole `fit` (Lightning Trainer with all callbacks, checkpoints, progress and the CSV logger) against a
plain PyTorch loop over the same batches of the same model.

    python experiments/benchmarks/loop.py

Whole calls are timed: start of the fit, mid-task checkpoints and the saved adapter count on our side.
"""

import argparse
import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from bare_loop import Recipe, epoch
from harness import RESULTS, interleaved, machine, milliseconds, ratio, show, write_json
from omegaconf import DictConfig, OmegaConf
from ours import common_facts, config_for, continual, cross_section, device, options, prepared
from rich.console import Console

from coin_lightning.cli.build import build
from coin_lightning.cli.trainers import TrainerFactory
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.progress import SequenceProgress
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.scenario import Experience, Scenario
from coin_lightning.module import ContinualMLLM
from coin_lightning.seeding import seed_everything
from coin_lightning.tasks.base import InstructionTask

AIM = 1.05
OURS, BARE = "our fit", "bare loop"


class Losses(L.Callback):
    """The loss of each step, of which there is one per batch here."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """Lightning's hook."""
        self.values.append(outputs["loss"].item())


def whole_fit(config: DictConfig, module: ContinualMLLM, task: InstructionTask, losses: dict[str, list[float]]) -> None:
    """One task as `python -m coin_lightning` fits it, in a run folder of its own."""
    seed_everything(config.seed)
    scenario: Scenario = build(config.scenario)
    scenario.tasks = [task]
    progress = SequenceProgress(Console(file=io.StringIO()))
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder), [task.name])
        loop = ContinualLoop(scenario, build(config.evaluation), run, config.seed)
        progress.follow(loop)
        loop.experience = Experience(1, task, run.folder(1), None, False)
        module.total_steps = task.steps_per_epoch()
        make, seen = TrainerFactory(config, {}, loop, progress, module), Losses()
        trainer = make(loop.experience)
        trainer.callbacks.append(seen)
        trainer.fit(module, datamodule=task)
        make.close()
        assert (run.folder(1) / "adapter").is_dir()
    losses[OURS] = seen.values


def bare(module: ContinualMLLM, task: InstructionTask, clip: float, losses: dict[str, list[float]]) -> None:
    """The same batches without any of it."""
    seed_everything(0)
    losses[BARE] = []
    epoch(module, task, Recipe(), clip, losses[BARE])


def restored(weights: dict[str, torch.Tensor], module: ContinualMLLM, run: Any) -> None:
    """Run from the same weights each time."""
    module.load_state_dict(weights, strict=False)
    run()


def measure(
    config: DictConfig, module: ContinualMLLM, task: InstructionTask, args: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of both sides, and the losses of their first steps, which must agree."""
    losses: dict[str, list[float]] = {}
    weights = {name: parameter.detach().clone() for name, parameter in module.trainable().items()}
    runs = {
        OURS: partial(whole_fit, config, module, task, losses),
        BARE: partial(bare, module, task, config.trainer.gradient_clip_val, losses),
    }
    sides = {name: partial(restored, weights, module, run) for name, run in runs.items()}
    times = interleaved(sides, repeats=args.rounds, warmup=args.warmup, limit_s=args.limit_s)
    return {
        "samples": len(task.train_samples),
        "steps": task.steps_per_epoch(),
        "seconds": times,
        "ours_over_bare": ratio(times, OURS, BARE),
        "losses": losses,
    }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, ["gqa"], rounds=2, limit_s=90.0)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--warmup", type=int, default=0, help="rounds that do not count")
    parser.add_argument("--out", default=str(RESULTS / "loop.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse(argv)
    config = config_for(args)
    found = machine(device())
    module = continual(config)
    (task,) = prepared(config, module.backbone, args.tasks[:1])
    task.train_samples = cross_section(task, args.steps)
    epoch(module, task, Recipe(), config.trainer.gradient_clip_val, limit=2)  # warm
    result = measure(config, module, task, args)
    samples = [[name, milliseconds(seconds) / result["steps"]] for name, seconds in result["seconds"].items()]
    show(
        f"loop, {module.backbone.name}, {result['steps']} steps: ours / bare = {result['ours_over_bare']:.3f}",
        ["side", "ms per step"],
        samples,
    )
    content = {
        "benchmark": "loop",
        "aim": {"ours_over_bare_at_most": AIM},
        "machine": found,
        **common_facts(args, config, module),
        "config": OmegaConf.to_container(config.callbacks, resolve=True),
        "compares": "wall time of one whole fit (set-up, callbacks, CSV log, checkpoints, saved adapter) against a "
        "loop of "
        "forward, backward, clipping and AdamW over the same batches of the same model",
        "ours_over_bare": result["ours_over_bare"],
        "results": result,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()
