"""report.html, read back with a parser."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fake_run import HOSTILE, TASKS, add_judge, add_variants, build_run, exact_scorer
from jinja2 import Environment

from coin_lightning.errors import RunError
from coin_lightning.reporting import run_artifacts
from coin_lightning.reporting.html import headline, machine_class, prepare_pages, template, write_report
from coin_lightning.reporting.page_sections import matrix_cells
from coin_lightning.reporting.run_matrix import load_matrix

MakeRun = Callable[..., Path]
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, links, text and the cells of the score matrix; checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.text: list[str] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "xlink:href", "data", "srcset")]
        if tag == "td" and any(attributes.get("class") == "matrix" for _, attributes in self.open):
            self.cells.append("")
        if tag not in VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if [tag for tag, _ in self.open[-1:]] == ["td"] and any(a.get("class") == "matrix" for _, a in self.open):
            self.cells[-1] += data.strip()


def read(run: Path) -> tuple[Page, str]:
    text = write_report(run, exact_scorer).read_text(encoding="utf-8")
    return Page(text), text


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, Path]:
    run = build_run(tmp_path_factory.mktemp("page") / "run", answers=12)
    return (*read(run), run)


def test_every_cell_of_the_matrix_is_in_the_table(page: tuple[Page, str, Path]) -> None:
    scores = load_matrix(page[2]).scores
    assert page[0].cells == ["\u2013" if np.isnan(value) else f"{value:.1f}" for value in scores.ravel()]
    assert page[0].open == []


def test_nothing_is_requested_from_anywhere(page: tuple[Page, str, Path]) -> None:
    parsed, text, run = page
    assert parsed.links
    assert all(link.startswith(("data:", "#")) for link in parsed.links)
    assert "@import" not in text
    assert "url(http" not in text
    assert str(run) not in text, "the page may be handed on: no folder of the machine in it"


def test_model_text_is_escaped(page: tuple[Page, str, Path]) -> None:
    parsed, text, _ = page
    assert parsed.tags.count("script") == text.count("<script") == 1  # the page's own
    assert "alert(" not in text.split("<script>")[1]
    assert HOSTILE in parsed.text


def test_sections_numbers_and_notes(page: tuple[Page, str, Path]) -> None:
    parsed, text, run = page
    shown = " ".join(" ".join(parsed.text).split())
    metrics = json.loads((run / "matrix.json").read_text(encoding="utf-8"))["metrics"]
    for part in ("Score matrix", "Forgetting curves", "Metrics", "Router load", "Cost", "Protocol", "Environment",
                 "miniature for development", f"{metrics['acc']:.1f}", "as_intended", "cpu, 2 cores", "19.6 MB",
                 "2.1 GB", "1 min 5 s", "4.9"):  # fmt: skip
        assert part in shown, part
    assert parsed.tags.count("svg") == 8 + 1 + 2
    assert parsed.tags.count("details") == 8 + 1
    assert parsed.tags.count("img") > 60
    assert len(text) < 5_000_000


def test_figures_use_colours_that_the_page_defines(page: tuple[Page, str, Path]) -> None:
    used, defined = (set(re.findall(pattern, page[1])) for pattern in (r"var\(--([\w-]+)\)", r"--([\w-]+):"))
    assert {"line-blue", "line-orange", "line-purple", "grid"} <= used <= defined


def test_the_page_of_a_run_on_its_way_takes_no_drawing_library(make_run: MakeRun) -> None:
    """In a process of its own, which says what it holds."""
    run = make_run(finished=2, answers=4)
    code = (
        "import sys; from coin_lightning.reporting.html import write_report; "
        f"write_report({str(run)!r}, figures=False); print([name for name in sys.modules if 'matplotlib' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert not (run / "figures").exists()
    assert (run / "report.html").read_text(encoding="utf-8").count("<svg") == 8 + 1 + 2


def test_nothing_is_compiled_behind_prepare_pages(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every member of a sweep is a fork of a process that has called it."""
    run = make_run()
    template.cache_clear()
    prepare_pages()
    monkeypatch.setattr(Environment, "compile", None)
    assert "<table" in write_report(run, figures=False).read_text()
    template.cache_clear()
    with pytest.raises(TypeError, match="not callable"):
        write_report(run, figures=False)


