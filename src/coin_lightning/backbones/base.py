"""`Backbone`: one frozen multimodal LLM, with everything that turns samples into its tensors and back into text."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedTokenizerFast

from coin_lightning.backbones.attention import NAME as OWN_ATTENTION
from coin_lightning.backbones.box_formats import box_format
from coin_lightning.backbones.expansions import expanded
from coin_lightning.backbones.family import Family, Grid
from coin_lightning.backbones.greedy import Greedy, Prompts, Shared, shared_beginnings
from coin_lightning.backbones.images import check_frame
from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import Prompt, Rendered, overlaps
from coin_lightning.backbones.tower import check_pixels
from coin_lightning.backbones.word_counts import WordCounts
from coin_lightning.errors import ConfigError, RunError

os.environ.setdefault("TRANSFORMERS_DISABLE_TORCH_CHECK", "1")  # its count of image tokens waits for the device
IGNORE = -100
"""Label of a token that the loss does not count (PyTorch's `ignore_index`)."""
LOOPED = ("sdpa", OWN_ATTENTION)
"""Attentions that our own greedy loop answers with."""
SIZES = ((224, 224), (640, 480), (300, 1200), (1920, 1080))
"""Width and height of images whose tokens tell one way of counting them from another."""
READ_AT_ONCE = 2048
"""Tokens of prompts that a CPU reads in one pass: what more do together falls out of its caches."""


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
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)  # which older devices do slowly
            if torch.cuda.is_available()
            else torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ConfigError(f"backbone.dtype={name!r} is no floating-point type; use auto, float32, bfloat16 or float16")
    return dtype


