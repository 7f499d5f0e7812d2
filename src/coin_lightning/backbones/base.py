"""`Backbone`: one frozen multimodal LLM, with everything that turns samples into its tensors and back into text."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.box_formats import box_format
from coin_lightning.backbones.images import check_frame, framed
from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import IMAGE, Prompt, Rendered, Span, overlaps
from coin_lightning.backbones.tower import check_pixels, select_features
from coin_lightning.backbones.word_counts import WordCounts
from coin_lightning.errors import ConfigError, RunError

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


def _contiguous(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Generation gives the head every sample's last state as a strided view, for which PyTorch's `linear` copies the
    whole vocabulary matrix once per sample: half of the time of a short answer on a CPU."""
    return (inputs[0].contiguous(), *inputs[1:])


def _images(page: Rendered) -> int:
    """Images of a rendered conversation; `<image>` in somebody's text is none."""
    return page.text.count(IMAGE) - sum(page.text.count(IMAGE, *span) for span in page.plain)


def _tower_key(tower: nn.Module, settings: str) -> str:
    digest = hashlib.sha256()
    for name, tensor in tower.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    digest.update(settings.encode())
    return digest.hexdigest()[:16]


class Backbone(nn.Module):
    """A LLaVA-shaped model: vision tower, projector, causal language model.

    Args:
        model: `transformers.LlavaForConditionalGeneration`, or anything with its parts. All its weights get frozen.
        tokenizer: a fast tokenizer that knows `<image>` as one token.
        image_processor: resizes and normalises an image; the padding before it happens here.
        prompt: turn markers.
        name: shown in reports.
        image_frame: `pad` to a square with the tower's mean colour, `squash` into one, or `crop`: the processor's own
            centre crop (`images.FRAMES`).
        max_length: tokens a sample may take, images included.
        boxes: `frame` and `numbers` of the boxes that the model reads and writes (`box_formats.BoxFormat`); what is not
            given follows from `image_frame` and `prompt`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerFast,
        image_processor: ImageProcessor,
        prompt: Prompt,
        name: str,
        image_frame: str = "pad",
        max_length: int = 2048,
        boxes: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.image_frame = check_frame(image_frame)
        self.box_format = box_format(boxes, image_frame, prompt.box_numbers)
        self.model = model.requires_grad_(False)
        model.lm_head.register_forward_pre_hook(_contiguous)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.prompt = prompt
        self.name = name
        self.max_length = max_length
        self._plain_text = PlainTextTokenizer(tokenizer)
        self._tower_keys: dict[str, str] = {}
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
        """Tokens per image and width of one token before the projector."""
        projector = self.core.multi_modal_projector
        return self.tokens_per_image, getattr(projector, "original_module", projector).linear_1.in_features

    def train(self, mode: bool = True) -> "Backbone":
        """As `nn.Module.train`, but the frozen tower never leaves evaluation mode (its batch statistics are fixed)."""
        super().train(mode)
        self.core.vision_tower.eval()
        return self

    # images

    def pixels(self, image: Image.Image, frame: str | None = None) -> Tensor:
        """`[3, S, S]`, normalised as the tower expects, in another frame than the backbone's own where one is named.

        Raises:
            AssetError: in this frame the preprocessing does not give the tower's size.
        """
        frame = check_frame(frame or self.image_frame)
        pixels = framed(image, self.image_processor, frame)
        check_pixels(pixels, self.model.config, frame, self.name)
        return pixels

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Frozen features before the projector: `[n, 3, S, S] -> [n, tokens, width]` in bfloat16.

        Bfloat16 in every case, so that cached and freshly computed features are the same bits.
        """
        tower = self.core.vision_tower
        weight = next(tower.parameters())
        states = tower(
            pixels.to(weight.device, weight.dtype), output_hidden_states=True, return_dict=True
        ).hidden_states
        return select_features(states, self.model.config).to(torch.bfloat16)

    def tower_key(self, frame: str | None = None) -> str:
        """Name of everything that decides a cached feature: tower weights, their dtype, preprocessing, selection.

        `frame` as for `pixels`.
        """
        frame, config, tower = check_frame(frame or self.image_frame), self.model.config, self.core.vision_tower
        selection = (config.vision_feature_layer, config.vision_feature_select_strategy, frame)
        settings = repr(selection) + self.image_processor_key()
        known = f"{next(tower.parameters()).dtype} {settings}"  # the frozen weights of a large tower are read once
        if known not in self._tower_keys:
            self._tower_keys[known] = _tower_key(tower, settings)
        return self._tower_keys[known]

    def image_processor_key(self) -> str:
        """The processor's settings as text, without the library version that it also records."""
        settings: dict[str, Any] = getattr(self.image_processor, "to_dict", dict)()
        return repr(sorted((key, repr(value)) for key, value in settings.items() if "version" not in key))

    # text

    def tokens(self, text: str, learned: Sequence[Span], plain: Sequence[Span] = ()) -> tuple[list[int], list[int]]:
        """Token ids and labels of a rendered conversation; each `<image>` of the prompt becomes `tokens_per_image` ids.

        A token is learned when it shares a character with a learned span. All other labels are `IGNORE`. In the spans
        `plain`, somebody's text, markers are letters like others.
        """
        encoded = self._plain_text.encode(text, plain)
        ids, labels = [], []
        for token, span in zip(encoded.ids, encoded.offsets, strict=True):
            repeat = self.tokens_per_image if token == self.image_token_id else 1
            ids += [token] * repeat
            labels += [token if overlaps(span, learned) else IGNORE] * repeat
        return ids, labels

    def token_counts(self, pages: Sequence[Rendered]) -> list[int]:
        """How many ids `tokens` gives for each of many rendered conversations, many times faster."""
        counts = self._word_counts.count_all(pages)
        more = self.tokens_per_image - 1
        return [count + more * _images(page) for count, page in zip(counts, pages, strict=True)]

    @cached_property
    def _word_counts(self) -> WordCounts:
        return WordCounts(self._plain_text)

    def text_key(self) -> str:
        """Name of everything that decides the tokens of a sample: tokenizer, prompt, tokens per image."""
        parts = (self.tokenizer.backend_tokenizer.to_str(), self.prompt, self.tokens_per_image, self.image_token_id)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    # model

    def embed(self, input_ids: Tensor, images: Tensor | None) -> Tensor:
        """Input embeddings `[b, l, h]`; `images [n, tokens, width]` go through the projector into the image tokens.

        Images are taken in sample order.

        Raises:
            RunError: there are more or fewer than the samples have image tokens for.
        """
        embeds = self.model.get_input_embeddings()(input_ids)
        mask = input_ids == self.image_token_id
        self._check_counts(mask, images)
        if images is None or images.shape[0] == 0:
            return embeds
        projector = self.core.multi_modal_projector
        weight = next(projector.parameters())
        projected = projector(images.to(weight.device, weight.dtype)).to(embeds.dtype)
        return embeds.masked_scatter(mask.unsqueeze(-1), projected)

    def _check_counts(self, mask: Tensor, images: Tensor | None) -> None:
        """One feature too many or too few, and those of the following samples would stand beside their places.

        Off the CPU the device checks it when it gets there, without the numbers: no step waits for it, and what made
        the batch has counted already (`Encoder.encode`).
        """
        size = self.tokens_per_image
        given, each = (0, size) if images is None else images.shape[:2]
        found = mask.sum(dim=1)
        right = (found.sum() == given * size) & (found % size == 0).all()
        if mask.device.type != "cpu" and each == size:
            torch._assert_async(right, "image tokens and features of images in a batch do not agree")
        elif each != size or not right:
            raise RunError(
                f"{self.name}: the samples of a batch have {found.tolist()} image tokens for {given} images of {each} "
                f"features, but an image takes {size} tokens; give each sample as many as it has images"
            )

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
        images: Tensor | None,
        max_new_tokens: int,
        on_step: Callable[[Tensor], None] = lambda unfinished: None,
    ) -> list[str]:
        """`answer` of token ids and image features."""
        return self.answer(self.embed(input_ids, images), attention_mask, max_new_tokens, on_step)

    @torch.no_grad()
    def answer(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        max_new_tokens: int,
        on_step: Callable[[Tensor], None] = lambda unfinished: None,
    ) -> list[str]:
        """Greedy answers of a left-padded batch, without the end-of-turn marker and outer blanks.

        `embeds` is `[b, l, h]`, `attention_mask` `[b, l]`. `on_step` gets, after each token, which samples go on: bool
        `[b, 1]`.
        """

        def watch(ids: Tensor, scores: Any, **_: Any) -> Tensor:
            finished = (ids == self.end_id).any(dim=1)
            on_step(~finished.unsqueeze(1))
            return finished

        output = self.model.generate(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=self.end_id,
            pad_token_id=self.end_id,
            stopping_criteria=[watch],
        )
        return [self.decode(sample) for sample in output]

    def decode(self, ids: Tensor) -> str:
        """Text up to the first end of turn."""
        sample = ids.tolist()
        sample = sample[: sample.index(self.end_id)] if self.end_id in sample else sample
        return str(self.tokenizer.decode(sample, skip_special_tokens=True)).strip()
