"""The processes of one job: which of them this is, and how they agree on what only one of them may decide.

Ranks come from Lightning's own cluster environments (torchrun, srun, LSF, MPI), in the order in which a `Trainer` looks
for them, so that both always mean the same. Each process that reads the run folder for itself would see another state
of it: the first one decides, and the others are told.

Torch and Lightning are imported where they are used: `alone` is asked before it is known that they are needed.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from coin_lightning.errors import CoinLightningError, ConfigError

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from lightning.fabric.plugins.environments import ClusterEnvironment

Found = TypeVar("Found")
LAUNCHERS = (
    "TORCHELASTIC_", "SLURM_NTASKS", "SLURM_PROCID", "LSB_", "JSM_", "OMPI_COMM_WORLD_", "PMI_RANK", "PMI_SIZE",
    "PMIX_RANK", "MPI_LOCAL", "MV2_COMM_WORLD_", "RANK", "WORLD_SIZE",
)  # fmt: skip
"""How the names of variables begin that launchers of several processes set; `SLURM_CONF` or `MPI_HOME` say of none."""
PATIENCE = 6 * 3600.0
"""Seconds that `decide` and `gather` wait for the slowest process, which may decode all images before."""
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""
_agreeing: "list[dist.ProcessGroup]" = []
"""The group in which processes agree, once they are connected."""


class DecidedElsewhereError(CoinLightningError):
    """The first process of the job has refused to go on, and says why."""


def alone() -> bool:
    """Whether surely nobody has started this process together with others. No library is asked: see `cluster`."""
    return not any(name.startswith(LAUNCHERS) for name in os.environ)


def cluster() -> "ClusterEnvironment | None":
    """The environment that has started this process; None when it was started by itself.

    SLURM's requeueing by Lightning is off: it would write a checkpoint that every later task loads again. Signals are
    handled by `continual.interruption`.

    Raises:
        ConfigError: the variables of the environment contradict each other.
    """
    from lightning.fabric.plugins.environments import (
        LSFEnvironment,
        MPIEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    try:
        if SLURMEnvironment.detect():
            return SLURMEnvironment(auto_requeue=False)
        return next((kind() for kind in (LSFEnvironment, MPIEnvironment) if kind.detect()), None)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(f"the scheduler's variables cannot be used: {error}") from error


def world_size() -> int:
    """Processes of this job."""
    environment = cluster()
    return 1 if environment is None else environment.world_size()


def rank() -> int:
    """Number of this process in its job; 0 is the first."""
    environment = cluster()
    return 0 if environment is None else environment.global_rank()


def is_first() -> bool:
    """Whether this is the only process of its job, or the first: the one that writes, prints and decides."""
    return rank() == 0


def die_with_parent() -> None:
    """In a process that another one has started: it gets SIGTERM when that one is gone, where the system can do so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGTERM)


def connected() -> bool:
    """Whether the processes of this job have found each other."""
    return "torch.distributed" in sys.modules and sys.modules["torch.distributed"].is_initialized()


def connect() -> None:
    """Let the processes of the job find each other, before a `Trainer` would; one alone has nothing to do.

    What they agree on goes through a group of its own, on the CPU and with patience: in that of the GPUs a step that
    hangs should still end within minutes.

    Raises:
        ConfigError: the others did not come.
    """
    environment = cluster()
    if environment is None or environment.world_size() == 1 or connected():
        return
    import torch
    import torch.distributed as dist

    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, rank=environment.global_rank(), world_size=environment.world_size())
        _agreeing[:] = [dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE))]
    except (RuntimeError, ValueError) as error:  # torch.distributed's errors are RuntimeErrors
        raise ConfigError(
            f"{type(environment).__name__} announces {environment.world_size()} processes, but they did not meet at "
            f"{environment.main_address}:{environment.main_port} ({error}); start all of them with torchrun or srun"
        ) from error


def decide(find: Callable[[], Found]) -> Found:
    """What `find` gives in the first process, in all of them. The others do not call it.

    Raises:
        Exception: what `find` raises in the first process; in the others `DecidedElsewhereError`.
    """
    if not connected():
        return find()
    import torch
    import torch.distributed as dist

    box: list[Found | CoinLightningError | None] = [None]
    failure: Exception | None = None
    if is_first():
        try:
            box[0] = find()
        except Exception as error:
            failure = error
            box[0] = CoinLightningError(str(error))
    dist.broadcast_object_list(box, src=0, group=_group(), device=torch.device("cpu"))
    if failure is not None:
        raise failure
    if isinstance(box[0], CoinLightningError):
        raise DecidedElsewhereError(str(box[0]))
    return box[0]  # type: ignore[return-value]


def gather(mine: Found) -> list[Found]:
    """What each process has, by rank, in all of them."""
    if not connected():
        return [mine]
    import torch.distributed as dist

    found: list[Found | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine, group=_group())
    return found  # type: ignore[return-value]


def _group() -> "dist.ProcessGroup | None":
    """None, that of all, where somebody else has connected the processes."""
    return _agreeing[0] if _agreeing else None


def peak_memory(device: "torch.device") -> int:
    """Highest memory in bytes so far: of the device, or of the process (resident) on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
