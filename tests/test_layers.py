"""Imports go down only (design section 3): who may import whom, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import coin_lightning

SOURCE = Path(coin_lightning.__file__).parent
BASE = frozenset(
    {
        "metrics", "errors", "assets", "seeding", "quiet", "schedules", "whole_files", "weight_files", "run_files",
        "manifest", "image_list", "trust", "processes", "task_progress", "config_folder", "pixel_depth",
        "pillow_warnings", "json_files", "json_stream", "text_encodings", "sharding", "sharded_strategy",
        "zero_strategy", "quick_imports",
    }
)  # fmt: skip
MODELS = frozenset({"backbones", "adapters"})
MIDDLE = frozenset({"methods", "plugins", "objectives", "tasks", "evaluation", "benchmarks"})
ALLOWED = {
    **dict.fromkeys(BASE, BASE),
    "backbones": BASE,
    "adapters": BASE,
    "methods": BASE | {"adapters"},
    "plugins": BASE | {"adapters", "methods"},
    "objectives": BASE,
    "tasks": BASE | MODELS,
    "benchmarks": BASE | MODELS,
    "evaluation": BASE | MODELS | {"tasks"},
    "module_state": BASE | {"methods"},
    "module": BASE | MODELS | MIDDLE | {"module_state"},
    "reporting": BASE | {"evaluation"},
    "continual": BASE | MODELS | MIDDLE | {"module"},
    "imports": BASE | MODELS | MIDDLE | {"continual"},
    "results": BASE | {"reporting", "continual"},
    "cli": BASE | MODELS | MIDDLE | {"module", "continual", "imports", "reporting", "results"},
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
}
"""Layer -> what it may import besides itself."""
ONLY_CLI = ("hydra",)
REGISTERS = ("backbones", "coin_lightning.adapters")
"""Backbones may make the adapters known to PEFT, for those who load a saved one; they use nothing of them."""
NO_MODELS = ("torch", "transformers", "peft", "coin_lightning.evaluation.suite")
"""`reporting` reads artefacts only: of the evaluation it may use the scoring rules."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all imported modules, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(layer: str, source: str) -> list[str]:
    """Imports that a layer may not have."""
    wrong = []
    for name in imports(ast.parse(source)):
        head, *rest = name.split(".")
        allowed = {layer, *ALLOWED[layer]}
        if head == "coin_lightning" and rest and rest[0] not in allowed and (layer, name) != REGISTERS:
            wrong.append(name)
        if head in ONLY_CLI and layer != "cli":
            wrong.append(name)
        if layer == "reporting" and f"{name}.".startswith(tuple(f"{module}." for module in NO_MODELS)):
            wrong.append(name)
    return wrong


def layer_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(SOURCE.rglob("*.py"))


def test_every_file_is_looked_at_and_belongs_to_a_layer():
    assert len(FILES) > 60
    assert {layer_of(file) for file in FILES} == set(ALLOWED)


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_imports_go_down_only(layer: str):
    files = [file for file in FILES if layer_of(file) == layer]
    assert {str(file): wrong for file in files if (wrong := violations(layer, file.read_text()))} == {}


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("methods", "from coin_lightning.tasks.base import InstructionTask"),
        ("adapters", "from coin_lightning.backbones import tiny"),
        ("backbones", "import coin_lightning.adapters.build"),
        ("module", "from coin_lightning.continual.run_dir import RunDir"),
        ("tasks", "from coin_lightning.methods.base import Method"),
        ("metrics", "def f():\n    from coin_lightning.evaluation import suite"),
        ("continual", "from hydra.utils import instantiate"),
        ("continual", "from coin_lightning.reporting.html import write_report"),
        ("reporting", "import torch"),
        ("reporting", "from coin_lightning.evaluation.suite import Suite"),
        ("reporting", "from coin_lightning.module import ContinualMLLM"),
    ],
)
def test_a_wrong_import_is_found(layer: str, line: str):
    assert len(violations(layer, line)) == 1


def test_layers_do_not_import_each_other_in_a_circle():
    for layer, below in ALLOWED.items():
        for other in below - BASE:
            assert layer not in ALLOWED[other], f"{layer} and {other} may import each other"
