"""The three instruction types: which words are put to a question (`published_numbers.md` section 1.3)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coin_lightning.benchmarks.coin.raw_sample import RawSample

FOLDERS: Mapping[str, str] = {
    "original": "Instructions_Original",
    "diverse": "Instructions_Diverse",
    "10type": "Instructions_10Type",
}
"""Type -> folder. Original: one template per task, mostly one shared line. Diverse: one per task. 10Type: about ten."""

SOURCES = ("published", "recalled", "ours")
"""published: seen in a source at hand. recalled: from memory of the paper, unverified. ours: written for this work."""

_DATA = Path(__file__).parent / "instructions"


@dataclass(frozen=True, slots=True)
class Template:
    """A text with ``{question}`` in it, and where its wording comes from (one of `SOURCES`)."""

    text: str
    source: str


@dataclass(frozen=True)
class Instructions:
    """A task's templates of all types.

    Attributes:
        types: instruction type -> templates.
        every_turn: whether each turn of a conversation has its instruction, or only the first, as in LLaVA's data. The
            sizes of CoIN's published files (`coin_reference.md` section 3.1) fit these choices, all indented by four:
            240 bytes per GQA question have no room for a line each, 333 per Grounding expression have one.
        note: what is known about the wordings.
        sha256: of the data file.
    """

    task: str
    types: Mapping[str, tuple[Template, ...]]
    every_turn: bool
    note: str
    sha256: str

    def text(self, type_: str, sample: RawSample, seed: int) -> str:
        """The sample's question with its instruction; the draw depends on (seed, task, sample id) and nothing else."""
        templates = self.types[type_]
        template = templates[0] if len(templates) == 1 else templates[self._draw(sample.id, seed, len(templates))]
        return template.text.replace("{question}", sample.question.strip())

    def _draw(self, id_: str | int, seed: int, count: int) -> int:
        digest = hashlib.blake2b(f"{seed}/{self.task}/{id_}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % count


def load_instructions(task: str) -> Instructions:
    """Templates of a task, from ``instructions/<task>.json``."""
    content = (_DATA / f"{task}.json").read_bytes()
    data = json.loads(content)
    types = {type_: tuple(Template(**entry) for entry in data[type_]) for type_ in FOLDERS}
    return Instructions(task, types, data["every_turn"], data["note"], hashlib.sha256(content).hexdigest())
