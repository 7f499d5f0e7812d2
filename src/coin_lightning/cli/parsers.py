"""Arguments of the commands beside `train`: their `--help` needs nothing of what they do, and answers at once."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from coin_lightning.continual.free_keys import MACHINE, PLACES
from coin_lightning.metrics.score_matrix import CELLS

PROGRAM = "python -m coin_lightning"
CONVERSIONS = ("qwen_vl", "minigpt_v2")
FREE = (*PLACES, *MACHINE)
"""Config keys of a run that say where something lies or what computes it; `evaluate` takes no other."""


def evaluate_parser() -> argparse.ArgumentParser:
    """Of `evaluate RUN [KEY=VALUE ...]`."""
    cells = f"evaluation={'|'.join(CELLS)} (default {CELLS[1]})"
    keys = f"{cells}, experience=3 or [1,3], answers.batch_size=8, and {', '.join(FREE)}"
    text = """Evaluate what a run has left out. Loads the backbone and, for each finished experience, the weights that
        the run has kept; answers and scores only the cells of the score matrix that are missing. Interrupted, the same
        command goes on."""
    return _of_run("evaluate", text, "run folder; its experiences so far are finished", "KEY=VALUE", keys)


def score_parser() -> argparse.ArgumentParser:
    """Of `score RUN [evaluation.scorers=...]`."""
    keys = "a variant that tasks have, as corrected or reference; default: the run's own"
    text = """Score the kept answers of a run again, by the newest version of each task's scorers. Needs no model, no
        data set and no GPU. All variants are computed; evaluation.scorers says which one is printed and written to
        RUN/rescored/<variant>/. The variant that the run itself uses stays what it is."""
    parser = _of_run("score", text, "run folder, finished or not", "evaluation.scorers=...", keys)
    where = "config folder with the yaml of tasks of your own, as the run was given it"
    parser.add_argument("--config-dir", "-cd", dest="folders", action="append", type=Path, default=[], help=where)
    return parser


def judge_parser() -> argparse.ArgumentParser:
    """Of `judge RUN [judge=...]`."""
    keys = "judge=embedding|hf|hf_published|openai and options like judge.model=...; default: the run's own judge"
    text = """Grade the answers of a run, finished or not. Reads the answers that the run has kept; no backbone and no
        data set is needed. Several judges stand side by side."""
    return _of_run("judge", text, "run folder", "judge=...", keys)


def report_parser() -> argparse.ArgumentParser:
    """Of `report RUN [RUN ...]`."""
    text = """Re-make the page of a run, or compare several. Reads artefacts only: no model, no data set and no GPU is
        needed."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} report", description=text)
    runs = """run folder (or its matrix.json); of one also bounds.individual=RUNS, single-task runs or a pattern of
        their folders, for intransigence, and bounds.joint=RUN, a joint run, for retention"""
    parser.add_argument("runs", nargs="+", metavar="RUN", help=runs)
    output = "folder for comparison.html, its figures and its tables"
    parser.add_argument("-o", "--output", "--out", type=Path, default=Path("comparison"), metavar="DIR", help=output)
    baseline = """test all others against this one, named as in the table or by its method: paired by seed, order of
        tasks and test sample, with Holm's correction"""
    parser.add_argument("--baseline", metavar="NAME", help=baseline)
    allow = """fields in which runs may differ and be averaged all the same: of the protocol (epochs), keys of the
        config or a part of one (optimizer.weight_decay), data, test_samples"""
    parser.add_argument("--allow", default="", metavar="FIELD[,FIELD]", help=allow)
    records = "read scores only, not the answers: faster for very many runs, without tests, intervals and flips"
    parser.add_argument("--no-records", dest="records", action="store_false", help=records)
    return parser


def import_parser() -> argparse.ArgumentParser:
    """Of `import coin FOLDER --out RUNS`."""
    text = """Make runs of this project out of results that CoIN's code or a fork of it has written: every folder below
        FOLDER that holds <Task>/<Stage>/ with merge.jsonl, Result.text, output_result.jsonl or Prompt_Result.text
        becomes a run folder with matrix, metrics and page, and with --data records and all variants of the rules.
        Answers are joined with their truth by id. What is missing is told and stays empty; such a run cannot be
        continued."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} import", description=text)
    parser.add_argument("kind", choices=("coin",), help="layout of the results")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with the results of one or many runs")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUNS", help="folder for the run folders")
    data = "ground truth: data root in CoIN's layout, as paths.coin; images need not be there"
    parser.add_argument("--data", type=Path, metavar="ROOT", help=data)
    instructions = "folder in ROOT with the questions that were asked (default: %(default)s)"
    parser.add_argument("--instructions", default="Instructions_Original", metavar="NAME", help=instructions)
    order = """tasks as they were learned: coin, coin_alphabet (CoIN's scripts of that name: Grounding is fourth),
        alphabetical, reversed or task,task,... (default: the first of the first three that the stages fit)"""
    parser.add_argument("--order", help=order)
    where = "config folder with the yaml of tasks of your own"
    parser.add_argument("--config-dir", "-cd", dest="folders", action="append", type=Path, default=[], help=where)
    return parser


def runs_parser() -> argparse.ArgumentParser:
    """Of `runs [FOLDER ...]`."""
    text = """List the runs below some folders: state, what differs between them, accuracy, backward transfer, time,
        room on the disk. Reads artefacts only."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} runs", description=text)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("runs")], metavar="FOLDER", help="default: runs")
    again = "give the commands of failed and stopped runs again, one after the other; what was done is kept"
    parser.add_argument("--rerun-failed", action="store_true", help=again)
    prune = """say what nothing needs any more and what removing it would free: in finished runs the adapters and
        states of all experiences but the last, without which evaluate cannot fill further cells; --yes removes it"""
    parser.add_argument("--prune", action="store_true", help=prune)
    parser.add_argument("--yes", action="store_true", help="with --prune: remove it")
    return parser


