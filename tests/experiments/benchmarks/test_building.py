"""Building benchmark: the made-up raw files are VQAv2's in form, and everything of them is built."""

import json


def test_every_question_is_built_and_measured(script, tmp_path, capsys):
    script("building").main(["--scale", "0.0002", "--out", str(tmp_path / "out.json")])
    content = json.loads((tmp_path / "out.json").read_text())
    results = content["results"]
    assert results["questions"] == 89 + 43
    assert results["samples"] == 17 + 43  # a conversation per training image, a sample per question of val
    assert results["raw_bytes"] > 89 * 500
    assert results["build"]["seconds"] > results["second_call"]["seconds"] > 0
    assert results["questions_per_second"] > 0
    assert set(content["aims"]) == {"seconds", "bytes"}
    assert "json.load of the training files" in capsys.readouterr().out
