"""What the workspace and the report of a W&B project show, read from what would be sent."""

from typing import Any

import pytest
import wandb
from fake_wandb import FakeWandb

# wandb-workspaces 0.4 declares its validators as pydantic 1 did, which pydantic 2 still takes
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
TASKS = ("scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa")


@pytest.fixture
def sections() -> list[dict[str, Any]]:
    pytest.importorskip("wandb_workspaces")
    from coin_lightning.reporting.wandb_workspace import workspace

    made = workspace("p", "me", TASKS)
    spec = made._to_model().spec.model_dump(by_alias=True, exclude_none=True)
    found: list[dict[str, Any]] = spec["section"]["panelBankConfig"]["sections"]
    return found


def panels(section: dict[str, Any], view: str) -> list[dict[str, Any]]:
    return [panel["config"] for panel in section["panels"] if panel["viewType"] == view]


def test_forgetting_curves_stand_first_on_one_screen(sections: list[dict[str, Any]]) -> None:
    assert [section["name"] for section in sections[:2]] == ["Forgetting", "Score"]
    assert all(section["isOpen"] for section in sections)
    layout = sections[0]["flowConfig"]
    assert (layout["columnsPerPage"], layout["rowsPerPage"]) == (3, 3)  # eight of nine places: no page to turn
    for section, name in zip(sections, ("forgetting", "score"), strict=False):
        curves = panels(section, "Run History Line Plot")
        assert [curve["metrics"] for curve in curves] == [[f"{name}/{task}"] for task in TASKS]
        assert {curve["xAxis"] for curve in curves} == {"task"}
        assert curves[2]["chartTitle"] == "ImageNet"


def test_experts_and_rank_stand_beside_what_they_lead_to(sections: list[dict[str, Any]]) -> None:
    (plot,) = panels(sections[2], "Parallel Coordinates Plot")
    columns = [column["accessor"] for column in plot["columns"]]
    assert columns[:2] == ["config:adapter/num_experts.value", "config:adapter/rank.value"]
    assert {"summary:metrics/acc", "summary:metrics/bwt", "summary:metrics/forgetting"} < set(columns)
    bars = panels(sections[2], "Bar Chart")
    assert [bar["metrics"] for bar in bars] == [[column.removeprefix("summary:")] for column in columns[2:]]


def test_matrix_answers_and_training_are_shown(sections: list[dict[str, Any]]) -> None:
    (media,) = panels(sections[3], "Media Browser")
    assert media["mediaKeys"] == ["score_matrix_image"]
    tables = str([panel for panel in sections[3]["panels"] if panel["viewType"] == "Weave"])
    assert "score_matrix" in tables
    assert "examples" in tables
    loss, rates = panels(sections[4], "Run History Line Plot")
    assert (loss["metrics"], loss["xAxis"]) == (["train/loss"], "sequence_step")
    assert rates["metricRegex"] == "lr-.*"


def test_the_report_shows_the_same(sections: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    from coin_lightning.reporting.wandb_workspace import report

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with FakeWandb().served() as fake:  # it is asked for the project's number
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        wandb.teardown()
        spec = report("p", "me", TASKS)._to_model().spec.model_dump(by_alias=True, exclude_none=True)
    wandb.teardown()
    grids = [block["metadata"] for block in spec["blocks"] if block["type"] == "panel-grid"]
    runs = {(each["project"]["entityName"], each["project"]["name"]) for grid in grids for each in grid["runSets"]}
    assert runs == {("me", "p")}
    shown = [panel["config"] for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    expected = [panel["config"] for section in sections[:4] for panel in section["panels"]]
    assert sorted(map(str, shown)) == sorted(map(str, expected))
    curves = grids[0]["panelBankSectionConfig"]["panels"]
    places = [(panel["layout"]["x"], panel["layout"]["y"]) for panel in curves]
    assert len(set(places)) == len(TASKS)
    assert max(panel["layout"]["x"] + panel["layout"]["w"] for panel in curves) <= 24