def dashboard_parser() -> argparse.ArgumentParser:
    """Of `dashboard PROJECT [--entity E] [--tasks A,B]`."""
    text = """Make a workspace and a report of a Weights & Biases project: forgetting and score of each task over the
        sequence, the final metrics over expert count and rank, the matrix, example answers. Each call makes new
        ones."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} dashboard", description=text)
    parser.add_argument("project", metavar="PROJECT", help="where runs were logged: logger.wandb.project")
    parser.add_argument("--entity", help="team or user; default: that of who is logged in")
    parser.add_argument("--tasks", metavar="A,B,...", help="tasks whose curves are shown; default: those of CoIN")
    return parser


def convert_parser() -> argparse.ArgumentParser:
    """Of `convert qwen_vl|minigpt_v2 SRC OUT`."""
    text = """Make Qwen-VL, Qwen-VL-Chat or MiniGPT-v2, which are published for code of their own, into a folder for
        backbone.path that runs without it. Names, shapes and room are checked before any weight is read; a part is in
        memory at a time; interrupted, the same command goes on. conversion.json in OUT has the hashes of what was
        read."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} convert", description=text)
    parser.add_argument("kind", choices=CONVERSIONS, help="model")
    source = """folder with the published files: of Qwen-VL config.json, qwen.tiktoken and the weights; of MiniGPT-v2
        the folder of Llama-2-7b-chat-hf, eva_vit_g.pth and the checkpoint of its second or third stage"""
    parser.add_argument("source", type=Path, metavar="SRC", help=source)
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    lora = """MiniGPT-v2: the LoRA of its last stage is merged into Llama (default; starting_weights=instruction_tuned),
        or left out, as CoIN's published code does (starting_weights=pretrained)"""
    parser.add_argument("--lora", choices=("merged", "left_out"), default=None, help=lora)
    for part, what in (
        ("language-model", "folder of Llama-2-7b-chat-hf"), ("vision-tower", "eva_vit_g.pth"),
        ("checkpoint", "checkpoint of the last stage"),
    ):  # fmt: skip
        parser.add_argument(f"--{part}", type=Path, help=f"MiniGPT-v2: {what}, where it is not in SRC")
    return parser


def estimate_parser() -> argparse.ArgumentParser:
    """Of `estimate [KEY=VALUE ...]`."""
    text = """Say what a run with these overrides would take: parameters, memory per device, features on disk, batches.
        Reads config.json, tokenizer and image preprocessing of the backbone; needs no weights and no data set. Counts
        for a GPU with bfloat16 unless trainer.accelerator=cpu."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} estimate", description=text)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for training, +experiment=... included")
    parser.add_argument("--json", action="store_true", help="print JSON, in bytes, instead of tables")
    longest = "tokens of every sample; default: backbone.max_length"
    parser.add_argument("--length", type=int, metavar="TOKENS", help=longest)
    where = "config folder of your own, as the run is given it"
    parser.add_argument("--config-dir", "-cd", dest="folders", action="append", type=Path, default=[], help=where)
    return parser


def assets_parser() -> argparse.ArgumentParser:
    """Of `assets`."""
    text = """Fetch and convert everything the embedded default needs, once. Afterwards no command of the project needs
        a network."""
    return argparse.ArgumentParser(prog=f"{PROGRAM} assets", description=text)


PARSERS: Mapping[str, Callable[[], argparse.ArgumentParser]] = {
    "evaluate": evaluate_parser,
    "score": score_parser,
    "judge": judge_parser,
    "estimate": estimate_parser,
    "report": report_parser,
    "import": import_parser,
    "runs": runs_parser,
    "dashboard": dashboard_parser,
    "convert": convert_parser,
    "assets": assets_parser,
}


def _of_run(command: str, text: str, folder: str, override: str, keys: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {command}", description=text)
    parser.add_argument("run", type=Path, metavar="RUN", help=folder)
    parser.add_argument("overrides", nargs="*", metavar=override, help=keys)
    return parser
