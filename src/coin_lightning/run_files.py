"""Reading the JSON files of a run; of a damaged one the message has the remedy that works for just this file."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from coin_lightning.config_folder import dump_yaml, load_yaml
from coin_lightning.errors import RunError
from coin_lightning.json_files import BROKEN
from coin_lightning.manifest import check, check_mark
from coin_lightning.trust import sign
from coin_lightning.whole_files import write_text

AGAIN = "give the command of the run again"
REMEDIES = {
    "matrix.json": f"remove it and {AGAIN}: it is written anew from the other files",
    "metrics.json": f"remove it and matrix.json, and {AGAIN}: both are written anew from the other files",
    "environment.json": "restore or remove it; without it pages say nothing of machine and data, and nobody checks "
    "that the data are those that the run was started with",
    "subsets.json": "restore or remove it; without it nobody checks that the samples are those the run started with",
    "changes.json": "restore or remove it; without it pages say nothing of batches that changed in mid-run",
    "scores.json": f"restore it, or remove it and {AGAIN}: the experience is evaluated again",
    "router.json": f"restore it, or remove it and its scores.json, and {AGAIN}: the experience is evaluated again",
    "train.json": f"restore it, or remove its folder and those of later tasks, and {AGAIN}: they are learned again",
}
"""Name of a file -> what to do when it cannot be read."""
JUDGED = f"remove it and judge again ({AGAIN}, or coin_lightning judge): replies are kept, nothing is asked twice"
MOST = 100_000
"""Values of a config; references within references could stand for more than any memory holds."""
IMPORTED = "imported.json"
"""In a run folder that was made from another program's results: where they lay, their sha256, what is not known."""
SECTION = re.compile(r"(?m)^(?=[A-Za-z_])")
"""Where a key of a config's outermost level begins."""
TASK_NAME = re.compile(r"[^/\\\0-\x1f]{1,200}")
RECORDS = f"restore it, or remove scores.json of its experience and {AGAIN}: the questions are answered again"


def remedy(file: Path) -> str:
    """What to do when a file of a run cannot be read."""
    return JUDGED if file.parent.name == "judged" else REMEDIES.get(file.name, "restore it")


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: the file is missing, is not what was written, is not JSON, or holds something other than an object.
    """
    try:
        raw = file.read_bytes()
        content = json.loads(raw.decode())
    except FileNotFoundError:
        raise RunError(f"{file}: is missing; {remedy(file).replace('remove it and ', '')}") from None
    except (OSError, *BROKEN) as error:
        raise RunError(f"{file}: cannot be read as JSON ({error}); {remedy(file)}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file}: holds a {type(content).__name__}, expected an object; {remedy(file)}")
    check(file, raw, remedy(file))
    check_mark(file, content)
    return content


def task_names(content: Mapping[str, Any], file: Path) -> list[str]:
    """The tasks that a `matrix.json` names, in their order.

    Raises:
        RunError: they are no list of different names, or one could not be the name of a folder.
    """
    tasks = content.get("tasks")
    sound = isinstance(tasks, list) and all(isinstance(task, str) and TASK_NAME.fullmatch(task) for task in tasks)
    if not isinstance(tasks, list) or not sound or not tasks or len(set(tasks)) != len(tasks):
        raise RunError(f"{file}: field 'tasks' is {tasks!r}, expected a list of different task names; {remedy(file)}")
    return tasks


def write_config(run: Path, config: Mapping[str, Any]) -> None:
    """Write `config.yaml`, signed: it is of this user's making."""
    file = run / "config.yaml"
    write_text(file, dump_yaml(dict(config)))
    sign(file)


def _written_out(node: Any, known: dict[int, int]) -> int:
    """How many values a nested config has, where yaml's references stand counted anew; one within itself is too deep
    (RecursionError).
    """
    if not isinstance(node, dict | list):
        return 1
    if id(node) not in known:
        known[id(node)] = 1 + sum(
            _written_out(each, known) for each in (node.values() if isinstance(node, dict) else node)
        )
    return known[id(node)]


def read_config(run: Path) -> dict[str, Any]:
    """The config that a run was made with (`config.yaml` in its folder).

    Raises:
        RunError: the file is missing or is no config.
    """
    file = run / "config.yaml"
    try:
        content, values = _config_in(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no config")
        if values > MOST:
            raise ValueError(f"references in it stand for more than {MOST} values")
    except (OSError, *BROKEN, yaml.YAMLError) as error:
        raise RunError(
            f"{file}: cannot be read, so nobody knows what was run here ({error}); restore it, or choose another "
            "folder with experiment_name=..., or move this one away"
        ) from error
    return content


def _config_in(text: str) -> tuple[Any, int]:
    """As `load_yaml`, and how many values there are. The configs of a sweep differ in a line or two, so each section of
    their texts is parsed once.
    """
    try:
        sections = [_section(each) for each in SECTION.split(text)]
    except (*BROKEN, yaml.YAMLError):
        return _counted(text)  # a value runs over sections, or the text is no yaml
    if not all(isinstance(section, dict | None) for section, _ in sections):
        return _counted(text)
    found = {key: value for section, _ in sections for key, value in (section or {}).items()}
    values = sum(count for _, count in sections)
    return (_copied(found) if values <= MOST else found, values) if found else _counted(text)


def _copied(node: Any) -> Any:
    """A nested config of its own: `copy.deepcopy` takes four times as long."""
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _counted(text: str) -> tuple[Any, int]:
    content = load_yaml(text)
    return content, _written_out(content, {})


_section = lru_cache(maxsize=4096)(_counted)
