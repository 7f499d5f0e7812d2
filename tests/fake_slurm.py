"""A stand-in for SLURM's commands on one machine: `install(folder)` writes them there.

Jobs of an array run at once, each by the submitted script; one that asks for it with `scontrol requeue` is ended at
once, and run again. What was submitted stays in `<folder>/submitted.sh`, what was put back into the queue in
`<folder>/requeued`.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

JOB = 4711


def install(folder: Path) -> None:
    """Write the commands; the folder then goes to the front of PATH."""
    folder.mkdir()
    for name in ("sbatch", "srun", "scontrol", "sacct"):
        command = folder / name
        here = str(Path(__file__).parent)
        command.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\nimport {__name__} as fake\nfake.main()\n"
        )
        command.chmod(0o755)


def sbatch(folder: Path, script: Path) -> None:
    """Run every job of the array, and leave them to themselves."""
    text = script.read_text()
    (folder / "submitted.sh").write_text(text)
    found = re.search(r"--array=0-(\d+)", text)
    jobs = range(int(found.group(1)) + 1) if found else [0]
    if os.fork() == 0:
        os.setsid()
        for stream in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        for number in jobs:
            if os.fork() == 0:
                _job(folder, text, number)
                os._exit(0)
        os._exit(0)
    print(f"Submitted batch job {JOB}")


def _job(folder: Path, text: str, number: int) -> None:
    env = {
        **os.environ, "SLURM_JOB_ID": str(JOB + number), "SLURM_ARRAY_JOB_ID": str(JOB),
        "SLURM_ARRAY_TASK_ID": str(number), "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0", "SLURM_JOB_NAME": "sweep",
    }  # fmt: skip
    script, asked = folder / f"job_{number}.sh", folder / f"requeue_{JOB}_{number}"
    script.write_text(text)
    while True:
        job = subprocess.Popen(["bash", str(script)], env=env, start_new_session=True)
        (folder / f"group_{JOB}_{number}").write_text(str(job.pid))
        job.wait()
        if not asked.exists():
            return
        asked.unlink()


def main() -> None:
    """As the command by whose name this was started."""
    command, words = Path(sys.argv[0]), sys.argv[1:]
    folder = command.parent
    if command.name == "sbatch":
        sbatch(folder, Path(words[-1]))
    elif command.name == "srun":
        start = next(at for at, word in enumerate(words) if word.endswith("python") or "/python" in word)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execv(words[start], words[start:])
    elif command.name == "scontrol":
        assert words[0] == "requeue", words
        (folder / f"requeue_{words[1]}").touch()
        with (folder / "requeued").open("a") as stream:
            stream.write(f"{words[1]}\n")
        os.killpg(int((folder / f"group_{words[1]}").read_text()), signal.SIGKILL)
    elif command.name == "sacct":
        print("JobID|State|NodeList")
        print(f"{JOB}_0|RUNNING|localhost")
