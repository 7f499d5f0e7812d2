"""The questions that result folders answer, with their truth: read by the readers of the project's own tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coin_lightning.evaluation.scorers import built
from coin_lightning.tasks.base import Truth
from coin_lightning.tasks.options import DataOptions
from coin_lightning.tasks.samples import read_test
from coin_lightning.tasks.sources import JsonSource
from coin_lightning.tasks.truth import Reference, SampleFields


@dataclass(frozen=True)
class Questions:
    """Test samples of a task.

    Attributes:
        file: where they lie. sha256: of its bytes. images: folder of their images.
        texts, references: by id.
    """

    file: Path
    sha256: str
    images: Path
    texts: Mapping[str, str]
    references: Mapping[str, Reference]


def read_questions(root: Path, instructions: str, task: str, node: Mapping[str, Any]) -> Questions:
    """Questions of a task below a data root in CoIN's layout; its images need not be there.

    Args:
        root: the data root.
        instructions: instruction type, e.g. `Instructions_Original`.
        task: its name.
        node: what its yaml says.

    Raises:
        DataError: files are missing, or samples are not sound.
    """
    split = (node.get("data") or {}).get("test_split", DataOptions.test_split)
    source, images = JsonSource(root).samples(node["directory"], instructions, split), root / DataOptions.images
    samples = read_test(source, None, task)
    truth: Truth = built(f"{task}.truth", node["truth"]) if node.get("truth") else SampleFields()
    references = truth(samples, images)
    texts = {sample.id: sample.text for sample in samples}
    return Questions(source.file, source.sha256, images, texts, dict(zip(texts, references, strict=True)))
