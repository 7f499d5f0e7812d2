"""When W&B is used online."""

import socket
from pathlib import Path

import pytest
import wandb

from coin_lightning.errors import ConfigError
from coin_lightning.reporting.wandb_service import answers, is_logged_in, resolve_mode, server


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of W&B, no proxy, an empty home."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch):
    """A server on loopback; W&B is told of it and reads its variables anew."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        wandb.teardown()
        yield listener
    wandb.teardown()


def test_a_mode_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert resolve_mode("auto") == "offline"
    assert resolve_mode("disabled") == "disabled"
    with pytest.raises(ConfigError, match="'sometimes'; choose one of auto, online"):
        resolve_mode("sometimes")


def test_auto_needs_a_key_and_a_server(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server() == f"http://127.0.0.1:{listening.getsockname()[1]}"
    assert (is_logged_in(), resolve_mode("auto")) == (False, "offline")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    wandb.teardown()
    assert (is_logged_in(), resolve_mode("auto")) == (True, "online")
    listening.close()
    assert resolve_mode("auto") == "offline"


def test_wandb_login_is_seen(listening: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1\n login user\n password {'x' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert is_logged_in()


def test_a_proxy_stands_for_the_servers_behind_it(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", server())
    assert answers("https://somewhere.invalid", 0.5)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not answers("https://127.0.0.1:9", 0.5)
