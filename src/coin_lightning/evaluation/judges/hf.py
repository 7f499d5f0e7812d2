"""`judge=hf`: any causal language model with a chat template, on this machine through transformers.

Greedy by default, so that the same answers get the same scores. The published judge is Qwen1.5-32B-Chat with
temperature 0.7, top_p 0.8, repetition_penalty 1.05, 20 new tokens and no seed (`judge=hf_published`).
"""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig

from coin_lightning.backbones.hub_files import read_pretrained, read_whole
from coin_lightning.errors import AssetError, ConfigError, JudgeError, first_line, is_out_of_memory
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply
from coin_lightning.evaluation.judges.model_version import model_version
from coin_lightning.evaluation.judges.prompts import Message

QUANTIZATIONS = (None, "nf4", "int8")


class HFJudge(Judge):
    """A local model that is asked in batches.

    Args:
        model: folder or hub name; weights must be safetensors, remote code is never run. revision: of a hub model.
        name, variant: see `Judge`.
        temperature: 0 is greedy; above, replies are drawn with top_p from all tokens.
        repetition_penalty: 1 is none. max_new_tokens: length of a reply.
        seed: of the drawing; null draws differently each time, as published. Batches are drawn together, so after
            an interruption other replies may come than without it; those on disk stay.
        batch_size: prompts at once, of like length.
        dtype: `auto` (the checkpoint's), `float32`, `bfloat16`, `float16`.
        quantization: `nf4` or `int8` through bitsandbytes; null for none.
        device_map: as in transformers: `auto`, `cpu`, `cuda:0`, ...

    Raises:
        ConfigError: a value is out of range.
    """

    kind = "hf"

    def __init__(
        self,
        model: str,
        name: str | None = None,
        variant: str = "strict",
        revision: str | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        max_new_tokens: int = 20,
        seed: int | None = None,
        batch_size: int = 16,
        dtype: str = "auto",
        quantization: str | None = None,
        device_map: str | None = "auto",
    ) -> None:
        # of a folder only the name is recorded: where it lies on this machine is nobody's business
        super().__init__(Path(model).resolve().name if Path(model).is_dir() else model, name, variant)
        _check_ranges(temperature, top_p, repetition_penalty, max_new_tokens, batch_size, dtype, quantization)
        self.source, self.revision = model, revision
        self.temperature, self.seed, self.batch_size = temperature, seed, batch_size
        self.sampling = {"top_p": top_p, "repetition_penalty": repetition_penalty, "max_new_tokens": max_new_tokens}
        self.dtype, self.quantization, self.device_map = dtype, quantization, device_map
        self._loaded: LoadedModel | None = None
        self._version: str | None = None

    def settings(self) -> dict[str, Any]:
        """Version: commit of a hub model, fingerprint of a folder."""
        if self._version is None:
            self._version = model_version(self.source, self.revision)
        rest = {**self.sampling, "dtype": self.dtype, "quantization": self.quantization}
        return {"version": self._version, "temperature": self.temperature, "seed": self.seed, "settings": rest}

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """See `Judge.judge`."""
        if self._loaded is None:
            self._loaded = LoadedModel(self.source, self.revision, self.dtype, self.quantization, self.device_map)
        loaded = self._loaded
        prompts = [loaded.prompt(request.messages) for request in requests]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        options = {**self.sampling, "temperature": self.temperature}
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # a run's own random state stays as it was
            if self.seed is None:
                torch.seed()
            else:
                torch.manual_seed(self.seed)
            for start in range(0, len(order), self.batch_size):
                indices = order[start : start + self.batch_size]
                yield from map(Reply, indices, loaded.replies([prompts[index] for index in indices], options))

    def close(self) -> None:
        """Let go of the model and give its memory back."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


REMEDY = (
    "Give a folder with a causal language model in Hugging Face format, or a hub name that this machine can reach or "
    "has in its cache."
)


class LoadedModel:
    """A model and its tokenizer in memory.

    Args:
        As of `HFJudge`.

    Raises:
        JudgeError: the model cannot be read, or has no chat template.
    """

    def __init__(
        self, model: str, revision: str | None, dtype: str, quantization: str | None, device_map: str | None
    ) -> None:
        options: dict[str, Any] = {"key": "judge.model", "remedy": REMEDY}
        options |= {} if revision is None else {"revision": revision}
        try:
            self.tokenizer = read_pretrained(AutoTokenizer, model, padding_side="left", **options)
            self.model = read_whole(
                AutoModelForCausalLM, model, unused=("",), use_safetensors=True, dtype=dtype, device_map=device_map,
                quantization_config=_quantization(quantization), **options,
            ).eval()  # fmt: skip
        except AssetError as error:
            raise JudgeError(str(error)) from error
        if self.tokenizer.chat_template is None:
            raise JudgeError(f"judge.model={model!r} has no chat template; choose a model that was tuned for chat")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def prompt(self, messages: Sequence[Message]) -> str:
        """The chat as one text. A template that knows no system role gets its text in front of the user's."""
        try:
            return self._render(list(messages))
        except TemplateError:
            system, user = messages
            return self._render([{**user, "content": f"{system['content']}\n\n{user['content']}"}])

    def _render(self, messages: list[Message]) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    @torch.inference_mode()
    def replies(self, prompts: list[str], options: dict[str, Any]) -> list[str]:
        """Generated texts without special tokens. The template has written all special tokens of a prompt.

        Raises:
            JudgeError: the model could not answer.
        """
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        batch = batch.to(self.model.device)
        length = batch["input_ids"].shape[1]
        try:
            output = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                generation_config=self._generation(**options),
            )
        except RuntimeError as error:  # no memory, or numbers beyond the range of float16
            raise JudgeError(_failure(error)) from error
        return list(self.tokenizer.batch_decode(output[:, length:], skip_special_tokens=True))

    def _generation(self, temperature: float, top_p: float, **options: Any) -> GenerationConfig:
        """All that the checkpoint's own settings would otherwise fill in; ends of a reply stay theirs."""
        own = self.model.generation_config
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature > 0 else {}
        return GenerationConfig(
            do_sample=temperature > 0, num_beams=1, pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=own.eos_token_id or self.tokenizer.eos_token_id, **options, **sampling,
        )  # fmt: skip


