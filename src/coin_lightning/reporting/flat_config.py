"""A config as one level of keys, and without what must not leave the machine: keys, passwords, tokens."""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:api[_-]?keys?|access[_-]?keys?|private[_-]?keys?|key|tokens?|secrets?|passwords?|passwd|pwd"
    r"|passphrase|credentials?|auth|authorization|bearer|cookies?)$",
    re.I,
)
"""How names of secrets end. `api_key_env`, the name of a variable, is none; nor is `max_tokens=512`, a number."""
SECRET_VALUE = re.compile(
    r"\b(?:sk-[\w-]{16,}|hf_\w{16,}|gh[opsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+|AKIA[0-9A-Z]{16}|wandb_v\d_\w{16,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)
"""Values that look like keys of well-known services, whatever their name."""
IN_URL = re.compile(
    r"(?<=://)[^/\s@]+(?=@)|(?<=[?&])((?:\w*(?:key|token|secret|password|sig|signature))=)[^&\s]+", re.I
)
PAIR = re.compile(r"([\w.+~-]+)=([^,\s/&]+)")
NESTED = re.compile(r"(?<![\w.-])([\w.-]+)\\?['\"]?\s*:\s*(\d*)")
"""A key within braces of a command line, and the number that may follow it."""
FURTHER = re.compile(r"[,\s][\w.+~/-]+=")
SHORTEST = 8
"""Characters from which on the value of an environment variable is looked for: shorter ones are words."""


def flat(node: Any, separator: str = ".", key: str = "") -> list[tuple[str, Any]]:
    """The leaves of a nested config with their joined keys; lists and empty groups are leaves."""
    if not (isinstance(node, Mapping) and node):
        return [(key, node)]
    inner = ((f"{key}{separator}{name}" if key else str(name), value) for name, value in node.items())
    return [leaf for name, value in inner for leaf in flat(value, separator, name)]


def without_secrets(node: Any, name: str = "") -> Any:
    """The same config with `HIDDEN` for every text that is a secret: by its name, by what it looks like, or because an
    environment variable with such a name holds it. Of an address only the user and the key in it are left out.
    """
    if isinstance(node, Mapping):
        secret = SECRET_NAME.search(name)
        return {key: without_secrets(value, name if secret else str(key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [without_secrets(value, name) for value in node]
    if not isinstance(node, str) or not node:
        return node
    return HIDDEN if SECRET_NAME.search(name) else hidden(node)


def hidden(text: str) -> str:
    """A text without the secrets in it; a word `NAME=VALUE` of a command line is judged by its name, too, and so are
    several of them, as a run's folder is named."""
    key, _, value = text.partition("=")
    if value and re.fullmatch(r"[\w.+~/-]+", key):
        inner = NESTED.findall(value) if value.startswith(("{", "[")) else []
        alone = not FURTHER.search(value) and _is_secret(key, value)
        if alone or any(_is_secret(name, number or "?") for name, number in inner):
            return f"{key}={HIDDEN}"
    text = PAIR.sub(lambda pair: f"{pair[1]}={HIDDEN}" if _is_secret(pair[1], pair[2]) else pair[0], text)
    for secret in _in_environment():
        text = text.replace(secret, HIDDEN)
    return IN_URL.sub(lambda found: f"{found[1] or ''}{HIDDEN}", SECRET_VALUE.sub(HIDDEN, text))


def _is_secret(key: str, value: str) -> bool:
    """Whether a value on a command line is one by its name; `max_new_tokens=64` is a number of tokens."""
    name = re.split(r"[./]", key)[-1]
    return bool(value and SECRET_NAME.search(name)) and not (name.endswith("tokens") and value.isdecimal())


def _in_environment() -> list[str]:
    """Values of environment variables whose names are those of secrets, the longest first."""
    held = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST}
    return sorted(held, key=len, reverse=True)
