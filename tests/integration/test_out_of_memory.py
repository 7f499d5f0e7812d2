"""Memory that runs out in a real run: told with what to lower, and the run goes on with that."""

import json
from pathlib import Path


def hungry(**values: object) -> list[str]:
    options = {"_target_": "probes.Hungry", **values}
    return [f"+callbacks.hungry.{key}={value}" for key, value in options.items()]


def adapters(run: Path) -> dict[str, bytes]:
    return {file.parent.parent.name: file.read_bytes() for file in sorted(run.glob("task_*/adapter/*.safetensors"))}


def test_recomputing_layers_continues_a_task_in_its_middle_with_the_same_bits(place, short):
    words = place.short("fat", *hungry(position=2, phase="train", step=7))  # behind the checkpoint of step 6
    status, text = place.runs.run(words)
    assert status == 1
    assert "Traceback" not in text
    told = " ".join(text[text.index("error:") :].split())
    assert "textvqa: memory ran out while training" in told
    assert "can't allocate memory" in told
    assert "backbone.gradient_checkpointing=all: slower, changes no result" in told
    assert f"batches.size=2 run_dir={place.folder / 'fat'}" in told
    assert (place.folder / "fat" / "task_02_textvqa" / "last.ckpt").exists()
    status, text = place.runs.run([*words, "backbone.gradient_checkpointing=all"])
    assert status == 0, text
    assert adapters(place.folder / "fat") == adapters(short)
    assert not (place.folder / "fat" / "changes.json").exists()


def test_a_smaller_batch_of_answers_continues_behind_the_answers_that_are_kept(place, short):
    words = place.short("many", *hungry(position=1, phase="predict", rows=1))
    status, text = place.runs.run(words)
    assert status == 1
    assert "scienceqa: memory ran out while answering" in text
    assert "answers.batch_size=1 (is 2; where it trains also run_dir=" in text
    assert (place.folder / "many" / "task_01_scienceqa" / "train.json").exists()
    status, text = place.runs.run([*words, "answers.batch_size=1"])
    assert status == 0, text
    assert adapters(place.folder / "many") == adapters(short)
    written = json.loads((place.folder / "many" / "matrix.json").read_text())
    said = "answers.batch_size went from 2 to 1 at task_01_scienceqa: last digits differ from a run that had it from "
    assert [note for note in written["notes"] if note.startswith(said)]
    status, text = place.runs.run([*words, "answers.batch_size=1"])  # it is this run's now
    assert status == 0, text


def test_a_smaller_batch_of_the_same_step_continues_a_run(place):
    words = place.short(
        "wide", "protocol.global_batch=4", "adapter.dropout=0", *hungry(position=2, phase="train", rows=2)
    )
    status, text = place.runs.run(words)
    assert status == 1
    assert "batches.size=2" in text
    status, text = place.runs.run([*words, "batches.size=2", "protocol.loss_weighting=micro_batch"])
    assert status == 1
    assert "protocol.loss_weighting: 'exact' -> 'micro_batch'" in text
    status, text = place.runs.run([*words, "batches.size=2"])
    assert status == 0, text
    run = place.folder / "wide"
    plan = json.loads((run / "plan.json").read_text())["tasks"][1]
    assert (plan["batch_size"], plan["accumulation"], plan["global_batch"]) == (2, 2, 4)
    changes = json.loads((run / "changes.json").read_text())["changes"]
    assert {"key": "batches.size", "old": 4, "new": 2, "at": "task_02_textvqa"} in changes
    assert any("what dropout draws" in note for note in json.loads((run / "matrix.json").read_text())["notes"])
