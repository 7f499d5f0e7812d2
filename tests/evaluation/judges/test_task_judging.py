"""One task: what is asked, what is not, and what stays after a failure."""

from pathlib import Path

import pytest
from fake_judge import FakeJudge, lines, record, write_experience

from coin_lightning.errors import DataError, JudgeError
from coin_lightning.evaluation.judges.task_judging import KnownReplies, TaskJudgement, TaskJudging
from coin_lightning.evaluation.records import AnswerRecord


def judging(
    folder: Path, judge: FakeJudge, records: list[AnswerRecord], known: KnownReplies | None = None
) -> TaskJudging:
    file = folder / "judged" / judge.name / "gqa.jsonl"
    return TaskJudging(file, records, judge, judge.identity(), known or KnownReplies(folder.parent))


def run(folder: Path, judge: FakeJudge, records: list[AnswerRecord]) -> TaskJudgement:
    return judging(folder, judge, records).run(lambda done, total: None)


RECORDS = [record("gqa", 0, "red"), record("gqa", 1, "blue"), record("gqa", 2, "?")]


def test_the_score_is_the_mean_of_what_could_be_read(tmp_path: Path):
    found = run(tmp_path / "task_00_zero_shot", FakeJudge(), RECORDS)
    assert found == TaskJudgement(score=65.0, count=3, unparsed=1, versions=frozenset())


def test_the_published_reading_counts_unread_replies_as_nothing(tmp_path: Path):
    found = run(tmp_path / "task_00_zero_shot", FakeJudge(variant="reference"), RECORDS)
    assert found == TaskJudgement(score=43.0, count=3, unparsed=1, versions=frozenset())  # 13 of 30


def test_nothing_readable_is_no_score(tmp_path: Path):
    found = run(tmp_path / "task_00_zero_shot", FakeJudge(lambda _: "Well..."), RECORDS)
    assert found == TaskJudgement(score=None, count=3, unparsed=3, versions=frozenset())


def test_equal_contents_are_asked_once_and_written_for_each_question(tmp_path: Path):
    twins = [
        AnswerRecord("gqa", f"q{n}", "What?\nShort.", answer, {"answer": "red"}) for n, answer in enumerate("abcab")
    ]
    judge, folder = FakeJudge(), tmp_path / "task_01_gqa"
    assert run(folder, judge, twins).count == 5
    assert len(judge.asked) == 3
    assert sorted(line["question_id"] for line in lines(folder, "fake_rule", "gqa")) == ["q0", "q1", "q2", "q3", "q4"]


def test_a_second_run_asks_nothing_and_writes_nothing(tmp_path: Path):
    folder = tmp_path / "task_01_gqa"
    first = run(folder, FakeJudge(), RECORDS)
    file = folder / "judged" / "fake_rule" / "gqa.jsonl"
    before = file.read_bytes()
    second = FakeJudge()
    assert run(folder, second, RECORDS) == first
    assert second.asked == []
    assert file.read_bytes() == before


def test_after_a_failure_only_the_rest_is_asked(tmp_path: Path):
    folder, records = tmp_path / "task_01_gqa", [record("gqa", number, "red") for number in range(10)]
    first = FakeJudge(dies_after=4)
    with pytest.raises(JudgeError, match="the server is gone"):
        run(folder, first, records)
    assert len(lines(folder, "fake_rule", "gqa")) == 4
    second = FakeJudge()
    assert run(folder, second, records).score == 100.0
    assert len(second.asked) == 6
    assert not set(first.asked) & set(second.asked)


def test_a_judge_that_leaves_replies_out_is_an_error(tmp_path: Path):
    class Lazy(FakeJudge):
        def judge(self, requests):
            yield from list(super().judge(requests))[:1]

    with pytest.raises(JudgeError, match="2 of 3 replies did not come"):
        run(tmp_path / "task_01_gqa", Lazy(), RECORDS)


def test_an_answer_that_changed_is_asked_anew(tmp_path: Path):
    folder = tmp_path / "task_01_gqa"
    assert run(folder, FakeJudge(), [record("gqa", 0, "blue")]).score == 30.0
    judge = FakeJudge()
    assert run(folder, judge, [record("gqa", 0, "red")]).score == 100.0
    assert judge.asked == [("gqa", "q0")]
    assert len(lines(folder, "fake_rule", "gqa")) == 2


def test_replies_of_other_experiences_and_readings_are_used(tmp_path: Path):
    run(tmp_path / "task_01_gqa", FakeJudge(), RECORDS)
    other, reading = FakeJudge(), FakeJudge(variant="reference")
    assert run(tmp_path / "task_02_vizwiz", other, RECORDS).score == 65.0
    assert run(tmp_path / "task_01_gqa", reading, RECORDS).score == 43.0
    assert other.asked == reading.asked == []
    assert len(lines(tmp_path / "task_02_vizwiz", "fake_rule", "gqa")) == 3


def test_replies_of_another_model_or_temperature_are_not_used(tmp_path: Path):
    run(tmp_path / "task_01_gqa", FakeJudge(), RECORDS)
    for judge in (FakeJudge(model="other"), FakeJudge(temperature=0.7)):
        run(tmp_path / "task_02_vizwiz", judge, RECORDS)
        assert len(judge.asked) == 3


def test_a_cut_line_costs_one_question(tmp_path: Path):
    folder = tmp_path / "task_01_gqa"
    run(folder, FakeJudge(), RECORDS)
    file = folder / "judged" / "fake_rule" / "gqa.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    judge = FakeJudge()
    assert run(folder, judge, RECORDS).score == 65.0
    assert len(judge.asked) == 1


def test_what_a_server_says_of_itself_is_kept(tmp_path: Path):
    folder = tmp_path / "task_01_gqa"
    assert run(folder, FakeJudge(served="m-2024"), RECORDS).versions == {"m-2024"}
    assert run(folder, FakeJudge(served="m-2025"), RECORDS).versions == {"m-2024"}  # nothing was asked


def test_progress_ends_at_the_number_of_answers(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    judging(tmp_path / "task_01_gqa", FakeJudge(), RECORDS).run(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_sample_without_truth_is_named_before_anything_is_asked(tmp_path: Path):
    with pytest.raises(DataError, match="gqa, question q7"):
        judging(tmp_path / "task_01_gqa", FakeJudge(), [AnswerRecord("gqa", "q7", "What?", "red", {})])


def test_known_replies_are_read_once(tmp_path: Path):
    folder = write_experience(tmp_path, 1, "gqa", {"gqa": ["red"]})
    known = KnownReplies(tmp_path)
    assert known.get("nothing") is None
    judging(folder, FakeJudge(), [record("gqa", 0, "red")], known).run(lambda done, total: None)
    key = lines(folder, "fake_rule", "gqa")[0]["key"]
    found = known.get(key)
    assert found is not None
    assert found.reply == "10"
