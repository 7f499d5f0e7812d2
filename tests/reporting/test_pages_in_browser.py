"""The pages in a real browser: sorted by clicks, filtered by typing, reached by keyboard, and as wide as a phone.

A copy of each page gets a script that uses it and writes what it sees into the page, which Chromium then prints.
"""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.reporting.compared import compare
from coin_lightning.reporting.comparison import write_comparison
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.sweep_page import Member, write_sweep

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")
TASKS = ("scienceqa", "gqa", "vizwiz")
TOOLS = """
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const shown = (selector, root) => all(selector, root).filter(each => each.offsetParent !== null);
const texts = found => found.map(each => each.textContent.trim());
const column = (table, place) => texts(shown("tbody tr", table).map(row => row.cells[place]));
const type = text => {
  const input = document.querySelector("#filter input");
  input.value = text;
  input.dispatchEvent(new Event("input", {bubbles: true}));
};
const press = (key, target = document.body) =>
  target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const light = color => {
  const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (selector) => {
  const style = getComputedStyle(document.querySelector(selector));
  const [a, b] = [light(style.color), light(getComputedStyle(document.body).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const seen = {
  errors,
  requests: performance.getEntriesByType("resource").map(each => each.name).filter(name => !name.startsWith("data:")),
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  contrasts: ["body", ".sub", "#sections a", "th"].map(contrast),
  width: [innerWidth, document.documentElement.scrollWidth],
  lost: all("#sections a").filter(link => !document.getElementById(link.hash.slice(1))).length,
  sections: texts(all("#sections a")),
  out_of_reach: all(".scroll,.figure").filter(each => each.tabIndex !== 0).length,
};
"""


