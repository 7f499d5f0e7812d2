"""Backbones that rows of published tables name and that this project cannot run yet."""

from typing import NoReturn

from coin_lightning.errors import ConfigError


def load(
    name: str,
    missing: str,
    prompt: str,
    image_frame: str,
    max_length: int,
    starting_weights: str = "backbone",
) -> NoReturn:
    """Refuse, before anything is read or computed. The options are those that the backbone will have.

    Args:
        name: of the backbone.
        missing: the parts that are not there, for the message.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"backbone={name}: this backbone is not part of coin_lightning yet. Missing: {missing}. "
        f"Its prompt ({prompt}), image frame ({image_frame}) and box notation are there. "
        "Choose another backbone, e.g. backbone=llava_1_5_7b"
    )
