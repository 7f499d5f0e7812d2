"""What W&B gets after an experience: scalars, the matrix as table and heat map, example answers, the adapter."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from coin_lightning.reporting.examples import Example, all_examples
from coin_lightning.reporting.experience_log import TASK, experience_scalars, matrix_image
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix

STEP = "sequence_step"
EXAMPLE_COLUMNS = (
    "task", "question_id", "image", "prompt", "reference", "after its training", "now", "score after its training",
    "score now", "change",
)  # fmt: skip


def row_values(run: RunArtifacts, row: int, sequence_step: int, examples: int) -> dict[str, Any]:
    """Scalars, `task` and `sequence_step`; with the last row also what shows the run as it is now: `score_matrix`
    (table), `score_matrix_image` (heat map) and `examples` (table).

    Args:
        run: the run folder, the row included.
        row: 0 for zero-shot, k for the row after task k.
        sequence_step: optimizer steps taken since the start of the sequence.
        examples: shown of each task; 0: no table.

    Raises:
        RunError: the row is not in the matrix yet, or records are missing or garbled.
    """
    import wandb

    matrix = run.matrix
    values: dict[str, Any] = {**experience_scalars(matrix, row), TASK: row, STEP: sequence_step}
    if row == matrix.last:
        caption = f"after {matrix.title(matrix.rows[row])}"
        values["score_matrix"] = matrix_table(matrix)
        values["score_matrix_image"] = wandb.Image(matrix_image(matrix), caption=caption)
        if shown := example_rows(run, examples) if examples else []:
            values["examples"] = wandb.Table(columns=list(EXAMPLE_COLUMNS), data=shown)
    return values


def matrix_table(matrix: RunMatrix) -> Any:
    """The matrix as a W&B table: column ``after``, then one per task; missing cells are None."""
    import wandb

    data = [
        [name, *(None if np.isnan(value) else float(value) for value in scores)]
        for name, scores in zip(matrix.rows, matrix.scores, strict=True)
    ]
    return wandb.Table(columns=["after", *matrix.tasks], data=data)


def example_rows(run: RunArtifacts, limit: int) -> list[list[Any]]:
    """Rows of `EXAMPLE_COLUMNS`: up to `limit` answers of each task that was trained, chosen as on the page."""
    found, _ = all_examples(run, limit)
    return [_example_row(each.task, example) for each in found for example in each.examples]


def _example_row(task: str, example: Example) -> list[Any]:
    import wandb

    image = None
    if example.image is not None:
        content = base64.b64decode(example.image.partition(",")[2])
        image = wandb.Image(Image.open(io.BytesIO(content)))
    return [
        task, example.question_id, image, example.prompt, example.reference, example.before, example.after,
        float(example.score_before), float(example.score_after), example.group,
    ]  # fmt: skip


def log_adapter(to: Any, run: RunArtifacts, row: int) -> None:
    """Give a W&B run the adapter folder of an experience as the next version of its artifact.

    The version before is told in its metadata (`continues`), and online is noted as used by the run, which draws the
    line from task to task. Files are not copied: they stay where they are until they are uploaded.

    Args:
        to: the W&B run.
        run: the run folder.
        row: the experience.
    """
    import wandb

    folder = run.folder(row) / "adapter"
    if not folder.is_dir():
        return
    name = f"adapter-{to.id}"
    before = max((other for other in run.finished if 0 < other < row), default=0)
    continues = f"{name}:{run.folder(before).name}" if before else None
    artifact = wandb.Artifact(name, type="adapter", metadata=_metadata(run.matrix, row, continues))
    artifact.add_dir(str(folder), policy="immutable", skip_cache=True)
    if continues and not to.offline:
        try:
            to.use_artifact(continues)
        except Exception as error:  # whatever the service raises, of one not uploaded yet, say: this one still counts
            wandb.termwarn(f"{continues}: no line is drawn from it to {folder.parent.name}: {error}")
    to.log_artifact(artifact, aliases=[run.folder(row).name, "latest"])


def _metadata(matrix: RunMatrix, row: int, continues: str | None) -> dict[str, Any]:
    scores = {task: float(score) for task, score in zip(matrix.tasks, matrix.scores[row], strict=True)}
    return {
        "experiment": matrix.experiment, "method": matrix.method, "backbone": matrix.backbone, "seed": matrix.seed,
        "position": row, "task": matrix.rows[row], "continues": continues,
        "scores": {task: score for task, score in scores.items() if not np.isnan(score)},
    }  # fmt: skip
