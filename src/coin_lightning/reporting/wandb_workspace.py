"""The dashboard of a W&B project: a workspace and a report over what runs log there, by `wandb-workspaces`.

The first section is the forgetting curves of all tasks, on one screen. Saving needs the server; building does not.
"""

import math
from collections.abc import Sequence
from typing import Any

from coin_lightning.reporting.experience_log import TASK
from coin_lightning.reporting.names import title
from coin_lightning.reporting.wandb_rows import STEP

NAME = "Forgetting (coin_lightning)"
CURVES = {"forgetting": "points lost since its best", "score": "score in percent"}
"""Beginning of a metric's name -> what is drawn, task by task."""
FINAL = {
    "acc": "Final accuracy",
    "forgetting": "Forgetting",
    "bwt": "Backward transfer",
    "maa": "Mean average accuracy",
}
SWEPT = {"adapter/num_experts": "experts", "adapter/rank": "rank"}
WIDTH, HEIGHT = 24, 6
"""Columns of a report, and rows of one of its panels."""


def workspace(project: str, entity: str, tasks: Sequence[str]) -> Any:
    """A saved view of the project: `wandb_workspaces.workspaces.Workspace`.

    Args:
        project, entity: of W&B.
        tasks: keys of the tasks whose curves are shown.
    """
    import wandb_workspaces.workspaces as ws

    columns = min(4, math.ceil(math.sqrt(len(tasks))))
    rows = math.ceil(len(tasks) / columns)
    sections = [
        *(_section(name.capitalize(), _curves(name, tasks), columns, rows) for name in CURVES),
        _section("At the end, and what was swept", [_parallel(), *_bars()], 3, 2),
        _section("Matrix and answers", _matrix(), 1, 1),
        _section("Training", _training(), 2, 1),
    ]
    return ws.Workspace(
        name=NAME,
        entity=entity,
        project=project,
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=100),
        auto_generate_panels=False,
    )


def report(project: str, entity: str, tasks: Sequence[str]) -> Any:
    """A report on the project: `wandb_workspaces.reports.v2.Report`. Arguments as of `workspace`."""
    import wandb_workspaces.reports.v2 as wr

    def grid(panels: Sequence[Any], columns: int, height: int = HEIGHT) -> Any:
        for at, panel in enumerate(panels):
            width = WIDTH // columns
            panel.layout = wr.Layout(x=at % columns * width, y=at // columns * height, w=width, h=height)
        return wr.PanelGrid(runsets=[wr.Runset(entity=entity, project=project)], panels=list(panels))

    curves = [
        block
        for name, meaning in CURVES.items()
        for block in (wr.H2(name.capitalize()), wr.P(_words(meaning)), grid(_curves(name, tasks), min(4, len(tasks))))
    ]
    return wr.Report(
        project=project,
        entity=entity,
        title=NAME,
        description="What each run has forgotten, task by task.",
        width="fluid",
        blocks=[
            *curves,
            wr.H2("Experts and rank"),
            grid([_parallel()], 1, 2 * HEIGHT),
            wr.H2("At the end"),
            grid(_bars(), len(FINAL)),
            wr.H2("Matrix and answers"),
            grid(_matrix(), 1, 2 * HEIGHT),
        ],
    )


def _words(meaning: str) -> str:
    return f"{meaning.capitalize()}, after each task of the sequence; 0 on the axis is before any training."


def _section(name: str, panels: Sequence[Any], columns: int, rows: int) -> Any:
    import wandb_workspaces.workspaces as ws

    layout = ws.SectionLayoutSettings(columns=columns, rows=rows)
    return ws.Section(name=name, panels=list(panels), is_open=True, layout_settings=layout)


def _curves(name: str, tasks: Sequence[str]) -> list[Any]:
    """A panel for each task, its runs as lines over the sequence of tasks."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(title=title(task), x=TASK, y=[f"{name}/{task}"], title_x="tasks trained", title_y=CURVES[name])
        for task in tasks
    ]


def _parallel() -> Any:
    import wandb_workspaces.reports.v2 as wr

    column = wr.ParallelCoordinatesPlotColumn
    swept = [column(metric=wr.Config(key), display_name=name) for key, name in SWEPT.items()]
    ends = [column(metric=wr.SummaryMetric(f"metrics/{key}"), display_name=name) for key, name in FINAL.items()]
    return wr.ParallelCoordinatesPlot(title="Experts and rank", columns=[*swept, *ends])


def _bars() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.BarPlot(title=name, metrics=[f"metrics/{key}"]) for key, name in FINAL.items()]


def _matrix() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    heat_map = wr.MediaBrowser(title="Score after each task on each task", media_keys=["score_matrix_image"])
    return [heat_map, *(wr.WeavePanelSummaryTable(table_name=name) for name in ("score_matrix", "examples"))]


def _training() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    loss = wr.LinePlot(title="Loss", x=STEP, y=["train/loss"], title_x="optimizer steps")
    return [loss, wr.LinePlot(title="Learning rates", x=STEP, metric_regex="lr-.*", title_x="optimizer steps")]
