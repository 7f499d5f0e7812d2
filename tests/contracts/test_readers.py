"""Readers of files from outside, fuzzed: whatever bytes a file has, each gives a value or a `CoinLightningError` that
names the file; never another exception, endless work or memory without end.

The suite draws the same few files each time. `HYPOTHESIS_PROFILE=long` draws many others.
"""

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors.torch import save

from coin_lightning import json_files, json_stream, manifest
from coin_lightning.cli.evaluate import run_config
from coin_lightning.cli.judge_config import judge_config
from coin_lightning.errors import AssetError, CoinLightningError
from coin_lightning.evaluation.judges.replies import Judged, read_replies
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.run_scoring import newest_scoring
from coin_lightning.imports.coin import Results
from coin_lightning.reporting.html import _environment_rows
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.run_files import read_json
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.samples import read_test, read_train
from coin_lightning.tasks.subsets import listed_ids
from coin_lightning.tasks.truth import BoxFields, GQAAnswers, SampleFields, ScienceQAProblems, TextVQAAnswers
from coin_lightning.weight_files import read_safetensors
from coin_results import write_answers, write_judged, write_options, write_printed
from run_configs import config_of as composed

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))  # for fake_run, whatever import mode pytest uses

from fake_run import add_judge, add_variants, build_run

