"""Start to first batch on a file of CoIN's size: our reading and checking against `datasets.load_dataset` and `map`.

    python experiments/benchmarks/reading.py

Each side runs in a process of its own, and its time begins when the process does: imports, tokenizer, reading, and the
first collated batch of training samples in the order of the sampler. Ours includes every check of a run's start:
samples and ids, whether the prompts fit the context, every image. The first start parses the file, counts tokens and
decodes every image (`survey` is that part); later ones find the table of samples, the lengths and the image ledger.
Theirs reads the same file, tokenises it with `map`, and loads no images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from coin_sized import write
from harness import RESULTS, machine, show, write_json
from memory import resident

AIM_FIRST, AIM_SECONDS, AIM_BYTES, AIM_RATIO = 60.0, 20.0, 1.5e9, 1.0
BATCH, CONTEXT = 8, 2048
SIDES = ("ours", "datasets")


class Phases:
    """Wall and CPU seconds from the start of the process to named points."""

    def __init__(self, born: float) -> None:
        self.born = born
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def reached(self, name: str) -> None:
        """This is the point."""
        self.wall[name], self.cpu[name] = time.time() - self.born, time.process_time()


def backbone_for(name: str) -> Any:
    """Tokenizer, prompt and image preprocessing; no weights that would count as memory of the reading."""
    from coin_lightning.backbones import llava_smol, tiny

    if name == "tiny":
        return tiny.load(max_length=8 * CONTEXT)  # its tokens are bytes
    return llava_smol.load(max_length=CONTEXT, weights=False)


def ours(root: Path, args: argparse.Namespace, phases: Phases) -> dict[str, Any]:
    """Read, check, and collate the first batch."""
    from coin_lightning.tasks.base import InstructionTask
    from coin_lightning.tasks.image_ledger import LEDGER, ImageLedger
    from coin_lightning.tasks.options import BatchOptions, DataOptions

    phases.reached("imports")
    backbone = backbone_for(args.backbone)
    data = DataOptions(root=root, features=root / "features", cache_features=False)
    task = InstructionTask("gqa", "GQA", data, BatchOptions(size=BATCH))
    task.connect(backbone)
    phases.reached("tokenizer")
    task.read()
    phases.reached("samples")
    ImageLedger(root / "features" / LEDGER).survey(task.image_root, task.train_samples.images)
    phases.reached("survey")
    task.check()
    phases.reached("checks")
    batch = next(iter(task.train_dataloader()))
    phases.reached("first batch")
    return {"samples": len(task.train_samples), "ids": batch["ids"], "shape": list(batch["input_ids"].shape)}


def theirs(root: Path, args: argparse.Namespace, phases: Phases) -> dict[str, Any]:
    """`load_dataset`, `map`, and the first batch of a shuffled loader."""
    import datasets
    import torch

    from coin_lightning.tasks.sample_format import train_sample

    phases.reached("imports")
    backbone = backbone_for(args.backbone)
    tokenizer, prompt = backbone.tokenizer, backbone.prompt
    phases.reached("tokenizer")
    datasets.disable_progress_bars()
    file = root / "Instructions_Original" / "GQA" / "train.json"
    samples = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(root / "cache"))
    phases.reached("samples")

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        talks = (train_sample({"id": 0, "conversations": talk}, (), "").turns for talk in batch["conversations"])
        return {"input_ids": tokenizer([prompt.render(turns)[0] for turns in talks])["input_ids"]}

    tokens = samples.map(tokenise, batched=True, remove_columns=["conversations"])
    phases.reached("map")

    def collate(part: list[dict[str, Any]]) -> tuple[list[str], torch.Tensor]:
        ids = [torch.tensor(sample["input_ids"]) for sample in part]
        return [sample["id"] for sample in part], torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)

    loader = torch.utils.data.DataLoader(tokens, batch_size=BATCH, shuffle=True, collate_fn=collate)
    ids, batch = next(iter(loader))
    phases.reached("first batch")
    return {"samples": len(tokens), "ids": ids, "shape": list(batch.shape)}


def one_side(args: argparse.Namespace) -> dict[str, Any]:
    """Measure in this process."""
    phases = Phases(args.born)
    found = (ours if args.side == "ours" else theirs)(Path(args.data), args, phases)
    return {**found, "wall": phases.wall, "cpu": phases.cpu, "peak_bytes": resident("VmHWM")}


def in_process(side: str, root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The same in a new process.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    command = [sys.executable, __file__, "--side", side, "--data", str(root), "--backbone", args.backbone]
    done = subprocess.run([*command, "--born", repr(time.time())], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"side {side} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=600_000)
    parser.add_argument("--images", type=int, default=120_000, help="distinct paths, hard links to small files")
    parser.add_argument("--rounds", type=int, default=1, help="of our side; the median counts")
    parser.add_argument("--backbone", choices=["llava_smol", "tiny"], default="llava_smol", help="whose tokenizer")
    parser.add_argument("--cpu-time", action="store_true", help="compare CPU time: for a machine with other work to do")
    parser.add_argument(
        "--side", choices=SIDES, help="measure one side here and print JSON (used by the script itself)"
    )
    parser.add_argument("--data", help="folder of the data, with --side")
    parser.add_argument("--born", type=float, default=0.0, help="when the process was started, with --side")
    parser.add_argument("--out", default=str(RESULTS / "reading.json"))
    return parser.parse_args(argv)


def measure(root: Path, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A first start, which fills the ledger of images, later starts, and `datasets` once: it caches what it does."""
    first = in_process("ours", root, args)
    later = [in_process("ours", root, args) for _ in range(args.rounds)]
    assert all(run["ids"] == first["ids"] for run in later)
    return {"first start": [first], "ours": later, "datasets": [in_process("datasets", root, args)]}


def main(argv: list[str] | None = None) -> None:
    """Write the data, measure both sides, print, write."""
    args = parse(argv)
    if args.side:
        print(json.dumps(one_side(args)))
        return
    found = machine()
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), args.samples, args.images)
        size = file.stat().st_size
        runs = measure(Path(folder), args)
    clock = "cpu" if args.cpu_time else "wall"
    seconds = {side: median(run[clock]["first batch"] for run in part) for side, part in runs.items()}
    first = runs["first start"][0][clock]
    survey = first["survey"] - first["samples"]
    peaks = {side: max(run["peak_bytes"] for run in part) for side, part in runs.items()}
    show(
        f"start to first batch, {args.samples} samples, {size / 1e6:.0f} MB",
        ["side", f"{clock} seconds", "peak, MB"],
        [[side, seconds[side], round(peaks[side] / 1e6)] for side in runs],
    )
    content = {
        "benchmark": "reading",
        "aim": {
            "first_without_survey_at_most": AIM_FIRST,
            "seconds_at_most": AIM_SECONDS,
            "bytes_at_most": AIM_BYTES,
            "ours_over_datasets_at_most": AIM_RATIO,
        },
        "machine": found | {"clock": f"{clock} time"},
        "samples": args.samples,
        "file_bytes": size,
        "images": args.images,
        "backbone": args.backbone,
        "context": CONTEXT,
        "rounds": args.rounds,
        "compares": " ".join((__doc__ or "").split("\n\n")[-1].split()),
        "first_without_survey": seconds["first start"] - survey,
        "seconds": seconds["ours"],
        "peak_bytes": max(peaks["first start"], peaks["ours"]),
        "ours_over_datasets": seconds["ours"] / seconds["datasets"],
        "results": runs,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()
