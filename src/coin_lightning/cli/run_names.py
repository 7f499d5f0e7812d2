"""The folder of a run, named after the command line: readable, and no longer than file systems allow."""

import hashlib

from omegaconf import OmegaConf

LONGEST = 180
"""Bytes of a folder name; most file systems take 255, and other programs add to it."""


def folder_name(overrides: str) -> str:
    """Hydra's `override_dirname` as one folder: slashes become `_`; a long name is cut, and its hash tells it apart."""
    name = overrides.replace("/", "_")
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:10]
    return f"{name.encode()[: LONGEST - 11].decode(errors='ignore')}-{digest}"


def register() -> None:
    """Make it known to configs as `${folder_name:...}`."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
