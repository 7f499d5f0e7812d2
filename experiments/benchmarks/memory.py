"""Memory: peak of a training step, ours against `transformers.Trainer`, and what each keeps on disk per task.

    python experiments/benchmarks/memory.py

Each side runs in a process of its own. On a CPU the peak is that of the resident set, counted from the first step on
(Linux); on a GPU it is what PyTorch had allocated.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from harness import RESULTS, machine, show, write_json
from ours import common_facts, config_for, continual, cross_section, device, fit, options, prepared
from trainer_side import make_trainer, plain
from transformers import TrainerCallback

from coin_lightning.adapters.build import save_adapter
from coin_lightning.processes import peak_memory
from coin_lightning.seeding import seed_everything

SIDES = {"ours": ("moelora",), "trainer": ("lora", "backbone.fast=off")}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int | None:
    """`VmRSS` or `VmHWM` (its highest value) of this process in bytes; None where the system does not say."""
    if not STATUS.exists():
        return None
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def start_peak() -> int:
    """Forget earlier peaks where the system lets us; bytes in use now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        CLEAR.write_text("5")
    except OSError as error:
        print(f"peak cannot be reset ({error}); it includes the loading of the model", file=sys.stderr)
    return resident("VmRSS") or 0


def peak(device: torch.device) -> int:
    """Highest use in bytes since `start_peak`."""
    return peak_memory(device) if device.type == "cuda" else resident("VmHWM") or peak_memory(device)


class LightningProbe(L.Callback):
    """Peak after each step."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning's hook."""
        self.before = start_peak()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **options: Any) -> None:
        """Lightning's hook."""
        self.peak = peak(pl_module.device)


class TrainerProbe(TrainerCallback):
    """Peak after each step, before anything is saved."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def on_train_begin(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        self.before = start_peak()

    def on_step_end(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        self.peak = peak(self.device)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def one_side(side: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train and save in this process."""
    config = config_for(args, *SIDES[side])
    module = continual(config)
    (task,) = prepared(config, module.backbone, args.tasks[:1])
    task.train_samples = cross_section(task, args.steps)
    seed_everything(args.seed)
    with tempfile.TemporaryDirectory() as text:
        folder, probe = Path(text), LightningProbe()
        if side == "ours":
            fit(config, module, task, probe)
            save_adapter(module.peft, folder)
        else:
            trainer, _ = make_trainer(config, plain(module), task, folder, save="epoch")
            probe = TrainerProbe(trainer.args.device)
            trainer.add_callback(probe)
            trainer.train()
        files = sizes(folder)
    model = sum(tensor.numel() * tensor.element_size() for tensor in module.backbone.model.state_dict().values())
    return {
        "samples": [sample.id for sample in task.train_samples],
        "bytes_before": probe.before,
        "peak_bytes": probe.peak,
        "checkpoint_bytes": sum(files.values()),
        "checkpoint_files": files,
        "whole_model_bytes": model,
        "trainable_parameters": sum(parameter.numel() for parameter in module.trainable().values()),
        "settings": common_facts(args, config, module),
    }


def in_process(side: str, argv: list[str]) -> dict[str, Any]:
    """The same in a new process.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    done = subprocess.run(
        [sys.executable, __file__, *argv, "--side", side], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"side {side} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, ["scienceqa"], rounds=1)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument(
        "--side", choices=list(SIDES), help="measure one side here and print JSON (used by the script itself)"
    )
    parser.add_argument("--out", default=str(RESULTS / "memory.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure both sides, print, write."""
    args = parse(argv)
    if args.side:
        print(json.dumps(one_side(args.side, args)))
        return
    found = machine(device())
    results = {side: in_process(side, list(sys.argv[1:] if argv is None else argv)) for side in SIDES}
    ours, theirs = results["ours"], results["trainer"]
    mib = [
        [name, *(part[key] / 2**20 for key in ("peak_bytes", "bytes_before", "checkpoint_bytes"))]
        for name, part in results.items()
    ]
    show("memory and disk, MiB", ["side", "peak of a step", "before it", "checkpoint per task"], mib)
    content = {
        "benchmark": "memory",
        "aim": {"peak_ours_over_trainer_at_most": 1.0, "checkpoint_ours_over_trainer_at_most": 1.0},
        "machine": found,
        **ours["settings"],
        "steps": args.steps,
        "compares": "peak while training on the same samples, each side in its own process; ours: MoELoRA, adapter in "
        "PEFT's format; "
        "the Trainer: LoRA of the same rank and its checkpoint (adapter, optimizer, scheduler, random state)",
        "peak_ours_over_trainer": ours["peak_bytes"] / theirs["peak_bytes"],
        "checkpoint_ours_over_trainer": ours["checkpoint_bytes"] / theirs["checkpoint_bytes"],
        "checkpoint_ours_over_whole_model": ours["checkpoint_bytes"] / ours["whole_model_bytes"],
        "results": results,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()
