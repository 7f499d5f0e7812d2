"""The table of aims, from results worked by hand."""

import json


def write(folder, name, content):
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_verdicts_name_the_worst_case_and_the_distance(script, tmp_path):
    write(
        tmp_path,
        "layer",
        {
            "results": [
                {"over_lora": {"1": 1.0, "64": 1.07}, "loop_over_ours": {"8": 3.0}},
                {"over_lora": {"1": 1.188, "64": 1.05}, "loop_over_ours": {"8": 2.5}},
            ]
        },
    )
    steps = {"moelora_time_over_peft_lora": 0.84, "moelora_time_over_own_lora": 1.113}
    write(tmp_path, "training", {"ours_over_trainer": 1.5, **steps})
    rows = script("run_all").table(tmp_path, ["layer", "training"])
    assert [row[2:] for row in rows] == [
        ["1.188", "<= 1.08", "missed by 10.0%"],
        ["2.500", ">= 2", "met"],
        ["1.500", ">= 2", "missed by 25.0%"],
        ["0.840", "<= 0.9", "met"],
        ["1.113", "<= 1.06", "missed by 5.0%"],
    ]


def test_a_single_differing_answer_is_a_miss(script, tmp_path):
    found = {"ours_over_pixels": 6.0, "differing": {"ours, batched": 1}}
    write(tmp_path, "evaluation", {"results": [found, {**found, "ours_over_pixels": 5.5}]})
    assert [row[-1] for row in script("run_all").table(tmp_path, ["evaluation"])] == ["met", "missed by 1"]


def test_summary_reads_what_is_there_and_leaves_out_what_is_not(script, tmp_path, capsys, monkeypatch):
    run_all = script("run_all")
    monkeypatch.setattr(run_all, "RESULTS", tmp_path)
    write(tmp_path, "loop", {"ours_over_bare": 1.02})
    run_all.main(["--summary"])
    printed = capsys.readouterr().out
    assert "whole fit / bare loop" in printed
    assert "met" in printed
    assert "transformers.Trainer" not in printed