settings.register_profile(
    "suite",
    derandomize=True,
    database=None,
    max_examples=30,
    deadline=5000,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.register_profile("long", settings.get_profile("suite"), derandomize=False, max_examples=600)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

ROOM = 2 << 30
"""Bytes that a reader may take beyond what the process has."""
HUGE = 987654321987654321
"""Stands for a number of more digits than Python reads."""
ODD = (
    None, True, -1, 0, 1.5, 10**30, HUGE, float("inf"), float("nan"), "", "x", "\ud800", "\0", "../x", "${oc.env:HOME}",
    [], [[]], [None], {}, {"": {}}, {"_target_": "os.getcwd"}, "1e999", "9" * 30,
)  # fmt: skip
PIECES = (b"\n", b'"', b"9", b"\xff", b"{", b"]", b",", b":")
DEEP = b"[" * 30_000


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A reader that takes memory without end gets a MemoryError, which no reader may raise."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# what is drawn


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values within a value of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """The value with another one at a path; `...` takes away what is there."""
    if not path:
        return None if odd is ... else odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    if odd is ... and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = put(value[path[0]], path[1:], odd)
    return copy


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of a sound file, cut, changed, put in or doubled at a few places."""
    for at in draw(st.lists(st.floats(0, 1), min_size=1, max_size=3)):
        start = int(at * len(content))
        gone, new = draw(st.integers(0, 12)), draw(st.binary(max_size=6) | st.sampled_from(PIECES))
        content = content[:start] + new + content[start + gone :]
    return content[: int(draw(st.floats(0, 1)) * len(content))] if draw(st.booleans()) else content


@st.composite
def altered(draw: st.DrawFn, value: Any, text: Callable[[Any], str]) -> bytes:
    """A sound value with odd ones in it."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        value = put(value, path, draw(st.sampled_from([*ODD, ...])))
    return text(value).replace(str(HUGE), "9" * 5000).encode("utf-8", "surrogatepass")


def lines_of(values: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(each) + "\n" for each in values) if isinstance(values, list) else json.dumps(values)


def yaml_of(value: Any) -> str:
    """Yaml, in which JSON's text is none of its own."""
    return yaml.safe_dump(value)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Files that were once sound, or never."""
    kinds: list[st.SearchStrategy[bytes]] = [st.binary(max_size=64), edited(content), st.sampled_from([b"", DEEP])]
    forms = ((json.loads, json.dumps), (_lines, lines_of), (yaml.safe_load, yaml_of))
    for read, text in forms:
        try:
            value = read(content.decode())
        except (ValueError, yaml.YAMLError):
            continue
        kinds += [altered(value, text)] * 2
        break
    return st.one_of(kinds)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# what is read


class Reader(NamedTuple):
    """A file with its sound content below a folder, and what reads it there. `beside`: further files."""

    name: str
    file: str
    content: bytes
    read: Callable[[Path], Any]
    beside: Callable[[Path], Any] = lambda folder: None


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


SAMPLES = [
    {"id": "a", "image": "a.jpg", "conversations": [
        {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat"}]},
    {"question_id": 2, "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So"}]},
]  # fmt: skip
QUESTIONS = [
    {"question_id": "1", "image": "a.jpg", "text": "Where?", "answer": "here", "answers": ["a"] * 10,
     "answer_bbox": "[0.1,0.2,0.3,0.4]", "size": [3, 4]},
    {"id": 2, "text": "Who?", "answer": "me", "answer_bbox": [0.1, 0.2, 0.3, 0.4], "size": [30, 40]},
]  # fmt: skip
RECORD = {"task": "gqa", "question_id": "1", "prompt": "p", "prediction": "x", "reference": {"answer": "x"}}
PROBLEMS = {key: {"choices": ["a", "b"], "answer": 1, "hint": "h", "grade": "grade2", "subject": "s"} for key in "12"}
ANNOTATED = {"data": [{"question_id": key, "answers": ["a"] * 10} for key in "12"]}


def images(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"image")


def truth_of(kind: Callable[[], Any]) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        return kind()(read_test(folder / "questions.json", None), folder)

    return read


def questions(folder: Path) -> None:
    (folder / "questions.json").write_text(json.dumps(QUESTIONS))


def stored(folder: Path) -> None:
    """A store of two images."""
    store = FeatureStore(folder / "store", 3)
    store.add(["a" * 64, "b" * 64], torch.arange(12.0).reshape(2, 2, 3))


def features(folder: Path) -> None:
    store = FeatureStore(folder / "store", 3)
    for digest in ["a" * 64, "b" * 64]:
        if digest in store:
            store.get(digest)


def store_file(name: str) -> bytes:
    with TemporaryDirectory() as scratch:
        stored(Path(scratch))
        return (Path(scratch) / "store-v3" / name).read_bytes()


def results_of(folder: Path) -> None:
    results = Results(folder / "results")
    for run in results.runs:
        results.read(run)


def results(folder: Path) -> None:
    run = folder / "results" / "lora"
    write_printed(write_answers(run / "TextVQA" / "Finetune", [("1", "7"), ("2", "8")]), 50)
    write_printed(run / "ImageNet" / "Finetune", 50, wrong=[("1", "a", "b")])
    write_judged(write_answers(run / "TextVQA" / "ImageNet", [("1", "7")]), 62)
    write_options(run / "ScienceQA" / "Finetune", {"1": "A", "2": "FAILED"}, 50.0)


def result_files() -> dict[str, bytes]:
    """One of each kind."""
    with TemporaryDirectory() as scratch:
        results(Path(scratch))
        run = Path(scratch) / "results" / "lora"
        return {str(file.relative_to(run)): file.read_bytes() for file in sorted(run.rglob("*.*")) if file.is_file()}


def everything_of(folder: Path) -> None:
    """All that a page takes of a run."""
    run = load_run(folder / "run")
    _ = run.training, run.evaluation, run.router, run.scorer, run.image_folder("gqa"), _environment_rows(run)
    for row in run.finished:
        for task in run.matrix.tasks:
            if run.has_answers(row, task):
                run.records(row, task)


RUN = ("gqa", "vqav2")


def run_folder(folder: Path) -> None:
    """A finished run of two tasks, without a manifest: a stranger's would fit whatever they have put there."""
    build_run(folder / "run", tasks=RUN, answers=2, seen_only=False, images=False)
    add_variants(folder / "run")
    add_judge(folder / "run")


@cache
def config_text() -> str:
    """What a run keeps in `config.yaml`."""
    words = ["backbone=tiny", "scenario.order=[gqa,vqav2]", "judge=embedding", "run_dir=/nowhere"]
    config: Any = OmegaConf.to_container(composed(words))
    config["scenario"]["tasks"] = {task: config["scenario"]["tasks"][task] for task in RUN}
    return yaml.safe_dump(config, sort_keys=False)


def of_run(file: str, content: Any = None, read: Callable[[Path], Any] = everything_of) -> Reader:
    """A file of that run."""
    with TemporaryDirectory() as scratch:
        run_folder(Path(scratch))
        content = dumped(content) if content else (Path(scratch) / "run" / file).read_bytes()
    return Reader(f"run: {Path(file).name}", f"run/{file}", content, read, run_folder)


def scorers_of(folder: Path) -> None:
    newest_scoring(folder / "run", RUN, ())
    for task in RUN:
        load_run(folder / "run").scoring(task)


def listing(file: str, content: bytes) -> Callable[[Path], None]:
    """A manifest beside a file."""

    def write(folder: Path) -> None:
        (folder / file).write_bytes(content)
        manifest.record(folder, [folder / file])

    return write


def manifest_of(file: str, content: bytes) -> bytes:
    with TemporaryDirectory() as scratch:
        listing(file, content)(Path(scratch))
        return (Path(scratch) / manifest.NAME).read_bytes()


def checked(folder: Path) -> Any:
    return manifest.check(folder / "x.json", None, "restore it"), manifest.missing(folder, ["x.json"])


REPLY = Judged("k", "1", "yes", 50.0, "v").to_line().encode()
ARRAY = {"a": [{"b": 1}, {"b": [2, "x"]}], "c": {"d": 1, "e": {"f": None}}, "g": 3.5}
READERS = [
    Reader("load_json", "x.json", dumped(ARRAY), lambda folder: json_files.load_json(folder / "x.json")),
    Reader("list_in", "x.json", dumped(ARRAY), lambda folder: json_files.list_in(folder / "x.json", "a")),
    Reader("read_array", "x.json", dumped(ARRAY), lambda folder: [*json_stream.read_array(folder / "x.json", "a")]),
    Reader("read_object", "x.json", dumped(ARRAY), lambda folder: [*json_stream.read_object(folder / "x.json", "c")]),
    Reader("read_header", "x.json", dumped(ARRAY), lambda folder: json_stream.read_header(folder / "x.json", "a")),
    Reader("read_samples", "x.json", dumped(SAMPLES), lambda folder: [*json_stream.read_samples(folder / "x.json")]),
    Reader("train samples", "x.json", dumped(SAMPLES), lambda folder: [*read_train(folder / "x.json", folder)], images),
    Reader(
        "train lines",
        "x.json",
        lines_of(SAMPLES).encode(),
        lambda folder: [*read_train(folder / "x.json", folder)],
        images,
    ),
    Reader("test samples", "x.json", dumped(QUESTIONS), lambda folder: [*read_test(folder / "x.json", folder)], images),
    Reader("sample fields", "questions.json", dumped(QUESTIONS), truth_of(SampleFields)),
    Reader("box fields", "questions.json", dumped(QUESTIONS), truth_of(BoxFields)),
    Reader(
        "ScienceQA",
        "problems.json",
        dumped(PROBLEMS),
        truth_of(lambda: ScienceQAProblems("problems.json", "s.json")),
        lambda folder: (questions(folder), (folder / "s.json").write_text('{"test": ["1", 2]}')),
    ),
    Reader(
        "ScienceQA's splits",
        "s.json",
        dumped({"test": ["1", 2]}),
        truth_of(lambda: ScienceQAProblems("problems.json", "s.json")),
        lambda folder: (questions(folder), (folder / "problems.json").write_bytes(dumped(PROBLEMS))),
    ),
    Reader("TextVQA", "t.json", dumped(ANNOTATED), truth_of(lambda: TextVQAAnswers("t.json")), questions),
    Reader(
        "GQA",
        "g.json",
        dumped({"1": {"answer": "x"}, "2": {"answer": "y"}}),
        truth_of(lambda: GQAAnswers("g.json")),
        questions,
    ),
    Reader(
        "ids",
        "ids.json",
        dumped({"gqa": {"test": {"ids": ["1", 2]}}}),
        lambda folder: listed_ids(folder / "ids.json", "gqa"),
    ),
    Reader("ids as text", "ids.txt", b"1\n2\n", lambda folder: listed_ids(folder / "ids.txt", "gqa")),
    Reader("records", "x.jsonl", lines_of([RECORD] * 2).encode(), lambda folder: read_records(folder / "x.jsonl")),
    Reader("replies", "x.jsonl", REPLY * 2, lambda folder: [*read_replies(folder / "x.jsonl")]),
    Reader("manifest", "manifest.json", manifest_of("x.json", b"{}"), checked, listing("x.json", b"{}")),
    Reader("read_json", "x.json", dumped(ARRAY), lambda folder: read_json(folder / "x.json")),
    Reader("feature index", "store-v3/index.txt", store_file("index.txt"), features, stored),
    Reader("features", "store-v3/features.bin", store_file("features.bin"), features, stored),
    Reader(
        "weights",
        "x.safetensors",
        save({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}),
        lambda folder: read_safetensors(folder / "x.safetensors", "adapter", "restore it", AssetError),
    ),
    *(
        Reader(f"CoIN's {Path(file).name}", f"results/lora/{file}", content, results_of, results)
        for file, content in result_files().items()
    ),
    of_run("matrix.json"),
    of_run("environment.json"),
    of_run("task_01_gqa/train.json"),
    of_run("task_01_gqa/scores.json"),
    of_run("task_02_vqav2/records/gqa.jsonl"),
    of_run("task_02_vqav2/router.json", {"num_experts": 2, "layers": ["a"], "load": {"gqa": [[0.5, 0.5]]}}),
    Reader("scorers of a config", "run/config.yaml", config_text().encode(), scorers_of, run_folder),
    Reader("config", "config.yaml", config_text().encode(), lambda folder: run_config(folder, [])),
    Reader("judge of a config", "config.yaml", config_text().encode(), lambda folder: judge_config(folder, [])),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_whatever_a_file_holds_it_is_read_or_named(reader: Reader, tmp_path: Path):
    reader.beside(tmp_path)
    file = tmp_path / reader.file
    file.write_bytes(reader.content)
    reader.read(tmp_path)  # sound, it is read

    @given(damaged(reader.content))
    def holds(content: bytes) -> None:
        file.write_bytes(content)
        told = file.name
        try:
            reader.read(tmp_path)
        except CoinLightningError as error:
            told = str(error)
        assert file.name in told or str(tmp_path / "run") in told

    holds()
