"""`key=value` words of the commands beside `train`, whose words Hydra reads."""

from collections.abc import Iterable

from coin_lightning.errors import ConfigError


def pairs(words: Iterable[str]) -> dict[str, str]:
    """Values by key, as they are written.

    Raises:
        ConfigError: a word has no `=`, or a key is given twice.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word}: must be key=value; see --help")
        if key in given:
            raise ConfigError(f"{key}: is given twice")
        given[key] = value
    return given
