"""The `conf` folder read as plain yaml: what a task or a method is called and scored by, for code without Hydra."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from coin_lightning.errors import ConfigError


@cache
def conf_dir() -> Path:
    """The `conf` folder: of the checkout, or inside the installed package."""
    package = Path(__file__).parent
    places = (package / "conf", package.parents[1] / "conf")
    return next(folder for folder in places if (folder / "train.yaml").is_file())


def load_yaml(text: str) -> Any:
    """Content of plain yaml, by libyaml where PyYAML has it: a run's config takes 15 ms instead of 150.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dump_yaml(content: Any) -> str:
    """Plain yaml of it, by libyaml where PyYAML has it: a quarter of the time for the same text."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))


@cache
def task_nodes(folder: Path) -> dict[str, dict[str, Any]]:
    """Every task that a config folder has (`task/*.yaml`), by its name.

    Raises:
        ConfigError: a file is no yaml.
    """
    return {str(node.get("name", key)): node for key, node in _tasks(folder)}


def _tasks(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((folder / "task").glob("[!_]*.yaml")):
        for key, node in _content(file).items():
            if isinstance(node, dict):
                yield key, node


def coin_order() -> list[str]:
    """Names of CoIN's eight tasks in its order."""
    defaults = _content(conf_dir() / "scenario" / "_coin_tasks.yaml")["defaults"]
    return next(list(each["/task@tasks"]) for each in defaults if isinstance(each, dict) and "/task@tasks" in each)


def title_in_yaml(group: str, name: str) -> str | None:
    """Title of an option of the package's config group `method` or `plugin`; None where its yaml has none."""
    file = conf_dir() / group / f"{name}.yaml"
    return _content(file).get("title") if file.is_file() else None


@cache
def _content(file: Path) -> dict[str, Any]:
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as yaml ({error})") from error
    return content if isinstance(content, dict) else {}
