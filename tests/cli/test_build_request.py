"""Command lines of `data build` that make sense, and what is said about those that do not."""

from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.options import BuildOptions
from coin_lightning.cli.build_request import Request, parse
from coin_lightning.errors import ConfigError


def request(raw: Path, *arguments: str, task: str = "gqa") -> Request:
    return parse([f"task={task}", f"raw={raw}", "out=/data/coin", *arguments])


def test_defaults(tmp_path):
    found = request(tmp_path)
    assert [(task.key, raw) for task, raw in found.tasks] == [("gqa", tmp_path)]
    assert (found.absent, found.out, found.options) == ([], Path("/data/coin"), BuildOptions())


def test_every_key(tmp_path):
    arguments = ("types=[diverse, original]", "seed=3", "skip=true", "images=copy", "grouped=False", "ocr=rosetta")
    assert request(tmp_path, *arguments, task="textvqa").options == BuildOptions(
        ("diverse", "original"), 3, True, "copy", False, {"ocr": "rosetta"}
    )
    assert request(tmp_path, "types=10type").options.types == ("10type",)


def test_all_takes_the_folders_that_are_there(tmp_path):
    for name in ("GQA", "OCR-VQA", "refer"):
        (tmp_path / name).mkdir()
    found = request(tmp_path, task="all")
    assert [(task.key, raw.name) for task, raw in found.tasks] == [
        ("gqa", "GQA"), ("grounding", "refer"), ("ocrvqa", "OCR-VQA"),
    ]  # fmt: skip
    assert [task.key for task in found.absent] == ["scienceqa", "textvqa", "imagenet", "vizwiz", "vqav2"]
    found = request(tmp_path, task="vqav2,gqa")
    assert ([task.key for task, _ in found.tasks], [task.key for task in found.absent]) == (["gqa"], ["vqav2"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["raw=.", "out=x"], "task= is missing"),
        (["task=gqa", "out=x"], "raw= is missing"),
        (["task=gqa", "raw=."], "out= is missing"),
        (["task=gqa", "raw=", "out=x"], "raw= is missing"),
        (["gqa"], "gqa: must be key=value"),
        (["task=gqa", "task=vqav2"], "task: is given twice"),
        (["task=qga", "raw=.", "out=x"], "task=qga: there is no 'qga'; did you mean gqa?"),
        (["task=[]", "raw=.", "out=x"], "task=: there is no ''; choose from all, gqa"),
        (["task=gqa", "raw=.", "out=x", "imagse=link"], "imagse: there is no such key for task=gqa; did you"),
        (["task=gqa", "raw=.", "out=x", "ocr=rosetta"], "ocr: there is no such key for task=gqa"),
        (["task=gqa", "raw=.", "out=x", "types=orignal"], "types=orignal: there is no 'orignal'; did you mean orig"),
        (["task=gqa", "raw=.", "out=x", "images=hard"], "images=hard: there is no 'hard'; choose from copy, link"),
        (["task=gqa", "raw=.", "out=x", "seed=-1"], "seed=-1: must be a whole number from 0 on"),
        (["task=gqa", "raw=.", "out=x", "skip=yes"], "skip=yes: must be true or false"),
        (["task=gqa", "raw=/no/where", "out=x"], "raw=/no/where: there is no such folder"),
        (["task=all", "raw={empty}", "out=x"], "holds none of the raw data sets; build --help lists their folders"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, arguments, words):
    with pytest.raises(ConfigError) as caught:
        parse([argument.format(empty=tmp_path) for argument in arguments])
    assert words in str(caught.value)
