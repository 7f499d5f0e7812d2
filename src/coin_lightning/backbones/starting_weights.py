"""Where training starts: a released checkpoint, or one put together from parts as CoIN's authors did.

CoIN starts from a language model, a vision tower and LLaVA's projector of stage 1 only, not from the instruction-tuned
LLaVA (`coin_reference.md` section 2). The parts become a checkpoint in the layout of `llava-hf`, once, in the cache;
from there it is loaded like any other.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.utils import cached_file

from coin_lightning import assets
from coin_lightning.backbones.assembled import assembled, list_files
from coin_lightning.backbones.checkpoint_parts import check_parts
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.family import STARTS
from coin_lightning.backbones.hub_files import read_config, read_pretrained, read_whole
from coin_lightning.backbones.projectors import check_projector, load_projector
from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.errors import AssetError, ConfigError

VERSION = "1"
"""Raised when the assembled checkpoint changes, so that an old cache is not used."""
PAD = "<pad>"
ROWS = 64
"""The vocabulary is filled up to a multiple of it: 32,000 words and two new ones make 32,064 rows, as in `llava-hf`."""
PARTS = ("language_model", "vision_tower", "projector")
REMEDY = "Give a folder in Hugging Face format, or a hub name that this machine can reach or has in its cache."
CLIPS_OTHER_HALF = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
"""Beginnings of the weights that a whole CLIP has beside its tower."""


def check_start(start: str, name: str, known: tuple[str, ...] = STARTS) -> None:
    """Whether a backbone has such starting weights.

    Raises:
        ConfigError: it has not.
    """
    if start not in known:
        raise ConfigError(
            f"protocol.starting_weights={start!r}: backbone {name} has no such weights; use {' or '.join(known)}"
        )


class Parts:
    """What a LLaVA is put together from.

    Args:
        language_model, vision_tower: folder or hub name; the tower is CLIP's. Weights are safetensors, or PyTorch files
            that torch's restricted reader can read, as Vicuna's are.
        projector: safetensors file, or LLaVA's `mm_projector.bin`.
        tokenizer: folder or hub name; default: the language model's.

    Raises:
        ConfigError: a part is not named.
    """

    def __init__(self, settings: Mapping[str, str | Path | None]) -> None:
        missing = [part for part in PARTS if not settings.get(part)]
        if missing:
            raise ConfigError(
                f"protocol.starting_weights=pretrained needs backbone.pretrained.{missing[0]}; CoIN used "
                "vicuna-7b-v1.5, clip-vit-large-patch14-336 and mm_projector.bin of "
                "llava-v1.5-mlp2x-336px-pretrain-vicuna-7b-v1.5"
            )
        self.language_model, self.vision_tower = str(settings["language_model"]), str(settings["vision_tower"])
        self.projector = Path(str(settings["projector"]))
        self.tokenizer_source = str(settings.get("tokenizer") or self.language_model)

    def _read(self, loader: Any, part: str, source: str, **options: Any) -> Any:
        return read_pretrained(loader, source, key=f"backbone.pretrained.{part}", remedy=REMEDY, **options)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The language model's, which then knows `<image>` and `<pad>` as its last two tokens."""
        return with_image_token(self._read(AutoTokenizer, "tokenizer", self.tokenizer_source, use_fast=True))

    def processor(self) -> Any:
        """The tower's image preprocessing."""
        return self._read(AutoImageProcessor, "vision_tower", self.vision_tower, backend="pil")

    def config(self, tokenizer: Any) -> LlavaConfig:
        """LLaVA-1.5's choices: the layer before the tower's last, without the class token.

        Raises:
            AssetError: a part is of another kind of model.
        """
        text = self._read(AutoConfig, "language_model", self.language_model)
        if type(text) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise AssetError(
                f"backbone.pretrained.language_model={self.language_model!r}: config.json is of a "
                f"{type(text).__name__}, not of a language model; give the bare language model, as vicuna-7b-v1.5"
            )
        vision = self._read(CLIPVisionConfig, "vision_tower", self.vision_tower)
        kind = read_config(self.vision_tower, "backbone.pretrained.vision_tower").get("model_type")
        if kind not in ("clip", CLIPVisionConfig.model_type):  # another's would be read as CLIP's, all by default
            raise AssetError(
                f"backbone.pretrained.vision_tower={self.vision_tower!r}: config.json has model_type={kind!r}, which "
                "is no CLIP; give a CLIP, as clip-vit-large-patch14-336"
            )
        text.vocab_size = padded_vocabulary(text.vocab_size, len(tokenizer))
        return LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            image_seq_length=(vision.image_size // vision.patch_size) ** 2,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            projector_hidden_act="gelu",
            tie_word_embeddings=text.tie_word_embeddings,
        )

    def model(self, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
        """The parts as one model, each in the type it is stored in.

        Raises:
            AssetError: a part cannot be read, lacks weights, or does not fit the others.
        """
        config: Any = self.config(tokenizer)
        language = self._whole(AutoModelForCausalLM, "language_model", self.language_model)
        grow_vocabulary(language, len(tokenizer))
        tower = self._whole(CLIPVisionModel, "vision_tower", self.vision_tower, CLIPS_OTHER_HALF)
        with torch.device("meta"):
            model: Any = LlavaForConditionalGeneration(config)
        model.model.language_model, model.lm_head = language.base_model, language.get_output_embeddings()
        model.model.vision_tower = tower
        load_projector(model, self.projector)
        return model

    def checked(self, frame: str = "pad", max_length: int = 0) -> tuple[LlavaConfig, Any, Any]:
        """Config, tokenizer and image preprocessing, compared with each other and with the projector's file.

        Args:
            frame, max_length: see `check_parts`.

        Raises:
            AssetError, ConfigError: they do not fit; no other weight has been read.
        """
        tokenizer, processor = self.tokenizer(), self.processor()
        config = self.config(tokenizer)
        source = f"backbone.pretrained (language_model {self.language_model}, vision_tower {self.vision_tower})"
        check_parts(source, Llava(config, processor, tokenizer), tokenizer, frame, max_length)
        check_projector(config, self.projector)
        return config, tokenizer, processor

    def _whole(self, loader: Any, part: str, source: str, unused: Sequence[str] = ()) -> Any:
        key = f"backbone.pretrained.{part}"
        return read_whole(loader, source, key, unused=unused, remedy=REMEDY, dtype="auto")

    def key(self) -> str:
        """Name of these very files: hub names with their revision, folders and the projector with sizes and times."""
        sources = {
            part: self._state(part, source)
            for part, source in (
                ("language_model", self.language_model), ("vision_tower", self.vision_tower),
                ("tokenizer", self.tokenizer_source),
            )
        }  # fmt: skip
        if self.projector.is_file():
            sources["projector"] = assets.file_sha256(self.projector)
        return hashlib.sha256(json.dumps([VERSION, sources], sort_keys=True).encode()).hexdigest()[:12]

    def _state(self, part: str, source: str) -> Any:
        folder = Path(source)
        if folder.is_dir():
            files = [file for file in sorted(folder.iterdir()) if file.is_file()]
            return [str(folder.resolve()), [(file.name, *_stamp(file)) for file in files]]
        try:
            config = cached_file(source, "config.json")
        except OSError as error:
            reason = str(error).strip().splitlines()[0]
            raise AssetError(
                f"backbone.pretrained.{part}={source!r} is no folder and cannot be fetched: {reason}"
            ) from error
        return [source, Path(str(config)).parent.name]  # the folder of a snapshot is its revision

    def write(self, folder: Path) -> None:
        """Write the checkpoint: model, tokenizer, image preprocessing."""
        _, tokenizer, processor = self.checked()
        self.model(tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)
        list_files(folder)


def with_image_token(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A language model's tokenizer that also knows `<image>` and `<pad>`, as its last two tokens; changed in place."""
    _start_words_behind_markers(tokenizer.backend_tokenizer)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in (IMAGE, PAD)])
    tokenizer.pad_token = PAD
    return tokenizer


