"""Jobs of submitit, each by itself: one that is lost fails alone, and the others are waited for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from coin_lightning.cli.sweep_member import MemberFailedError

LAUNCHERS = "hydra_plugins.hydra_submitit_launcher."
"""How the names of its launchers begin. They ask for the results one after the other, and end with the first that is
lost, while the other jobs go on."""


@contextmanager
def lost_alone(launcher: str) -> Iterator[None]:
    """Within the block a job that is lost gives a failed member, where the launcher of this name is one of submitit's.

    The launcher takes `submitit.AutoExecutor` when it is called, and has no place of its own to hand another one to.
    """
    if not launcher.startswith(LAUNCHERS):
        yield
        return
    import submitit

    class Executor(submitit.AutoExecutor):
        """Its jobs lose nothing but themselves."""

        def map_array(self, fn: Any, *iterable: Any) -> list[Any]:
            return [_Job(job) for job in super().map_array(fn, *iterable)]

    library: Any = submitit
    before = library.AutoExecutor
    library.AutoExecutor = Executor
    try:
        yield
    finally:
        library.AutoExecutor = before


class _Job:
    """What a launcher asks of a job."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def results(self) -> Sequence[JobReturn]:
        """Of each of its tasks; of a lost one why."""
        from submitit.core.utils import UncompletedJobError

        try:
            return list(self._job.results())
        except UncompletedJobError as error:
            job, paths = self._job, self._job.paths
            log = paths.stderr if paths.stderr.is_file() else paths.stdout  # where both are one
            reason = f"job {job.job_id} was lost ({job.state}): {_last_line(error)}; see {log}"
            return [JobReturn(status=JobStatus.FAILED, _return_value=MemberFailedError(reason))]


def _last_line(error: Exception) -> str:
    """Its log stands at the end of what submitit says, between lines of dashes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip("- \n")]
    return next((line for line in reversed(lines) if not line.startswith(("You can check", "- /"))), "no output")
