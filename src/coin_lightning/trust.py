"""What the config of a run folder may name to be called: a folder from a stranger must not run code of its choice.

A config that was written here is signed with a key of the user's own (`trust.key` in the cache) and may name anything;
a kept command (`command.json`) is given again only where it is signed.
Of others, allowed is what the package's own yaml files name, its methods, scorers and the like, optimizers of torch,
callbacks and loggers of Lightning, and modules that the user names in `COIN_LIGHTNING_TRUST`.
"""

import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock

from coin_lightning.assets import cache_root
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import RunError
from coin_lightning.whole_files import taking_place_of, write_text

TARGET = "_target_"
VARIABLE = "COIN_LIGHTNING_TRUST"
"""Modules, separated by commas: what is in them may be called."""
IN_YAML = re.compile(rf"{TARGET}:\s*([\w.]+)")
CLASSES = re.compile(
    r"(?P<package>torch\.optim|lightning\.pytorch\.(?:callbacks|loggers|strategies)"
    r"|coin_lightning\.(?:evaluation|methods|plugins|objectives))(?:\.\w+)*\.[A-Z]\w*"
)
"""Names of classes that these packages may have; whether they do is looked up, see `_is_class`."""
KEY = "trust.key"
SIGNATURE = ".{stem}.sha256"
"""Beside `config.yaml` and `command.json`: its HMAC."""


def sign(file: Path) -> None:
    """Say that a file is of this user's making on this machine. Where the cache has no room for a key, it is not."""
    with suppress(OSError, RuntimeError):
        if (key := _key(make=True)) is not None:
            write_text(_beside(file), _signature(key, file))


def is_signed(file: Path) -> bool:
    """Whether the file is one that was signed here, to the byte."""
    try:
        key, told = _key(), _beside(file).read_text(encoding="utf-8")
        return key is not None and hmac.compare_digest(told, _signature(key, file))
    except (OSError, ValueError, RuntimeError, TypeError):
        return False


def _beside(file: Path) -> Path:
    return file.with_name(SIGNATURE.format(stem=file.stem))


def _signature(key: bytes, file: Path) -> str:
    return hmac.new(key, file.read_bytes(), "sha256").hexdigest()


def _key(make: bool = False) -> bytes | None:
    file = cache_root() / KEY
    if make and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):  # of two first runs at once the second must not take the first one's key away
            _make(file)
    return file.read_bytes() if file.exists() else None


def _make(file: Path) -> None:
    if not file.exists():
        with taking_place_of(file) as scratch:
            scratch.touch(0o600)
            scratch.write_bytes(secrets.token_bytes(32))


def check_targets(config: Mapping[str, Any], file: Path) -> None:
    """See that a config that was read from a run folder names nothing that it may not.

    Raises:
        RunError: it does; nothing of it has been called.
    """
    if is_signed(file):
        return
    trusted = tuple(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())
    known = _in_package()
    foreign = sorted(
        name
        for name in set(targets(config))
        if name not in known
        and not _is_class(name)
        and not any(name == module or name.startswith(f"{module}.") for module in trusted)
    )
    if foreign:
        modules = ",".join(sorted({name.rpartition(".")[0] or name for name in foreign}))
        raise RunError(
            f"{file}: asks for code that is not of this package: {', '.join(foreign)}. If you know where this run "
            f"comes from and want that code to run, set {VARIABLE}={modules}"
        )


def _is_class(name: str) -> bool:
    """Whether a name is that of a class which one of the packages in `CLASSES` defines. Modules have in them what they
    import, too, down to the operating system, and Hydra would follow such a path: `...judges.embedding.torch.os`."""
    found = CLASSES.fullmatch(name)
    if found is None:
        return False
    place, _, attribute = name.rpartition(".")
    try:
        made = getattr(import_module(place), attribute, None)  # of a path through a module: it is no package
    except ImportError:
        return False
    return isinstance(made, type) and f"{made.__module__}.".startswith(f"{found['package']}.")


def check_literal(config: Mapping[str, Any], file: Path) -> None:
    """See that a config that was read from a run folder is made of values: OmegaConf, which some commands hand it to,
    would put environment variables, files or code of a stranger's choice for `${...}`.

    Raises:
        RunError: it has such a thing; a run writes none.
    """
    if found := [key for key, value in _within(config) if isinstance(value, str) and "${" in value]:
        raise RunError(
            f"{file}: {', '.join(found)} has ${{...}}, and a run's config has values only; restore the file, or put "
            "there what is meant"
        )


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` in a nested config."""
    return (str(value) for key, value in _within(node) if key.split(".")[-1] == TARGET and value is not None)


def _within(node: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a nested config with their keys, groups and lists among them."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, value in items:
        key = f"{above}.{name}" if above else str(name)
        yield key, value
        yield from _within(value, key)


@cache
def _in_package() -> frozenset[str]:
    files = sorted(conf_dir().rglob("*.yaml"))
    return frozenset(name for file in files for name in IN_YAML.findall(file.read_text(encoding="utf-8")))
