"""The page of a sweep from plain data."""

from pathlib import Path

import pytest

from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sweep_page import Member, combinations, heat_maps, write_sweep

TASKS = ("imagenet", "gqa")


@pytest.fixture
def members(make_run) -> list[Member]:
    """Experts x rank x two seeds; the last combination has failed."""
    found = []
    for experts in ("2", "4"):
        for rank in ("8", "16"):
            values = {"num_experts": experts, "rank": rank}
            if (experts, rank) == ("4", "16"):
                found.append(Member(values, "failed", reason="out of <memory>"))
                continue
            for seed in (1, 2):
                keep = 0.3 + 0.1 * int(experts)
                run = make_run(f"{experts}_{rank}_{seed}", tasks=TASKS, seed=seed, keep=keep, images=False)
                found.append(Member(values, "finished", load_matrix(run), f"{run.name}/report.html"))
    return found


def test_seeds_are_averaged_and_combinations_are_not(members):
    groups = combinations(members)
    assert [(group.values["num_experts"], group.values["rank"]) for group in groups] == [
        ("2", "8"), ("2", "16"), ("4", "8"), ("4", "16"),
    ]  # fmt: skip
    first = [member.matrix.metrics["acc"] for member in members[:2]]
    mean, half = sum(first) / 2, abs(first[0] - first[1]) / 2
    assert groups[0].text("acc") == f"{mean:.1f} ±{half * 2**0.5:.1f}"  # n - 1 of two numbers
    assert groups[3].text("acc") == "\u2013"


def test_heat_maps_have_the_values_in_order_and_the_means(members):
    acc, forgetting = heat_maps(combinations(members))
    assert (acc.down, acc.across, acc.rows, acc.columns) == ("num_experts", "rank", ["2", "4"], ["8", "16"])
    means = {text for row in acc.cells for text, _ in row}
    assert combinations(members)[0].text("acc").split(" ")[0] in means
    assert acc.cells[1][1] == ("\u2013", None)
    strengths = [strength for row in acc.cells for _, strength in row if strength is not None]
    assert (min(strengths), max(strengths)) == (0.0, 1.0)
    assert forgetting.title.startswith("Forgetting")


def test_one_swept_key_has_no_map(members):
    assert heat_maps(combinations(members[:4])) == []


def test_the_page_is_whole_and_escapes_what_it_is_given(members, tmp_path: Path):
    file = tmp_path / "sweep.html"
    write_sweep("num_experts, rank", members, 8, file)
    page = file.read_text()
    assert "6 of 8 runs are finished, 1 failed or cannot be run" in page
    assert "out of &lt;memory&gt;" in page
    assert "<memory>" not in page
    assert 'href="2_8_1/report.html"' in page
    assert page.count("<svg") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_before_anything_is_finished_there_is_a_page_too(tmp_path: Path):
    write_sweep("rank", [], 4, tmp_path / "sweep.html")
    assert "0 of 4 runs are finished" in (tmp_path / "sweep.html").read_text()
