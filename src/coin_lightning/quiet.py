"""Messages of the libraries that would only confuse, each with the reason why it is known to be harmless here."""

import logging
import warnings

from transformers.utils.logging import disable_progress_bar

HARMLESS = (
    r".*does not have many workers.*",  # batches come from a memory map; more processes would only copy them
    r".*predict_dataloader.*num_workers.*",
    r".*`is_gradient_checkpointing` is deprecated.*",  # PEFT asks transformers this on every wrap
    r".*`gradient_checkpointing_enable` is deprecated.*",  # the name that every transformers 5 knows
    r".*Found keys that are not in the model state dict.*",
    r".*The dataloader.*does not have.*",
    # Lightning asks PyTorch for its tree leaves by a name that is going away
    r".*LeafSpec.* is deprecated.*",
    r".*number of training batches .* is smaller than the logging interval.*",  # the last loss is in train.json
    r".*Couldn't infer the batch indices.*",  # answers carry their ids
    r".*Total length of `.*` across ranks is zero.*",  # an evaluation killed between its answers and its scores
    r".*Grad strides do not match bucket view strides.*",  # costs DDP one small copy
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # the sampler knows the position
    r".*Experiment logs directory .* exists and is not empty.*",  # continuing in the same folder is the point
)


def quiet_libraries() -> None:
    """Silence them, and Lightning's notices about devices, which the run header replaces."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.accelerators.cuda",
        "lightning.fabric.utilities.seed",
        "lightning.fabric.utilities.distributed",
        "lightning.fabric.utilities.rank_zero",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    disable_progress_bar()  # its bars would break ours
    # transformers names each library it does without; none of them is needed
    logging.getLogger("transformers").setLevel(logging.ERROR)