def _contiguous(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Generation gives the head every sample's last state as a strided view, for which PyTorch's `linear` copies the
    whole vocabulary matrix once per sample: half of the time of a short answer on a CPU."""
    return (inputs[0].contiguous(), *inputs[1:])


def _tower_key(tower: nn.Module, settings: str, learned: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tower.state_dict().items():
        if name.startswith(learned):  # a projector within the tower: features are taken before it
            continue
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    digest.update(settings.encode())
    return digest.hexdigest()[:16]


class Backbone(nn.Module):
    """A frozen multimodal LLM: vision tower, projector, causal language model.

    Args:
        model: of transformers, for conditional generation from images. All its weights get frozen.
        tokenizer: a fast tokenizer that knows the family's image token.
        family: what its architecture says of images.
        prompt: turn markers.
        name: shown in reports.
        image_frame: how an image is framed (`images.FRAMES`); default: the family's own way.
        max_length: tokens a sample may take, images included.
        boxes: `frame` and `numbers` of the boxes that the model reads and writes (`box_formats.BoxFormat`); what is not
            given follows from `image_frame` and `prompt`.

    Attributes:
        fast: answers come from `greedy`, and adapter layers are computed in groups (`adapters.shared_input`), as
            `backbone.fast` says.
        in_step: the model lies in pieces in several processes, which must compute each token of an answer together.

    Raises:
        ConfigError: the family does not know this frame, or a turn does not end with one token.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerFast,
        family: Family,
        prompt: Prompt,
        name: str,
        image_frame: str | None = None,
        max_length: int = 2048,
        boxes: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.image_frame = check_frame(image_frame or family.frames[0], family.frames)
        self.box_format = box_format(boxes, self.image_frame, prompt.box_numbers or family.box_numbers)
        self.model = model.requires_grad_(False)
        model.lm_head.register_forward_pre_hook(_contiguous)
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.name = name
        self.max_length = max_length
        self.in_step = False
        self.fast = True
        self._plain_text = PlainTextTokenizer(tokenizer)
        self._tower_keys: dict[str, str] = {}
        self.end_id: int = self.end_of_turn_id()
        self.end_ids = self._end_ids()
        # greedy means greedy: checkpoints bring sampling and penalties along
        model.generation_config = GenerationConfig(eos_token_id=sorted(self.end_ids), pad_token_id=self.end_id)

    def end_of_turn_id(self) -> int:
        """Token that ends an answer."""
        ids = self.tokenizer(self.prompt.end_of_turn, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ConfigError(
                f"{self.name}: end of turn {self.prompt.end_of_turn!r} is {len(ids)} tokens; choose a prompt that fits"
            )
        return ids[0]

    def _end_ids(self) -> frozenset[int]:
        """Tokens that end an answer when a model writes them: the prompt's, which is learned, and those of the
        checkpoint, with which a model ends that was not tuned on this prompt. Of these only markers: a config without a
        value of its own has 2.
        """
        own = self.model.generation_config.eos_token_id
        known = {self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        return frozenset({self.end_id, *(known & set(self.tokenizer.all_special_ids))})

    @property
    def core(self) -> Any:
        """The model without head: holds the parts that the family names."""
        return self.model.model

    @property
    def image_token_id(self) -> int:
        """Token whose places the features of images take."""
        return self.family.image_token_id

    @property
    def tower(self) -> nn.Module:
        """The frozen part that sees pixels."""
        return self._part(self.family.tower)

    @property
    def projectors(self) -> list[nn.Module]:
        """The parts between tower and language model."""
        return [self._part(name) for name in self.family.projectors]

    @property
    def language_model(self) -> nn.Module:
        """The decoder, which gets the adapter."""
        return self._part(self.family.language_model)

    def _part(self, name: str) -> nn.Module:
        module: nn.Module = self.core.get_submodule(name)
        return module

    def train(self, mode: bool = True) -> "Backbone":
        """As `nn.Module.train`, but the frozen tower never leaves evaluation mode (its batch statistics are fixed).

        A projector within the tower does what the others do.
        """
        super().train(mode)
        self.tower.eval()
        for projector in self.projectors:
            projector.train(mode)
        return self

    # images

    def pixels(self, image: Image.Image, frame: str | None = None) -> dict[str, Tensor]:
        """What the tower takes of an image, in another frame than the backbone's own where one is named.

        Raises:
            AssetError: in this frame the preprocessing does not give the tower's size.
        """
        frame = check_frame(frame or self.image_frame, self.family.frames)
        found = self.family.pixels(image, frame)
        if self.family.alike:
            check_pixels(found["pixel_values"][0], self.model.config, frame, self.name)
        return found

    @torch.no_grad()
    def encode_images(self, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Frozen features of each image before the projector, `[count, width]` in bfloat16.

        Bfloat16 in every case, so that cached and freshly computed features are the same bits, and because newer
        towers go beyond what float16 holds.
        """
        weight = next(self.tower.parameters())
        ready = [
            {
                name: value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)
                for name, value in each.items()
            }
            for each in pixels
        ]
        with torch.autocast(weight.device.type, enabled=False):  # a step has one; what is computed ahead has none
            return [part.to(torch.bfloat16) for part in self.family.features(self.core, ready)]

    def tower_key(self, frame: str | None = None) -> str:
        """Name of everything that decides a cached feature: tower weights, their dtype, preprocessing, family, and
        the code of a family that is not this project's.

        `frame` as for `pixels`.
        """
        frame = check_frame(frame or self.image_frame, self.family.frames)
        settings = self.family.settings(frame) + self.image_processor_key() + self.family.code()
        known = f"{next(self.tower.parameters()).dtype} {settings}"  # the frozen weights of a large tower are read once
        if known not in self._tower_keys:
            learned = [f"{name.removeprefix(f'{self.family.tower}.')}." for name in self.family.projectors]
            self._tower_keys[known] = _tower_key(self.tower, settings, tuple(learned))
        return self._tower_keys[known]

    def image_processor_key(self) -> str:
        """The processor's settings as text, without the library version that it also records."""
        settings: dict[str, Any] = getattr(self.family.processor, "to_dict", dict)()
        return repr(sorted((key, repr(value)) for key, value in settings.items() if "version" not in key))

    def image_tokens(self, grids: Sequence[Grid]) -> int:
        """Positions that these images take in the sequence; remembered, for it is asked in every step."""
        return sum(run for grid in grids for run in self.family.expanded(grid).runs)

    # text

    def tokens(self, page: Rendered, grids: Sequence[Grid] | None = None) -> tuple[list[int], list[int]]:
        """Token ids and labels of a rendered conversation; each image becomes the tokens that its grid asks for (None:
        all are alike).

        A token is learned when it shares a character with a learned span. All other labels are `IGNORE`. In the spans
        `plain`, somebody's text, markers are letters like others.
        """
        (text, learned, plain), runs = self._expanded(page, grids)
        encoded, left = self._plain_text.encode(text, plain), iter(runs)
        ids, labels = [], []
        for token, span in zip(encoded.ids, encoded.offsets, strict=True):
            repeat = next(left, 1) if token == self.image_token_id else 1
            ids += [token] * repeat
            labels += [token if overlaps(span, learned) else IGNORE] * repeat
        return ids, labels

    def learned_markers(self, ids: Tensor) -> Tensor:
        """Where in `ids` `[b, l]` a marker stands that the prompt's loss counts in every turn: `[b, l]` of truths."""
        found = torch.zeros_like(ids, dtype=torch.bool)
        for marker in self._learned_markers:
            places = max(0, ids.shape[1] - len(marker) + 1)
            parts = [slice(at, at + places) for at in range(len(marker))]
            here = torch.stack([ids[:, part] == token for part, token in zip(parts, marker, strict=True)]).all(dim=0)
            for part in parts:
                found[:, part] |= here
        return found

    @cached_property
    def _learned_markers(self) -> list[list[int]]:
        markers = getattr(self.prompt, "learned_markers", ())
        return [self.tokenizer.encode(marker, add_special_tokens=False) for marker in markers]

    def token_counts(self, pages: Sequence[Rendered], grids: Sequence[Sequence[Grid]] | None = None) -> list[int]:
        """How many ids `tokens` gives for each of many rendered conversations, many times faster."""
        found = [self._expanded(page, None if grids is None else grids[at]) for at, page in enumerate(pages)]
        counts = self._word_counts.count_all([page for page, _ in found])
        return [count + sum(runs) - len(runs) for count, (_, runs) in zip(counts, found, strict=True)]

    def _expanded(self, page: Rendered, grids: Sequence[Grid] | None) -> tuple[Rendered, list[int]]:
        placeholder = self.family.placeholder
        known: Sequence[Grid] = [()] * page.text.count(placeholder) if grids is None else grids
        return expanded(page, placeholder, [self.family.expanded(grid) for grid in known])

    @cached_property
    def _word_counts(self) -> WordCounts:
        return WordCounts(self._plain_text)

    def text_key(self) -> str:
        """Name of everything that decides the tokens of a sample beside the sizes of its images."""
        alike = self.family.expanded(()) if self.family.alike else self._counted_key()
        parts = (self.tokenizer.backend_tokenizer.to_str(), self.prompt, type(self.family).__name__, alike)
        return hashlib.sha256(repr((*parts, self.image_token_id)).encode()).hexdigest()

    def _counted_key(self) -> str:
        """The processor's settings, and what images of some sizes become by them and the model's own settings."""
        known = [self.family.expanded(self.family.grid(size)) for size in SIZES]
        return f"{self.image_processor_key()} {known}"

    # model

    def project(self, features: Tensor | None, grids: Sequence[Grid]) -> Any:
        """Features `[sum of the counts, width]` of all images, through the projector, as the model takes them.

        Returns:
            None when there is no image.

        Raises:
            RunError: there are more or fewer features than the images have.
        """
        if features is None or not grids:
            return None
        weight = next(self.projectors[0].parameters())
        return self.family.project(self.core, self.per_image(features.to(weight.device, weight.dtype), grids), grids)

    def per_image(self, features: Tensor, grids: Sequence[Grid]) -> tuple[Tensor, ...]:
        """Features `[count, width]` of each image, from those of all behind one another.

        Raises:
            RunError: there are more or fewer than the images have.
        """
        counts = [self.family.feature_count(grid) for grid in grids]
        if sum(counts) != len(features):
            raise RunError(f"{self.name}: {len(features)} features for images that have {counts}; remove cached ones")
        return features.split(counts)

    def check_counts(self, ids: Tensor, grids: Sequence[Sequence[Grid]]) -> None:
        """Whether each sample of a batch has as many image tokens as its images take.

        One too many or too few, and the features of the samples behind it would stand beside their places; the model
        itself looks at the sum only.

        Raises:
            RunError: it has not.
        """
        wanted = [self.image_tokens(each) for each in grids]
        found = (ids == self.image_token_id).sum(dim=1).tolist()
        if found != wanted:
            raise RunError(
                f"{self.name}: the samples of a batch have {found} image tokens, their images take {wanted}; give each "
                "sample as many as it has images"
            )

    def layout(self, ids: Tensor, mask: Tensor | None, grids: Sequence[Grid]) -> dict[str, Tensor]:
        """What the model needs beside ids and features of a batch, see `Family.layout`."""
        return self.family.layout(self.core, ids, mask, grids)

    def hidden_states(
        self, ids: Tensor, images: Any = None, layout: Mapping[str, Tensor] | None = None, prefix: Tensor | None = None
    ) -> Tensor:
        """Last hidden states `[b, l, h]`. Attention is causal without a mask, which padding on the right allows.

        Args:
            ids: token ids `[b, l]`.
            images: from `project`.
            layout: from `layout`.
            prefix: embeddings `[b, p, h]` in place of those of the first `p` ids.
        """
        with self._prefixed(prefix):
            states: Tensor = self.core(
                input_ids=ids, use_cache=False, **_encoded(images), **(layout or {})
            ).last_hidden_state
        return states

    @contextmanager
    def _prefixed(self, prefix: Tensor | None) -> Iterator[None]:
        """Within it the first embeddings of a whole sequence are these ones; a token that goes on is left alone."""

        def put(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            assert prefix is not None
            embeds = kwargs["inputs_embeds"]
            if embeds.shape[1] > 1:
                kwargs["inputs_embeds"] = torch.cat([prefix.to(embeds.dtype), embeds[:, prefix.shape[1] :]], dim=1)
            return args, kwargs

        if prefix is None:
            yield
            return
        hook = self.language_model.register_forward_pre_hook(put, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def answer_logits(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[n, vocabulary]` and targets `[n]` of the learned tokens only: the head is costly."""
        targets = labels[:, 1:]
        kept = targets != IGNORE
        return self.model.lm_head(hidden[:, :-1][kept]), targets[kept]

    @property
    def answers_itself(self) -> bool:
        """Whether answers come from this project's own greedy loop (`greedy.Greedy`), else from `generate`: only with
        attentions that read its masks of truth values (`eager` would add them to the scores), and where every token
        sees all that come before it.
        """
        config: Any = self.language_model.config
        looped = config._attn_implementation in LOOPED and not _looks_away(config, self.max_length)
        return bool(self.fast and self.family.greedy and not self.in_step and looped)

    def _loops(self, layout: Mapping[str, Tensor]) -> bool:
        """Whether that holds with this layout: our loop knows positions, and nothing else that a family may ask for."""
        return self.answers_itself and not layout.keys() - {"position_ids"}

    def beginnings(
        self, ids: Tensor, mask: Tensor, layout: Mapping[str, Tensor], same_images: Sequence[int]
    ) -> Shared | None:
        """Samples of a batch padded on the left that begin alike, where one pass over that is worth it."""
        if not self._loops(layout):
            return None
        return shared_beginnings(Prompts.of(ids, mask, layout.get("position_ids")), same_images, self.image_token_id)

    @torch.no_grad()
    def answer(
        self,
        ids: Tensor,
        mask: Tensor,
        max_new_tokens: int,
        images: Any = None,
        layout: Mapping[str, Tensor] | None = None,
        prefix: Tensor | None = None,
        on_pass: Callable[[Tensor], None] = lambda real: None,
        shared: Shared | None = None,
        leaves: bool = True,
    ) -> list[str]:
        """Greedy answers of a left-padded batch, without the end-of-turn marker and outer blanks.

        Args:
            ids, mask: `[b, l]`.
            max_new_tokens: of an answer.
            images: from `project`, of the whole batch; or a function that gives those of some samples, with which a
                batch can be read in parts.
            layout, prefix: as for `hidden_states`.
            on_pass: called before each pass with how often each position that enters it counts, `[m, s]`: 0 is padding
                or a sample that has ended.
            shared: from `beginnings`.
            leaves: a sample that has ended may leave the batch; not where something outside knows the batch's samples.
        """
        options = dict(layout or {})
        if not self._loops(options):
            images = images(range(len(ids))) if callable(images) else images
            return self._generated(ids, mask, max_new_tokens, images, options, prefix, on_pass)
        decoder: Any = self.language_model
        cut = callable(images) and leaves and prefix is None and ids.device.type == "cpu"
        tokens = READ_AT_ONCE if cut else None
        loop = Greedy(self.core, self.model.lm_head, len(decoder.layers), self.end_ids, on_pass, leaves, tokens)
        prompts = Prompts.of(ids, mask, options.get("position_ids"))

        def encoded(samples: Sequence[int]) -> dict[str, Any]:
            return _encoded(images(samples) if callable(images) else images)

        with self._prefixed(prefix):
            answers = loop(prompts, max_new_tokens, encoded, shared)
        return [self.decode(torch.tensor(answer)) for answer in answers]

    def _generated(
        self,
        ids: Tensor,
        mask: Tensor,
        max_new_tokens: int,
        images: Any,
        layout: Mapping[str, Tensor],
        prefix: Tensor | None,
        on_pass: Callable[[Tensor], None],
    ) -> list[str]:
        """As `answer`, by transformers; no pass is told of behind the last token that there may be."""
        width, ends = ids.shape[1], torch.tensor(sorted(self.end_ids), device=ids.device)

        def watch(all_ids: Tensor, scores: Any, **_: Any) -> Tensor:
            finished = torch.isin(all_ids[:, width:], ends).any(dim=1)
            full = all_ids.shape[1] - width >= max_new_tokens  # in step with others there may be passes behind the last
            on_pass((~finished & (not full)).long().unsqueeze(1))
            return finished

        on_pass(mask)
        with self._prefixed(prefix):
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                stopping_criteria=[watch],
                synced_gpus=self.in_step,
                **_encoded(images),
                **layout,
            )
        return [self.decode(sample) for sample in output[:, width:]]

    def decode(self, ids: Tensor) -> str:
        """Text up to the first token that ends an answer."""
        tokens = list(takewhile(lambda token: token not in self.end_ids, ids.tolist()))
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def _encoded(images: Any) -> dict[str, Any]:
    """Projected images as the model takes them; a mapping of each call's own, for it may be written to."""
    return {} if images is None else {"mm_encoder_outputs": {"image": images}}


def _looks_away(config: Any, length: int) -> bool:
    """Whether a language model has layers whose tokens see fewer than so many before them (a sliding window)."""
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    if not {"full_attention", "sliding_attention"}.issuperset(kinds):
        return True  # nobody knows
    window = getattr(config, "sliding_window", None)
    return "sliding_attention" in kinds and window is not None and window < length
