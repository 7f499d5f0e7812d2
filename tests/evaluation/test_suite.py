from types import SimpleNamespace

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.suite import AnswerWriter, Suite
from coin_lightning.tasks.samples import TestSample


def task(name: str, count: int = 4) -> SimpleNamespace:
    """As much of an `InstructionTask` as is evaluated."""
    samples = [TestSample(f"{name}{at}", f"question {at}", (), {}, f"sample {at}") for at in range(count)]
    return SimpleNamespace(name=name, test_samples=samples, references=[{"answer": f"a{at}"} for at in range(count)])


@pytest.fixture
def writer(tmp_path) -> AnswerWriter:
    return AnswerWriter(tmp_path / "records", [task("gqa"), task("vqav2")])


def write(writer: AnswerWriter, ids: list[str], answers: list[str], at: int = 0, rank: int = 0) -> None:
    prediction = {"ids": ids, "answers": answers}
    writer.write_on_batch_end(SimpleNamespace(global_rank=rank), None, prediction, None, None, 0, at)


@pytest.mark.parametrize(
    ("cells", "position", "names"),
    [("seen", 0, "abc"), ("seen", 1, "a"), ("seen", 3, "abc"), ("full", 0, "abc"), ("full", 1, "abc")],
)
def test_cells_after_each_task(cells, position, names):
    tasks = [task(name) for name in "abc"]
    assert [one.name for one in Suite(cells).tasks_after(position, tasks)] == list(names)


def test_unknown_cells_are_refused():
    with pytest.raises(ConfigError, match=r"evaluation\.cells='upper' is unknown; use seen or full"):
        Suite("upper")


def test_records_follow_the_data_set_whatever_the_order_of_the_answers(writer):
    write(writer, ["gqa3", "gqa0"], ["three", "zero"])
    write(writer, ["gqa2"], ["two"], rank=1)
    write(writer, ["gqa1", "gqa0"], ["one", "zero"], rank=1)  # a repeated sample with the same answer
    records = writer.collect(writer.tasks[0])
    assert [(record.question_id, record.prompt, record.prediction) for record in records] == [
        ("gqa0", "question 0", "zero"), ("gqa1", "question 1", "one"),
        ("gqa2", "question 2", "two"), ("gqa3", "question 3", "three"),
    ]  # fmt: skip
    assert records[2].reference == {"answer": "a2"}
    assert read_records(writer.folder.parent / "gqa.jsonl") == records


def test_each_task_and_rank_has_its_own_partial_file(writer):
    write(writer, ["gqa0"], ["a"])
    write(writer, ["vqav20"], ["b"], at=1)
    write(writer, ["gqa1"], ["c"], rank=1)
    assert sorted(file.name for file in writer.folder.iterdir()) == ["gqa.0.jsonl", "gqa.1.jsonl", "vqav2.0.jsonl"]
    assert writer.done("gqa") == {"gqa0", "gqa1"}
    assert writer.done("vqav2") == {"vqav20"}
    assert writer.done("textvqa") == frozenset()


def test_a_line_cut_by_a_kill_is_asked_again_and_does_not_spoil_the_next(writer):
    write(writer, ["gqa0", "gqa1"], ["zero", "one\n\u2028"])
    write(writer, ["gqa2", "gqa3"], ["two", "three"])
    file = writer.folder / "gqa.0.jsonl"
    whole = file.read_text()
    for cut in range(len(whole.splitlines()[0]) + 1, len(whole) - 1):
        file.write_text(whole[:cut])
        assert writer.done("gqa") == {"gqa0", "gqa1"}
    write(writer, ["gqa2", "gqa3"], ["two", "three"])
    assert [record.prediction for record in writer.collect(writer.tasks[0])] == ["zero", "one\n\u2028", "two", "three"]


def test_a_line_that_only_lost_its_end_counts(writer):
    write(writer, ["gqa0"], ["zero"])
    file = writer.folder / "gqa.0.jsonl"
    file.write_text(file.read_text().rstrip("\n"))
    assert writer.done("gqa") == {"gqa0"}
    write(writer, ["gqa1"], ["one"])
    assert writer.done("gqa") == {"gqa0", "gqa1"}


def test_missing_and_contradicting_answers_are_refused(writer):
    write(writer, ["gqa0", "gqa1", "gqa2"], ["zero", "one", "two"])
    with pytest.raises(DataError, match="question gqa3: in the data set, but not answered"):
        writer.collect(writer.tasks[0])
    write(writer, ["gqa3", "gqa0"], ["three", "null"], rank=1)
    with pytest.raises(DataError, match=r"question gqa0: two answers, 'zero' .* and 'null'"):
        writer.collect(writer.tasks[0])


def test_clearing_leaves_the_records_only(writer):
    write(writer, [f"gqa{at}" for at in range(4)], ["a"] * 4)
    writer.collect(writer.tasks[0])
    writer.clear()
    writer.clear()  # a second time does no harm
    assert [file.name for file in writer.folder.parent.iterdir()] == ["gqa.jsonl"]
    assert writer.done("gqa") == frozenset()
