"""``report.html``: one self-contained page about a run, made from its artefacts."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from coin_lightning.errors import DataError, RunError
from coin_lightning.reporting import names
from coin_lightning.reporting.drawing import Drawing, Text
from coin_lightning.reporting.examples import HOW_CHOSEN, all_examples
from coin_lightning.reporting.figures import bars_figure, curve_figure, save_figures
from coin_lightning.reporting.flip_tables import RunFlips, run_flips
from coin_lightning.reporting.glossary import explain, paired
from coin_lightning.reporting.judge_figures import both_ways_figure
from coin_lightning.reporting.page_sections import judge_sections, matrix_cells, scoring_section
from coin_lightning.reporting.published_comparison import comparisons
from coin_lightning.reporting.rendering import png_bytes, svg
from coin_lightning.reporting.router_figures import router_layers_figure, router_load_figure
from coin_lightning.reporting.run_artifacts import RunArtifacts, load_run
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.sample_scores import SampleReader
from coin_lightning.whole_files import write_text


def write_report(run_dir: Path | str, figures: bool = True) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into a run folder, finished or not.

    Args:
        run_dir: the run folder.
        figures: write the PNG files, too; the page does not need them, and they take ten times as long.

    Returns:
        The path of the page. Images are inlined: the page asks for nothing else, on disk or in the network.

    Raises:
        RunError: an artefact is missing or garbled; the message names it.
    """
    run = load_run(run_dir)
    if figures:
        save_figures(run, run.path / "figures")
    page = run.path / "report.html"
    write_text(page, render_report(run))
    return page


def render_report(run: RunArtifacts) -> str:
    """The page as text.

    Raises:
        RunError: an artefact is missing or garbled.
    """
    examples, examples_missing = all_examples(run)
    flips, missing = _flips(run)
    return template("report.html.j2").render(
        run=run,
        matrix=run.matrix,
        machine=machine_class(run.environment),
        headline=headline(run.matrix),
        cells=matrix_cells(run.matrix),
        judged=judge_sections(run.matrix),
        scoring=scoring_section(run),
        comparisons=comparisons(run.matrix),
        flips=flips,
        flips_missing=missing,
        metrics=paired(run.matrix.metrics),
        figures=_inline_figures(run),
        examples=examples,
        examples_missing=examples_missing,
        how_chosen=HOW_CHOSEN,
        environment=_environment_rows(run),
    )


def _flips(run: RunArtifacts) -> tuple[RunFlips, str]:
    """Flips of the run, or why there are none: the page of a run with older rules can do without."""
    try:
        return run_flips(run.matrix, SampleReader.of(run)), ""
    except (RunError, DataError) as error:
        return RunFlips({}, {}), str(error).replace(str(run.path), "RUN")  # the page may be handed on


@cache  # compiling it takes longer than writing a page
def template(name: str) -> Template:
    """A template of this package: escapes everything, fails on an unknown name."""
    environment = Environment(
        loader=PackageLoader("coin_lightning.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"names": names, "explain": explain}
    return environment.get_template(name)


def prepare_pages() -> None:
    """Compile all that a page is made of, and let Matplotlib find its fonts, for this process and its forks."""
    png_bytes(Drawing(1, 1, "", "", [Text(0, 0, "a"), Text(0, 0, "a", bold=True)]))
    environment = template("report.html.j2").environment
    for name in environment.list_templates(extensions=["j2"]):
        environment.get_template(name)


def headline(matrix: RunMatrix) -> list[tuple[str, str, str]]:
    """(number, unit, caption) of the numbers to remember, over the tasks trained so far, as far as they are known."""
    if matrix.training != "sequence":
        return _headline_of_the_end(matrix)
    seen = [task for task in range(len(matrix.tasks)) if task < matrix.last]
    if not seen:
        return []
    learned, now = matrix.immediate[seen], matrix.final[seen]
    end = "at the end" if matrix.is_complete else f"after {matrix.last} of {len(matrix.tasks)} tasks"
    earlier = (now - learned)[:-1]
    tiles = [
        (names.percent(float(matrix.zero_shot[seen].mean())), "%", "before any training (zero-shot)"),
        (names.percent(float(learned.mean())), "%", "on each task right after its own training"),
        (names.percent(float(now.mean())), "%", f"on the same tasks {end}"),
    ]
    if len(earlier):
        as_coin = matrix.headline_bwt == "bwt_coin"
        mean = float(earlier.sum()) / (len(seen) if as_coin else len(earlier))
        over = ", over T as CoIN prints it" if as_coin else ""
        tiles.append((names.signed(mean), "points", f"mean change of the earlier tasks {end} (BWT{over})"))
    return [tile for tile in tiles if tile[0] != names.MISSING]


def _headline_of_the_end(matrix: RunMatrix) -> list[tuple[str, str, str]]:
    """The numbers of a run without a sequence: before training, and after learning all tasks at once."""
    captions = {0: "before any training (zero-shot)", len(matrix.tasks): "after learning all tasks at once"}
    return [(names.percent(float(matrix.scores[row].mean())), "%", captions[row]) for row in matrix.filled]


def machine_class(environment: dict[str, Any]) -> str:
    """Device and core count, e.g. ``cpu, 2 cores``; empty when the environment file does not say."""
    machine = environment.get("machine", {})
    parts = [str(machine[key]) for key in ("device",) if machine.get(key)]
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    return ", ".join(parts)


def _inline_figures(run: RunArtifacts) -> dict[str, Any]:
    matrix, router = run.matrix, run.router
    curves = range(len(matrix.tasks)) if matrix.last >= 1 and matrix.training == "sequence" else ()
    return {
        "curves": [svg(curve_figure(matrix, task)) for task in curves],
        "bars": svg(bars_figure(matrix)) if matrix.last >= 1 else None,
        "both": svg(both_ways_figure(matrix)) if matrix.last >= 1 and matrix.judges else None,
        "router": None if router is None else svg(router_load_figure(router)),
        "router_layers": None if router is None else svg(router_layers_figure(router)),
    }


def _environment_rows(run: RunArtifacts) -> list[tuple[str, str]]:
    """Flat (name, text) rows; folders of the machine are left out, the page may be handed on."""
    environment = run.environment
    rows = [(f"machine: {key}", str(value)) for key, value in environment.get("machine", {}).items()]
    rows += [("code (git)", str(environment.get("git") or "not recorded"))]
    rows += [(str(key), str(value)) for key, value in environment.get("versions", {}).items()]
    rows += [
        (f"data: {run.matrix.title(task)}", _data_text(entry)) for task, entry in environment.get("data", {}).items()
    ]
    return rows


def _data_text(entry: dict[str, Any]) -> str:
    hashes: Iterable[tuple[str, Any]] = (entry.get("sha256") or {}).items()
    prints = ", ".join(f"{Path(name).name} sha256 {str(value)[:12]}…" for name, value in hashes)
    return f"{entry.get('train', '?')} train, {entry.get('test', '?')} test rows" + (f"; {prints}" if prints else "")
