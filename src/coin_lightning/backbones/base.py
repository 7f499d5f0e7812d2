"""`Backbone`: one frozen multimodal LLM, with everything that turns rows into its tensors and back into text."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.pictures import pad_to_square
from coin_lightning.backbones.prompts import IMAGE, PromptFormat
from coin_lightning.errors import ConfigError

IGNORE = -100
"""Label of a token that the loss does not count (PyTorch's `ignore_index`)."""


class ImageProcessor(Protocol):
    """What is used of a Hugging Face image processor."""

    image_mean: list[float]

    def __call__(self, images: Image.Image, return_tensors: str) -> Mapping[str, Tensor]: ...


def native_dtype(name: str) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it natively, else float32; other names are torch's own.

    Raises:
        ConfigError: the name is no floating-point type of torch.
    """
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ConfigError(f"backbone.dtype={name!r} is no floating-point type; use auto, float32, bfloat16 or float16")
    return dtype


class Backbone(nn.Module):
    """A LLaVA-shaped model: vision tower, projector, causal language model.

    Args:
        model: `transformers.LlavaForConditionalGeneration`, or anything with its parts. All its weights get frozen.
        tokenizer: a fast tokenizer that knows `<image>` as one token.
        image_processor: resizes and normalises a picture; the padding before it happens here.
        prompt: turn markers.
        name: shown in reports.
        image_frame: `pad` to a square with the tower's mean colour, or `crop`: the processor's own centre crop
            (what the reference evaluates some tasks with; `coin_reference.md` section 4.1).
        max_length: tokens a row may take, pictures included.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerFast,
        image_processor: ImageProcessor,
        prompt: PromptFormat,
        name: str,
        image_frame: str = "pad",
        max_length: int = 2048,
    ) -> None:
        super().__init__()
        if image_frame not in ("pad", "crop"):
            raise ConfigError(f"backbone.image_frame={image_frame!r} is unknown; use pad or crop")
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.prompt = prompt
        self.name = name
        self.image_frame = image_frame
        self.max_length = max_length
        self.image_token_id: int = model.config.image_token_index
        self.tokens_per_image: int = model.config.image_seq_length
        self.end_id: int = self.end_of_turn_id()

    def end_of_turn_id(self) -> int:
        """Token that ends an answer."""
        ids = self.tokenizer(self.prompt.end_of_turn, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ConfigError(
                f"{self.name}: end of turn {self.prompt.end_of_turn!r} is {len(ids)} tokens; choose a prompt that fits"
            )
        return ids[0]

    @property
    def core(self) -> Any:
        """The LLaVA model without head: holds `vision_tower`, `multi_modal_projector`, `language_model`."""
        return self.model.model

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Tokens per picture and width of one token before the projector."""
        projector = self.core.multi_modal_projector
        return self.tokens_per_image, getattr(projector, "original_module", projector).linear_1.in_features

    def train(self, mode: bool = True) -> "Backbone":
        """As `nn.Module.train`, but the frozen tower never leaves evaluation mode (its batch statistics are fixed)."""
        super().train(mode)
        self.core.vision_tower.eval()
        return self

    # pictures

    def pixels(self, image: Image.Image) -> Tensor:
        """`[3, S, S]`, normalised as the tower expects."""
        if self.image_frame == "pad":
            red, green, blue = (int(mean * 255) for mean in self.image_processor.image_mean)
            image = pad_to_square(image, (red, green, blue))
        return self.image_processor(images=image, return_tensors="pt")["pixel_values"][0]

    @torch.no_grad()
    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Frozen features before the projector: `[n, 3, S, S] -> [n, tokens, width]` in float16.

        Float16 in every case, so that cached and freshly computed features are the same bits.
        """
        config, tower = self.model.config, self.core.vision_tower
        weight = next(tower.parameters())
        states = tower(
            pixels.to(weight.device, weight.dtype), output_hidden_states=True, return_dict=True
        ).hidden_states
        layers = config.vision_feature_layer
        layers = [layers] if isinstance(layers, int) else layers
        skip = 1 if config.vision_feature_select_strategy == "default" else 0
        return torch.cat([states[layer][:, skip:] for layer in layers], dim=-1).to(torch.float16)

    def tower_key(self) -> str:
        """Name of everything that decides a cached feature: tower weights, their dtype, preprocessing, selection."""
        digest = hashlib.sha256()
        for name, tensor in self.core.vision_tower.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        config = self.model.config
        digest.update(
            repr((config.vision_feature_layer, config.vision_feature_select_strategy, self.image_frame)).encode()
        )
        digest.update(self.image_processor_key().encode())
        return digest.hexdigest()[:16]

    def image_processor_key(self) -> str:
        """The processor's settings as text, without the library version that it also records."""
        settings: dict[str, Any] = getattr(self.image_processor, "to_dict", dict)()
        return repr(sorted((key, repr(value)) for key, value in settings.items() if "version" not in key))

    # text

    def tokens(self, text: str, spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """Token ids and labels of a rendered conversation; each `<image>` becomes `tokens_per_image` ids.

        A token is learned when it shares a character with a learned span. All other labels are `IGNORE`.
        """
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        ids, labels = [], []
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            repeat = self.tokens_per_image if token == self.image_token_id else 1
            learned = any(start < stop and end > begin for begin, stop in spans)
            ids += [token] * repeat
            labels += [token if learned else IGNORE] * repeat
        return ids, labels

    def token_bound(self, text: str) -> int:
        """Upper bound of the tokens of a text without tokenising it: a token holds at least one byte."""
        pictures = text.count(IMAGE)
        return len(text.encode()) + pictures * (self.tokens_per_image - len(IMAGE)) + 2

    # model

    def embed(self, input_ids: Tensor, pictures: Tensor | None) -> Tensor:
        """Input embeddings `[b, l, h]`; `pictures [n, tokens, width]` go through the projector into the image tokens.

        Pictures are taken in row order; there must be as many as the rows have image tokens for.
        """
        embeds = self.model.get_input_embeddings()(input_ids)
        if pictures is None or pictures.shape[0] == 0:
            return embeds
        projector = self.core.multi_modal_projector
        weight = next(projector.parameters())
        projected = projector(pictures.to(weight.device, weight.dtype)).to(embeds.dtype)
        mask = (input_ids == self.image_token_id).unsqueeze(-1)
        return embeds.masked_scatter(mask, projected)

    def hidden_states(self, embeds: Tensor) -> Tensor:
        """Last hidden states `[b, l, h]`. Attention is causal without a mask, which padding on the right allows."""
        return self.core.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state

    def answer_logits(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[n, vocabulary]` and targets `[n]` of the learned tokens only: the head is costly."""
        targets = labels[:, 1:]
        kept = targets != IGNORE
        return self.model.lm_head(hidden[:, :-1][kept]), targets[kept]

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pictures: Tensor | None,
        max_new_tokens: int,
        on_step: Callable[[Tensor], None] = lambda unfinished: None,
    ) -> list[str]:
        """Greedy answers of a left-padded batch, without the end-of-turn marker and outer blanks.

        `on_step` gets, after each token, which rows go on: bool `[b, 1]`.
        """

        def watch(ids: Tensor, scores: Any, **_: Any) -> Tensor:
            finished = (ids == self.end_id).any(dim=1)
            on_step(~finished.unsqueeze(1))
            return finished

        output = self.model.generate(
            inputs_embeds=self.embed(input_ids, pictures),
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=self.end_id,
            pad_token_id=self.end_id,
            stopping_criteria=[watch],
        )
        return [self.decode(row) for row in output]

    def decode(self, ids: Tensor) -> str:
        """Text up to the first end of turn."""
        row = ids.tolist()
        row = row[: row.index(self.end_id)] if self.end_id in row else row
        return str(self.tokenizer.decode(row, skip_special_tokens=True)).strip()