def _failure(error: RuntimeError) -> str:
    if is_out_of_memory(error):
        return (
            f"memory ran out while it answered ({first_line(error)}); lower judge.batch_size or judge.max_new_tokens, "
            "or load it smaller with judge.quantization=nf4"
        )
    return f"it could not answer ({first_line(error)}); another judge.dtype may help, such as float32"


def _check_ranges(
    temperature: float, top_p: float, penalty: float, tokens: int, batch_size: int, dtype: str, quantization: str | None
) -> None:
    wrong = {
        f"judge.temperature={temperature} must be at least 0": temperature < 0,
        f"judge.top_p={top_p} must lie in (0, 1]": not 0 < top_p <= 1,
        f"judge.repetition_penalty={penalty} must be above 0": penalty <= 0,
        f"judge.max_new_tokens={tokens} must be at least 1": tokens < 1,
        f"judge.batch_size={batch_size} must be at least 1": batch_size < 1,
        f"judge.dtype={dtype!r} is unknown; use auto, float32, bfloat16 or float16": dtype
        not in ("auto", "float32", "bfloat16", "float16"),
        f"judge.quantization={quantization!r} is unknown; use null, nf4 or int8": quantization not in QUANTIZATIONS,
    }
    problems = [problem for problem, found in wrong.items() if found]
    if problems:
        raise ConfigError("\n".join(problems))


def _quantization(kind: str | None) -> BitsAndBytesConfig | None:
    if kind == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    return BitsAndBytesConfig(load_in_8bit=True) if kind == "int8" else None
