"""What the models here share: a tower, a projector and a language model of one's own choice in LLaVA's frame."""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import (
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
)


class AssembledConfig(PreTrainedConfig):
    """Config of a tower, of a language model, and of what joins them.

    Attributes:
        image_token_index: token whose places the features take.
        image_seq_length: tokens per image.
    """

    attribute_map: ClassVar[dict[str, str]] = {"image_token_id": "image_token_index"}
    sub_configs: ClassVar[dict[str, type[PreTrainedConfig]]] = {
        "vision_config": PreTrainedConfig,
        "text_config": PreTrainedConfig,
    }

    vision_config: Any = None
    text_config: Any = None
    image_token_index: int = 0
    image_seq_length: int = 256
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        for name, kind in self.sub_configs.items():
            given = getattr(self, name)
            if not isinstance(given, PreTrainedConfig):
                setattr(self, name, kind(**(given or {})))
        super().__post_init__(**kwargs)


class AssembledModel(LlavaModel):
    """LLaVA's model with other parts.

    Args:
        config: of the whole.
        tower: gives `[n, patches, width]` as its last hidden state, the class token included where it has one.
        projector: makes `[n, image_seq_length, h]` of it.
        language_model: a decoder that takes embeddings.
    """

    def __init__(self, config: AssembledConfig, tower: Any, projector: Any, language_model: Any) -> None:
        LlavaPreTrainedModel.__init__(self, config)  # not LlavaModel's, which would build LLaVA's own parts
        self.vision_tower, self.multi_modal_projector, self.language_model = tower, projector, language_model
        self.post_init()

    def features(self, pixels: Tensor) -> Tensor:
        """`[n, tokens, width]` of pixels `[n, 3, S, S]`, as the projector takes them."""
        states: Tensor = self.vision_tower(pixels).last_hidden_state
        return states

    def get_image_features(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Projected features `[image_seq_length, h]` of each image."""
        projected: Any = list(self.multi_modal_projector(self.features(pixel_values)))
        return BaseModelOutputWithPooling(pooler_output=projected)


class AssembledForConditionalGeneration(LlavaForConditionalGeneration):
    """The model with its head."""

    def __init__(self, config: AssembledConfig, model: AssembledModel) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        self.model = model
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


def register(config: type[AssembledConfig], model: type[AssembledForConditionalGeneration]) -> None:
    """Let transformers' own loaders find the model by its `model_type`."""
    AutoConfig.register(config.model_type, config)
    AutoModelForImageTextToText.register(config, model)