def test_report_is_the_same_each_time(make_run: MakeRun) -> None:
    run = make_run(tasks=TASKS[:2], answers=4, router=False)
    assert read(run)[1] == read(run)[1]


@pytest.mark.parametrize("finished", [-1, 0, 2])
def test_partial_runs_say_so(make_run: MakeRun, finished: int) -> None:
    parsed, _ = read(make_run(finished=finished, answers=4, router=False))
    assert f"{max(finished, 0)} of 8 tasks are done" in " ".join(parsed.text)
    assert parsed.tags.count("svg") == (9 if finished > 0 else 0)
    assert parsed.cells.count("\u2013") == 72 - 8 * (finished >= 0) - (1 + 2) * (finished == 2)


def test_images_are_left_out_when_the_data_is_gone(make_run: MakeRun) -> None:
    parsed, _ = read(make_run(finished=1, answers=4, images=False))
    assert "img" not in parsed.tags
    assert "no image" in parsed.text


def test_missing_records_are_named(make_run: MakeRun) -> None:
    run = make_run(finished=1, answers=4)
    (run / "task_01_scienceqa" / "records" / "scienceqa.jsonl").unlink()
    with pytest.raises(RunError, match=r"scienceqa\.jsonl: is missing; restore it, or remove scores\.json"):
        write_report(run, exact_scorer)


def test_the_projects_own_scorers_fit(make_run: MakeRun) -> None:
    text = write_report(make_run(answers=8, router=False)).read_text(encoding="utf-8")
    assert text.count('class="example"') == 8 * 8


def test_cells_and_headline_by_hand() -> None:
    from small_matrix import matrix

    rows = matrix_cells(matrix())
    assert [cell["kind"] for cell in rows[2]["cells"]] == ["past", "own", "empty"]
    assert (rows[3]["cells"][1]["change"], rows[3]["cells"][1]["gain"], rows[3]["cells"][1]["strength"]) == (
        -40,
        False,
        67,
    )
    assert [tile[0] for tile in headline(matrix())] == ["11.7", "70.0", "53.3", "\u221225.0"]


def test_machine_class() -> None:
    assert machine_class({"machine": {"device": "cpu", "cores": 2}}) == "cpu, 2 cores"
    assert machine_class({}) == ""


def test_the_page_explains_both_ways_of_judging_and_shows_every_judge(make_run: MakeRun) -> None:
    run = make_run(tasks=("gqa", "vqav2"), answers=4, images=False)
    plain, text = read(run)
    assert "General knowledge" not in text
    add_judge(run, "near")
    add_judge(run, "chat", "hf", unparsed=1)
    found, text = read(run)
    assert "Score matrix: truth alignment" in text
    assert "instruction following" in text
    assert "reasoning capability" in text
    assert {"Judge: near", "Judge: chat"} <= set(found.text)
    assert "1 of 20 replies could not be read" in text
    assert len(found.cells) == 3 * len(plain.cells)  # the rules' matrix, and one for each judge


def test_the_page_shows_both_readings_and_the_published_row(make_run: MakeRun) -> None:
    run = make_run(images=False, answers=4)
    add_variants(run)
    content = json.loads((run / "matrix.json").read_text())
    content["published"] = "coin_truth_alignment/llava_7b_moelora_e8"
    (run / "matrix.json").write_text(json.dumps(content), encoding="utf-8")
    found, text = read(run)
    assert "All variants of the scorers" in text
    assert "1 of 4" in found.text
    assert "Beside the published numbers" in text
    assert "37.1" in found.text  # ACC of the row
    assert "projector: ours carried, published reinitialised" in found.text


def test_the_page_reads_the_config_of_its_run_once(
    page: tuple[Page, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for each task and each side of its examples, it took most of a page's time."""
    reads: list[Path] = []
    real = run_artifacts.config_of
    monkeypatch.setattr(run_artifacts, "config_of", lambda run: (reads.append(run), real(run))[1])
    write_report(page[2])
    assert reads == [page[2]]
