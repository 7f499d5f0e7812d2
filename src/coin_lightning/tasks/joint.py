"""`JointTask`: the shuffled union of several tasks, learned at once (multi-task training, CoIN's upper reference)."""

from collections.abc import Sequence

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.score_matrix import JOINT
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.row_sequence import Rows


class JointTask(InstructionTask):
    """Training rows of all members, mixed within each batch. It is never answered: the members are.

    Pictures, features and prompts come from the members, which share backbone and image root.

    Args:
        members: tasks in scenario order; read and checked by themselves.
        batch_size: training rows per device and step, of all tasks together.
        epochs: passes over the union.
        num_workers: loader processes.

    Raises:
        ConfigError: the members lie below different image roots.
    """

    def __init__(
        self, members: Sequence[InstructionTask], batch_size: int, epochs: int = 1, num_workers: int = 0
    ) -> None:
        roots = {member.image_root for member in members}
        if len(roots) != 1:
            raise ConfigError(
                f"scenario.joint=true needs all tasks below one image root, there are {', '.join(map(str, roots))}"
            )
        root = roots.pop()
        super().__init__(
            JOINT, root.parent, "", members[0].features, images=root.name, batch_size=batch_size, epochs=epochs,
            num_workers=num_workers,
        )  # fmt: skip
        self.members = list(members)

    def join(self, seed: int, position: int) -> None:
        """Take over the members' rows once they are read; `seed` and `position` decide the order of the batches."""
        self.encoder = self.members[0].encoder
        for member in self.members:
            self.know_images_of(member)
        self.key = f"{seed}/{position}"
        self.train_rows = Rows.joined([member.train_rows for member in self.members])
