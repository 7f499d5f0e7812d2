import json


def test_both_ways_answer_the_same_questions(script, tmp_path, capsys):
    shared_images = script("shared_images")
    shared_images.TOKENS = 16
    out = tmp_path / "shared.json"
    shared_images.main(
        ["--override", "backbone=tiny", "--questions", "4", "1", "--batch", "8", "--rounds", "1", "--out", str(out)]
    )
    content = json.loads(out.read_text())
    first, *others = content["results"]
    assert (first["images"], first["questions_per_image"], first["differing"]) == (4, 2, 0)
    assert [each["questions_per_image"] for each in others] == [4, 1]
    assert [each["images"] for each in others] == [2, 8]
    assert all(set(each["answers_per_second"]) == {shared_images.APART, shared_images.TOGETHER} for each in others)
    assert "differing" in capsys.readouterr().out
