"""The table of CoIN's tasks as they are built from raw data, in CoIN's order."""

from collections.abc import Mapping

from coin_lightning.benchmarks.coin import gqa, imagenet, ocrvqa, refcoco, scienceqa, textvqa, vizwiz, vqav2
from coin_lightning.benchmarks.coin.raw_sample import RawTask

RAW_TASKS: Mapping[str, RawTask] = {
    module.RAW.key: module.RAW for module in (scienceqa, textvqa, imagenet, gqa, vizwiz, refcoco, vqav2, ocrvqa)
}
"""Task key -> how its raw data set is read. Grounding stands for three data sets."""
