"""The config that a command line gives a run, for tests that take it from there."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from coin_lightning.config_folder import conf_dir


def config_of(words: Sequence[str]) -> DictConfig:
    """Composed of these overrides, without Hydra's part; Hydra is left as it was."""
    before = HydraConfig.instance().cfg
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    OmegaConf.resolve(config)
    HydraConfig.instance().cfg = before
    return config