def used(page: Path, script: str, width: int = 1100, dark: bool = False) -> dict[str, Any]:
    """What `script` has put into `seen` in a copy of the page, beside what is looked at on every page."""
    errors = "<head><script>const errors = []; addEventListener('error', e => errors.push(e.message));</script>"
    last = "top.document.body.append(Object.assign(document.createElement('pre'), {id: 'seen', textContent: %s}));"
    steps = f"addEventListener('load', () => {{ {TOOLS} {script} {last % 'JSON.stringify(seen)'} }});"
    text = page.read_text(encoding="utf-8").replace("<head>", errors, 1)
    copy = page.with_name(f"used_{page.name}")
    inner = html.escape(text.replace("</body>", f"<script>{steps}</script></body>"))
    # a window is never narrower than 500 pixels, a frame is
    copy.write_text(f'<!doctype html><iframe width="{width}" height="900" srcdoc="{inner}"></iframe>', encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"]
    options += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--no-first-run",
    ]
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    assert CHROMIUM is not None
    command = [CHROMIUM, *options, scheme, "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    (found,) = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    seen: dict[str, Any] = json.loads(html.unescape(found))
    assert seen["errors"] == seen["requests"] == []
    assert seen["dark"] == dark
    assert min(seen["contrasts"]) >= 4.5  # WCAG AA
    assert seen["width"][1] <= seen["width"][0] == width, "nothing but tables and figures scrolls sideways"
    assert (seen["lost"], seen["out_of_reach"]) == (0, 0)
    return seen


@pytest.fixture
def runs(make_run) -> list[RunMatrix]:
    """Four ranks with two seeds each, the higher the better kept."""
    return [
        dataclasses.replace(
            load_matrix(make_run(f"{rank}_{seed}", tasks=TASKS, seed=seed, keep=keep, answers=20, images=False)),
            protocol={"adapter": f"rank {rank}"},
        )
        for rank, keep in ((8, 0.2), (80, 0.9), (16, 0.4), (18, 0.6), (4, 0.1), (2, 0.3), (1, 0.5))
        for seed in (1, 2)
    ]


def test_a_comparison_is_sorted_and_filtered(runs: list[RunMatrix], tmp_path: Path) -> None:
    page = write_comparison(compare(runs), tmp_path / "out")[0]
    seen = used(page, """
        const table = document.querySelector("table.sort"), [name, acc] = all("thead th button", table);
        acc.click(); seen.down = column(table, 1); seen.first = column(table, 0)[0];
        seen.marked = texts(all("th[aria-sort=descending]", table));
        acc.click(); seen.up = column(table, 1);
        name.click(); seen.names = column(table, 0);
        press("/"); seen.focused = document.activeElement === document.querySelector("#filter input");
        type("rank 8"); seen.only = column(table, 0);
        seen.everywhere = all("table.sort.rows").map(each => column(each, 0).length);
        seen.told = document.querySelector("#filter output").textContent;
        type("moelora, RANK 1"); seen.both = column(table, 0);
        type("nothing like it"); seen.none = document.querySelector("#filter output").textContent;
        press("Escape", document.activeElement); seen.again = column(table, 0).length;
    """)  # fmt: skip
    numbers = [float(text.split()[0]) for text in seen["down"]]
    assert numbers == sorted(numbers, reverse=True)
    assert seen["up"] == seen["down"][::-1]
    assert seen["first"] == "MoELoRA, rank 80 (2 seeds)"
    assert seen["marked"] == ["Final accuracy (ACC)"]
    assert seen["names"] == sorted(seen["names"])
    assert seen["focused"]
    assert seen["only"] == ["MoELoRA, rank 8 (2 seeds)"]
    assert set(seen["everywhere"]) == {1}
    assert seen["told"] == f"{len(seen['everywhere'])} of {7 * len(seen['everywhere'])}"
    assert seen["both"] == ["MoELoRA, rank 1 (2 seeds)"]
    assert seen["none"].startswith("0 of ")
    assert seen["again"] == 7
    assert seen["sections"][:2] == ["Scores", "What is sure"]


def test_a_sweep_on_a_phone(runs: list[RunMatrix], tmp_path: Path) -> None:
    members = [Member({"rank": run.protocol["adapter"].split()[1], "experts": "2"}, "finished", run) for run in runs]
    broken = Member({"rank": "3", "experts": "2"}, "failed", reason="out of memory")
    write_sweep("rank", [*members, broken], 15, tmp_path / "sweep.html")
    seen = used(tmp_path / "sweep.html", """
        const table = document.querySelector("table.sort"), [rank, , acc] = all("thead th button", table);
        rank.click(); seen.down = column(table, 0);
        acc.click(); acc.click(); seen.last = column(table, 0).at(-1);
        type("rank=1"); seen.one = column(table, 0);
        type("failed"); seen.failed = column(table, 0);
    """, width=390, dark=True)  # fmt: skip
    assert seen["down"] == ["80", "18", "16", "8", "4", "3", "2", "1"]  # by number, not by letter
    assert seen["last"] == "3"  # what has no number stands last either way
    assert (seen["one"], seen["failed"]) == (["1"], ["3"])


def test_values_are_sorted_as_numbers_however_they_were_typed(runs: list[RunMatrix], tmp_path: Path) -> None:
    typed = ["1E-4", ".5", "5E-5", "2", "1e-3"]
    members = [Member({"lr": lr, "experts": "2"}, "finished", run) for lr, run in zip(typed, runs[:5], strict=True)]
    broken = Member({"lr": "3e-3", "experts": "2"}, "failed", reason="out of memory")
    write_sweep("lr", [*members, broken], 6, tmp_path / "sweep.html")
    seen = used(tmp_path / "sweep.html", """
        const table = document.querySelector("table.sort"), [rate] = all("thead th button", table);
        rate.click(); seen.order = column(table, 0);
    """)  # fmt: skip
    rising = ["5E-5", "1E-4", "1e-3", "3e-3", ".5", "2"]
    assert seen["order"] in (rising, rising[::-1])


def test_the_answers_of_a_run_are_filtered(make_run) -> None:
    page = write_report(make_run(tasks=TASKS, answers=20, keep=0.3), figures=False)
    seen = used(page, """
        const costs = document.querySelector("#cost table"), heads = texts(all("thead th", costs));
        const button = all("thead th button", costs)[heads.indexOf("training")];
        seen.order = [0, 1].map(() => { button.click(); return column(costs, 0); });
        seen.before = all("details[open]").length;
        type("forgotten"); seen.tags = texts(shown(".example .tag"));
        seen.open = shown("#examples details").every(each => each.open);
        type("gqa, forgotten"); seen.tasks = texts(shown("#examples summary")).map(each => each.slice(0, 3));
        press("Escape", document.querySelector("#filter input")); seen.after = all(".example:not([hidden])").length;
        seen.total = all(".example").length;
    """, width=390)  # fmt: skip
    assert seen["order"] == [["VizWiz", "GQA", "ScienceQA", "zero-shot"], ["ScienceQA", "GQA", "VizWiz", "zero-shot"]]
    assert set(seen["tags"]) == {"forgotten"}
    assert seen["open"]
    assert seen["tasks"] == ["GQA"]
    assert seen["before"] >= 1
    assert seen["after"] == seen["total"] > 10
    assert {"Matrix", "Forgetting curves", "Answers", "Cost"} <= set(seen["sections"])
