"""`dashboard` against a stand-in for W&B's server on loopback."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from coin_lightning.cli import dashboard

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from fake_wandb import FakeWandb

# wandb-workspaces 0.4 declares its validators as pydantic 1 did, which pydantic 2 still takes
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
TASKS = "scienceqa,gqa"


@pytest.fixture(autouse=True)
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """With a key from a variable, and none at home."""
    for name in ("WANDB_MODE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


def test_workspace_and_report_are_saved_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces")
    with FakeWandb().served() as fake:
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        assert dashboard.main(["p", "--tasks", TASKS]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert f"workspace  {fake.url}/me/p?nw=" in out
    assert f"report     {fake.url}/me/p/reports/" in out
    assert set(fake.views) == {"project-view", "runs"}
    assert {(view["entityName"], view["projectName"]) for view in fake.views.values()} == {("me", "p")}
    sections = json.loads(fake.views["project-view"]["spec"])["section"]["panelBankConfig"]["sections"]
    assert [panel["config"]["metrics"] for panel in sections[0]["panels"]] == [
        ["forgetting/scienceqa"],
        ["forgetting/gqa"],
    ]
    assert '"score/gqa"' in fake.views["runs"]["spec"]


def test_a_server_that_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces")
    with FakeWandb(refuses="permission denied").served() as fake:
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        assert dashboard.main(["p", "--entity", "team"]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith(f"error: {fake.url}: does not make the dashboard: ")
    assert told[0].endswith("permission denied")


def test_what_is_missing_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", closed)
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    assert dashboard.main(["p"]) == 1
    assert "pip install 'coin-lightning[dashboard]'" in capsys.readouterr().err
    monkeypatch.setattr(dashboard, "find_spec", lambda name: object())
    assert dashboard.main(["p"]) == 1
    assert f"{closed}: does not answer" in capsys.readouterr().err
    monkeypatch.delenv("WANDB_API_KEY")
    wandb.teardown()
    assert dashboard.main(["p"]) == 1
    assert f"no key for {closed}: wandb login" in capsys.readouterr().err
