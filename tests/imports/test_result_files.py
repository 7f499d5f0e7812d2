"""Golden texts of the files that CoIN's scripts and those of its forks write."""

from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.imports.result_files import Wrong, read_answers, read_judged, read_options, read_printed
from coin_results import write_answers, write_judged, write_options, write_printed

GQA = (
    "Binary: 1.26%Open: 4.57%Accuracy: 3.05%Validity: 0.00%Distribution: 1.17 (lower is better)"
    "  choose: 1.08% (369 questions)"
)


@pytest.mark.parametrize(
    ("text", "score", "samples", "repeated"),
    [
        ("Samples: 4000\nAccuracy: 95.30%\n", 95.3, 4000, ()),
        ("Samples: 0\nAccuracy: 0.47%\n", 0.47, None, ()),  # what OCR-VQA's script always says
        (GQA, 3.05, None, ()),
        (f"{GQA}Binary: 2.00%Open: 1.00%Accuracy: 4.10%Validity: 0.00%", 4.1, None, (3.05, 4.1)),  # appended to
        ("Total: 4241, Correct: 3155, Accuracy: 74.39%, IMG-Accuracy: 71.00%", 74.39, 4241, ()),
    ],
)
def test_printed_scores(tmp_path: Path, text: str, score: float, samples: int | None, repeated: tuple[float, ...]):
    (tmp_path / "Result.text").write_text(text)
    printed = read_printed(tmp_path / "Result.text")
    assert (printed.score, printed.samples, printed.all_scores, printed.wrong) == (score, samples, repeated, None)


def test_wrong_answers_are_read_where_they_have_their_labels(tmp_path: Path):
    file = write_printed(tmp_path, 50, 2, [("a.JPEG", "piggy bank", "Piggy bank")]) / "Result.text"
    assert read_printed(file).wrong == (Wrong("a.JPEG", "piggy bank", "Piggy bank"),)
    text = file.read_text()
    file.write_text(text.replace("ground_truth", "label"))
    assert read_printed(file).wrong is None
    file.write_text(text[:-20])
    with pytest.raises(DataError, match=r"Result.text: its list of wrong answers cannot be read .*; restore the file"):
        read_printed(file)
    file.write_text("Samples: 4\n")
    with pytest.raises(DataError, match=r"Result.text: has no 'Accuracy: ...%'"):
        read_printed(file)


def test_answers_have_ids_as_text_and_every_bad_line_is_told(tmp_path: Path):
    file = write_answers(tmp_path, [("7", " left"), ("8", "")], "Where?") / "merge.jsonl"
    assert [tuple(answer) for answer in read_answers(file)] == [("7", "Where?", " left"), ("8", "Where?", "")]
    file.write_text('{"question_id": 7, "text": "x"}\n\n{"question_id": 8}\n{"question')
    with pytest.raises(DataError) as error:
        read_answers(file)
    assert [line.partition(" (")[0] for line in error.value.problems] == [
        f"{file}:3: is no answer",
        f"{file}:4: is no answer",
    ]


def test_scienceqas_results_and_the_judges(tmp_path: Path):
    answers, printed, failed = read_options(
        write_options(tmp_path, {"4": "B", "5": "FAILED"}, 50.0) / "output_result.jsonl"
    )
    assert ([tuple(answer) for answer in answers], printed.score, printed.samples, failed) == (
        [("4", None, "B")],
        50,
        2,
        1,
    )
    assert read_judged(write_judged(tmp_path, 82) / "Prompt_Result.text") == 82
    (tmp_path / "Prompt_Result.text").write_text("Final score:8\nFinal score:9")
    with pytest.raises(DataError, match=r"has no 'Final score:...' alone"):
        read_judged(tmp_path / "Prompt_Result.text")


def test_more_wrong_answers_than_there_are(tmp_path: Path):
    """They would make a score below 0."""
    write_printed(tmp_path, 50, samples=1, wrong=[("1", "a", "b"), ("2", "a", "b")])
    with pytest.raises(DataError, match=r"Result\.text: lists 2 wrong answers, but says that there are 1 in all"):
        read_printed(tmp_path / "Result.text")
