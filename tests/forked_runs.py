"""Many runs of the command line for one start-up: a server process imports everything once and forks for each run.

A run is a process of its own, so it can be killed with SIGKILL, and nothing of it stays behind. Drawing pages would be
most of its work: `PAGE=1` in its environment asks for them. `FOLDER` there names the folder that it is started in.
Started as a script this is the server: a JSON line in (`jobs`: argv, env, output), a JSON line out (exit statuses,
negative for signals).
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from coin_lightning.quick_imports import importing
from small_coin import overrides, write_suite


class Runs:
    """Client: `run(argv)` gives exit status and printed text of `python -m coin_lightning ARGV`, whatever command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        here = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COIN_LIGHTNING_CACHE": str(folder / "cache")}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, __file__], env=env, cwd=folder, **pipes)

    def run(self, argv: list[str], **env: str) -> tuple[int, str]:
        """Exit status (negative: the signal that ended it) and text of both streams."""
        return self.together([(argv, env)])[0]

    def together(self, commands: list[tuple[list[str], dict[str, str]]]) -> list[tuple[int, str]]:
        """The same for several processes at once."""
        jobs = []
        for argv, env in commands:
            self.count += 1
            jobs.append({"argv": argv, "env": env, "output": str(self.folder / f"output_{self.count}.txt")})
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(jobs) + "\n")
        self.server.stdin.flush()
        statuses = json.loads(self.server.stdout.readline())
        return [(status, Path(job["output"]).read_text()) for status, job in zip(statuses, jobs, strict=True)]

    def close(self) -> None:
        """End the server."""
        self.server.kill()
        self.server.communicate()


def _no_page(run: Path, **_: Any) -> Path:
    (run / "report.html").write_text("left out by the tests' server")
    return run / "report.html"


def _compose_once() -> None:
    """Hydra composes a config once more, to see whether it says `hydra.mode`: none of the tests' does."""
    from hydra._internal.hydra import Hydra

    Hydra.get_mode = lambda self, config_name, overrides: None


def _child(job: dict[str, Any]) -> None:
    from coin_lightning.cli import commands, run

    atexit._clear()  # the server's own: they would remove what other forks still use
    stream = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(job["env"])
    sys.path[:0] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
    os.chdir(job["env"].get("FOLDER", "."))
    sys.argv = ["coin_lightning", *job["argv"]]
    if "PAGE" not in job["env"]:
        run.write_report = _no_page
    if not {"-m", "--multirun"} & set(job["argv"]):
        _compose_once()
    status = 0
    try:
        commands.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


LATER = ("wandb", "wandb.sdk.launch.inputs.internal", "optuna")
"""What loggers and searches import when they begin: a second and a half each time."""


def _ask_packages_once() -> None:
    """Every trainer asks all installed packages for callbacks, every run for their versions and this project's commit:
    none changes meanwhile."""
    from lightning.fabric.utilities import registry

    from coin_lightning.continual import environment

    registry.entry_points = cache(registry.entry_points)
    environment.version = cache(environment.version)
    environment._git_commit = cache(environment._git_commit)


def _look_into_towers_once() -> None:
    """The shape of a tower's features is found by a forward pass at every start, a twentieth of a small run's time."""
    from coin_lightning.backbones import tower

    found: dict[str, tuple[int, int]] = {}
    look = tower.feature_shape

    def remembered(config: Any, source: str) -> tuple[int, int]:
        key = config.to_json_string(use_diff=False)
        if key not in found:
            found[key] = look(config, source)
        return found[key]

    tower.feature_shape = remembered


def _warm_up() -> None:
    """One run of the server's own: what a run imports and compiles, its forks find done. A third of their time."""
    with importing():
        from coin_lightning.cli import run, train

        for name in LATER:
            with suppress(ModuleNotFoundError):  # extras
                import_module(name)

    _ask_packages_once()
    _look_into_towers_once()
    page, run.write_report = run.write_report, _no_page
    with tempfile.TemporaryDirectory() as text, open(os.devnull, "w") as nobody:
        folder, tasks = Path(text), "gqa"
        suite = write_suite(folder / "suite", train=8, test=1)
        sys.argv = ["coin_lightning", *overrides(suite, folder / "features", folder / "run", tasks=tasks)]
        try:
            with redirect_stdout(nobody), redirect_stderr(nobody):
                train.main()
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError("the server's own run failed; start it alone to see why") from ended
    run.write_report = page


def quicken(shared: Path | None = None) -> None:
    """From now on, in this process and its forks: see the modules; `shared` is that of `read_once`."""
    from quick_configs import read_once
    from quick_disk import no_loss_of_power
    from quick_loaders import look_often

    read_once(shared)
    no_loss_of_power()
    look_often()


def _serve() -> None:
    quicken(Path.cwd() / "merged_configs")
    _warm_up()
    gc.collect()
    gc.freeze()  # forks need not look through all that is imported
    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            child = os.fork()
            if child == 0:
                _child(job)
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    _serve()
