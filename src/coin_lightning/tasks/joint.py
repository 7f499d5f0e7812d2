"""`JointTask`: the shuffled union of several tasks, learned at once (multi-task training, CoIN's upper reference)."""

from collections.abc import Sequence

from coin_lightning.metrics.score_matrix import JOINT
from coin_lightning.tasks.base import InstructionTask, check_alike
from coin_lightning.tasks.options import BatchOptions
from coin_lightning.tasks.sample_sequence import Samples


class JointTask(InstructionTask):
    """Training samples of all members, mixed within each optimizer step. It is never answered: the members are.

    Images, features and prompts come from the members, which are read alike.

    Args:
        members: tasks in scenario order; read and checked by themselves.
        batches: of samples of all tasks together.

    Raises:
        ConfigError: as `check_alike`.
    """

    def __init__(self, members: Sequence[InstructionTask], batches: BatchOptions) -> None:
        check_alike(members)
        super().__init__(JOINT, "", members[0].data, batches)
        self.members = list(members)

    def join(self, seed: int, position: int) -> None:
        """Take over the members' samples once they are read; `seed` and `position` decide the order of the batches."""
        self.encoder = self.members[0].encoder
        for member in self.members:
            self.know_images_of(member)
        self.key = f"{seed}/{position}"
        self.train_samples = Samples.joined([member.train_samples for member in self.members])
