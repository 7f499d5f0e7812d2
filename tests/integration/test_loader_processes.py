"""Loader processes that die or fail in a real run: the samples are named, and the same command goes on."""

from pathlib import Path

import pytest

from small_coin import answer_file, train_file


def command(place, tmp_path: Path, processes: int) -> list[str]:
    whole = place.brief("unused", "data.limit_train=null", "data.limit_test=null")
    return [*whole, f"run_dir={tmp_path / 'run'}", f"batches.num_workers={processes}"]


def spoilt(id_: str, makes: str, what: str) -> list[str]:
    options = {"_target_": "probes.SpoiltSample", "id": f"'{id_}'", "makes": makes, "what": what}
    return [f"+callbacks.spoilt.{key}={value}" for key, value in options.items()]


def said(text: str) -> str:
    assert "Traceback" not in text
    return " ".join(text[text.index("error:") :].split())


def test_one_that_is_killed_while_it_makes_a_batch(place, tmp_path: Path):
    words = command(place, tmp_path, 2)
    status, text = place.runs.run([*words, *spoilt("gqa_5", "train_batch", "kill")])
    assert status == 1, text
    told = said(text)
    assert told.startswith("error: gqa: while training, a loader process died while it made a batch of ")
    assert f"{train_file(place.suite, 'gqa')} sample 5" in told
    assert told.count(" sample ") == 4
    assert "lower batches.num_workers or batches.size" in told
    status, text = place.runs.run([*words, *spoilt("1002", "answer_batch", "kill")])
    assert status == 1, text
    assert "error: gqa: while answering, a loader process died while it made a batch of" in (told := said(text))
    assert str(answer_file(place.suite, "gqa")) in told
    assert (tmp_path / "run" / "task_01_gqa" / "train.json").exists()
    status, text = place.runs.run(words)
    assert status == 0, text


@pytest.mark.parametrize("processes", [0, 1])
def test_what_a_sample_raises_is_told_with_it(place, tmp_path: Path, processes: int):
    words = command(place, tmp_path, processes)
    status, text = place.runs.run([*words, *spoilt("gqa_5", "train_batch", "raise")])
    assert status == 1, text
    told = said(text)
    assert f"{train_file(place.suite, 'gqa')} sample 5" in told
    assert "cannot be made into a batch (KeyError('a field') in probes.py:" in told


def test_memory_that_runs_out_in_one_is_told_as_such(place, tmp_path: Path):
    words = command(place, tmp_path, 1)
    status, text = place.runs.run([*words, *spoilt("gqa_5", "train_batch", "memory")])
    assert status == 1, text
    told = said(text)
    assert "error: gqa: memory ran out while training" in told
    assert "batches.size=2" in told
