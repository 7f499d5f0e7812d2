"""Several processes of one job, with the variables that `torchrun` and `srun` set for them."""

from ports import free_port


def torchrun(world: int) -> list[dict[str, str]]:
    """Variables of each process as `torchrun --nproc-per-node WORLD` sets them."""
    common = {
        "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def srun(world: int) -> list[dict[str, str]]:
    """Variables of each process as `srun --ntasks-per-node WORLD` sets them on one node."""
    common = {
        "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NODEID": "0", "SLURM_NTASKS": str(world),
        "SLURM_NTASKS_PER_NODE": str(world), "SLURM_NNODES": "1", "SLURM_NODELIST": "127.0.0.1", "SLURM_STEP_ID": "0",
        "MASTER_PORT": str(free_port()),
    }  # fmt: skip
    return [{**common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(world)]


def together(place, command: list[str], launcher=torchrun, world: int = 2) -> list[tuple[int, str]]:
    """Run the command in all processes of a job: exit status and text of each."""
    return place.runs.together([(command, env) for env in launcher(world)])
