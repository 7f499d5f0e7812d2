"""Whether W&B's server can be used: who is logged in, and does it answer."""

import os
import socket
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

from coin_lightning.errors import ConfigError

MODES = ("auto", "online", "offline", "disabled")
TOKEN_FILE = "WANDB_IDENTITY_TOKEN_FILE"


def resolve_mode(mode: str = "auto", timeout: float = 2.0) -> str:
    """``online``, ``offline`` or ``disabled``.

    ``auto`` takes ``WANDB_MODE`` when it is set, or what ``wandb offline`` has noted. Otherwise it goes online only
    when an API key is known and the server accepts a connection within ``timeout`` seconds, so that a machine without
    network logs offline at once.

    Raises:
        ConfigError: not one of ``MODES``.
    """
    if mode not in MODES:
        raise ConfigError(f"logger mode is {mode!r}; choose one of {', '.join(MODES)}.")
    if mode != "auto":
        return mode
    chosen = os.environ.get("WANDB_MODE", "").lower()
    if chosen:
        return {"dryrun": "offline"}.get(chosen, chosen if chosen in MODES[1:] else "online")
    if (noted := settings().mode) in ("offline", "disabled"):
        return str(noted)
    return "online" if is_logged_in() and answers(server(), timeout) else "offline"


def settings() -> Any:
    """W&B's, from its environment variables and files."""
    import wandb

    return wandb.setup().settings


def server() -> str:
    """Address of the server."""
    return str(settings().base_url)


def is_logged_in() -> bool:
    """Whether a key for the server is known: from the environment, the settings, or ``wandb login``."""
    from requests.utils import get_netrc_auth

    return bool(settings().api_key or os.environ.get(TOKEN_FILE) or get_netrc_auth(server()))


def answers(url: str, timeout: float) -> bool:
    """Whether the host of ``url`` accepts a TCP connection; through a proxy, whether the proxy does."""
    target = urlparse(url)
    proxy = getproxies().get(target.scheme)
    if proxy and target.hostname and not proxy_bypass(target.hostname):
        target = urlparse(proxy)
    if target.hostname is None:
        return False
    try:
        port = target.port or {"http": 80}.get(target.scheme, 443)
        with socket.create_connection((target.hostname, port), timeout=timeout):
            return True
    except OSError:
        return False
