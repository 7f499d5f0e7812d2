"""Prints the table of `docs/backbones.md` from the yaml files.

python experiments/backbone_table.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from coin_lightning.config_folder import conf_dir

COLUMNS = ("backbone", "family", "checkpoint", "what it sees", "features of an image", "licence of the weights")


def rows() -> Iterator[tuple[str, ...]]:
    """Of every backbone: its name, its family's class, its checkpoint, and what its first two lines say: of images in
    tokens and in bytes of the cache, and of the licence."""
    folder = conf_dir() / "backbone"
    for file in sorted(folder.glob("[!_]*.yaml")):
        node = _content(folder, file.stem)
        family = node.get("family", {}).get("_target_", "").rsplit(".", 1)[-1] or "Llava"
        licence, size = _facts(folder, file.stem)
        yield file.stem, family, str(node.get("path") or ""), _first_line(file), size, licence


def _content(folder: Path, name: str) -> dict[str, Any]:
    """A yaml with those that it takes over from."""
    node = yaml.safe_load((folder / f"{name}.yaml").read_text())
    others = [each for each in node.pop("defaults", []) if each != "_self_"]
    return {
        key: value for each in [*(_content(folder, other) for other in others), node] for key, value in each.items()
    }


def _facts(folder: Path, name: str) -> tuple[str, str]:
    """Licence and bytes of features, these from the yaml that it takes over from where it does not say them."""
    file = folder / f"{name}.yaml"
    licence, _, size = file.read_text().splitlines()[1].removeprefix("# weights: ").partition("; features: ")
    others = [each for each in yaml.safe_load(file.read_text()).get("defaults", []) if each != "_self_"]
    return licence, size.removesuffix(" an image at most") or _facts(folder, others[0])[1]


def _first_line(file: Path) -> str:
    return file.read_text().splitlines()[0].removeprefix("# ")


def table() -> str:
    """Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