def padded_vocabulary(rows: int, tokens: int) -> int:
    """Rows of the embedding when a tokenizer has so many tokens: as before where they fit."""
    return rows if tokens <= rows else -(-tokens // ROWS) * ROWS


def _start_words_behind_markers(core: Tokenizer) -> None:
    """Let a tokenizer of Llama's kind put a blank in front of each piece of text, not of the first one only.

    LLaVA tokenises what stands on either side of an image as texts of their own; `llava-hf` has it in this way.
    """
    rule = core.pre_tokenizer
    if isinstance(rule, pre_tokenizers.Metaspace) and rule.prepend_scheme == "first":
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.pre_tokenizer = None


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def pretrained_checkpoint(parts: Parts, cache: Path | None = None) -> Path:
    """Folder of the checkpoint made of these parts, built when it is missing (as large as the parts together).

    Raises:
        AssetError: a part cannot be read or does not fit, or the folder is damaged.
    """
    folder = (cache or assets.cache_root()) / "models" / f"llava-{parts.key()}"
    return assembled(folder, parts.write)


def grow_vocabulary(model: Any, size: int) -> None:
    """Add rows for new tokens, each the mean of the old ones: harmless as an output, and the same on every machine."""
    old = model.get_input_embeddings().weight.shape[0]
    if size <= old:
        return
    model.resize_token_embeddings(size, pad_to_multiple_of=ROWS, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight = layer.weight.data
        weight[old:] = weight[:old].mean(0)
