"""Callbacks that tests put into a run through its config: `+callbacks.probe._target_=probes.Recorder`."""

import ctypes
import errno
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch
from hydra.experimental.callback import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loops import utilities
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.distributed.tensor import DTensor

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply
from coin_lightning.methods.base import Method
from coin_lightning.module import part_of
from coin_lightning.tasks.collate import Encoder

_kept: list[Any] = []  # everything whose id() is written down stays alive, so that no id comes twice


def digest(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """sha256 of each tensor's bytes, by name."""
    flat = {name: tensor.detach().cpu().contiguous().view(-1).view(torch.uint8) for name, tensor in tensors.items()}
    return {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in flat.items()}


def _loop(trainer: Any) -> ContinualLoop:
    return next(callback for callback in trainer.callbacks if isinstance(callback, ContinualLoop))


class Recorder(L.Callback):
    """Writes `<folder>/<k>.<rank>.json` for each training: objects, rates, weights before and after."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.found: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """Who is there, and what the weights are."""
        objects = [trainer, *trainer.callbacks, *trainer.loggers, *trainer.optimizers]
        _kept.extend(objects)
        self.found = {
            "objects": [[type(each).__name__, id(each)] for each in objects],
            "rates": [],
            "batches": [],
            "widths": [],
            "before": digest(dict(pl_module.named_parameters())),
            "drawing": [name for name in sys.modules if name.startswith("matplotlib.backends.backend_")],
            "figures": list(map(str, Path(trainer.default_root_dir).rglob("*.png"))),
            "trainable": [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad],
        }

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Rates and samples of the step."""
        self.found["rates"].append([group["lr"] for group in trainer.optimizers[0].param_groups])
        self.found["batches"].append(batch["ids"])
        self.found["widths"].append(batch["input_ids"].shape[1])

    def on_train_end(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """What the weights have become."""
        self.found["after"] = digest(dict(pl_module.named_parameters()))
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{_loop(trainer).position}.{trainer.global_rank}.json"
        file.write_text(json.dumps(self.found))


class FixedJudge(Judge):
    """Grades every answer with 7: `judge._target_=probes.FixedJudge`.

    Args:
        answers: requests that it answers before it fails; null: all.
        sends: signal that it sends to its own process with the first request.
    """

    kind = "fixed"

    def __init__(self, answers: int | None = None, variant: str = "strict", sends: int | None = None) -> None:
        super().__init__("seven", variant=variant)
        self.answers, self.closed, self.sends = answers, 0, sends

    def settings(self) -> dict[str, Any]:
        """Nothing that matters."""
        return {"version": "1", "temperature": 0.0, "seed": None, "settings": {}}

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """Sevens."""
        for index, _ in enumerate(requests):
            if self.sends is not None:
                os.kill(os.getpid(), self.sends)
            if self.answers is not None:
                self.answers -= 1
                if self.answers < 0:
                    raise JudgeError("the server does not answer")
            yield Reply(index, "7")

    def close(self) -> None:
        """Count."""
        self.closed += 1


class FailAt(L.Callback):
    """Fails behind optimizer step `step` as code with a bug does, and leaves process-global state behind.

    Args:
        step: of the first task; one that never comes does nothing.
        signal_sweep: send a signal to the process that runs the member instead, once, and go on.
        number: the signal.
        rank: of the process that does so.
    """

    def __init__(
        self, step: int, signal_sweep: bool = False, number: int = signal.SIGTERM, rank: int | None = None
    ) -> None:
        self.step, self.signal_sweep, self.number, self.rank = step, signal_sweep, number, rank

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Fail, or send."""
        if trainer.global_step != self.step or self.rank not in (None, trainer.global_rank):
            return
        if self.signal_sweep:
            os.kill(os.getppid(), self.number)
            while _loop(trainer).interruption.received is None:  # until the sweep has handed it on
                time.sleep(0.01)
            return
        torch.use_deterministic_algorithms(True)
        torch.set_default_dtype(torch.float64)
        os.environ["WANDB_MODE"] = "online"
        raise ZeroDivisionError("a bug in a callback")


class LocalDisk(Callback):
    """Of Hydra: submitit waits 15 seconds for what a network disk may still show of a lost job; here is none."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Wait no second."""
        import submitit

        submitit.Job._results_timeout_s = 0


class BrokenLogger(CSVLogger):
    """Fails at every call of one kind: `+logger.broken._target_=probes.broken_logger`."""

    fails = "log_metrics"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Fail."""
        if self.fails == "log_metrics":
            raise ConnectionError("the service is gone")

    def finalize(self, status: str) -> None:
        """Fail."""
        if self.fails == "finalize":
            raise ConnectionError("the service is gone")


def broken_logger(run_dir: Path, experience: str, config: dict[str, Any], fails: str) -> CSVLogger:
    """A logger that fails when it is made (`make`), or at calls of the kind `fails`."""
    if fails == "make":
        raise ConnectionError("the service is gone")
    logger = BrokenLogger(str(run_dir / "logs"), name="broken", version=experience)
    logger.fails = fails
    return logger


class Keeper(L.Callback):
    """Has a secret of its own in the config, and does nothing."""

    def __init__(self, api_token: str, address: str) -> None:
        self.api_token, self.address = api_token, address


class KillAt(L.Callback):
    """SIGKILL at one moment of one experience.

    Args:
        position: the experience.
        moment: `train`, behind optimizer step `step`; `batch`, behind training batch number `step` of this process;
            `predict`, at answer batch number `step`; `between`, when the weights are saved and no question is answered
            yet.
    """

    def __init__(self, position: int, moment: str, step: int = 0) -> None:
        self.position, self.moment, self.step = position, moment, step
        self.batches = self.trained = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moments `train` and `batch`."""
        self.trained += 1
        self._kill(trainer, "train", trainer.global_step)
        self._kill(trainer, "batch", self.trained)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Moment `between`."""
        self._kill(trainer, "between", 0)

    def on_predict_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Moment `predict`."""
        self.batches += 1
        self._kill(trainer, "predict", self.batches)

    def _kill(self, trainer: Any, moment: str, step: int) -> None:
        if (moment, step, _loop(trainer).position) == (self.moment, self.step, self.position):
            os.kill(os.getpid(), signal.SIGKILL)


class Modes(L.Callback):
    """Writes `<file>`: what is in training mode within a real training step, the bytes kept for its backward pass, and
    how often each layer is passed through.

    Args:
        file: JSON: `layers`, `adapters`, `tower` (modes met in all forward passes of such parts), `kept` (bytes) and
            `passes` of each layer's attention in the first training batch.
    """

    def __init__(self, file: str) -> None:
        self.file, self.found = Path(file), {"layers": set(), "adapters": set(), "tower": set(), "kept": 0}
        self.found["passes"], self._first = [], False
        self._hooks: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look at every forward pass from here on."""
        core = pl_module.backbone.core
        parts = {"layers": core.language_model.layers, "tower": core.vision_tower.modules()}
        parts["adapters"] = [each for each in pl_module.modules() if isinstance(each, BaseTunerLayer)]
        for name, modules in parts.items():
            for module in modules:
                module.register_forward_pre_hook(lambda part, _, name=name: self.found[name].add(part.training))
        for number, layer in enumerate(parts["layers"]):  # a part of it: the layer itself is called once in any case
            layer.self_attn.register_forward_pre_hook(lambda *_, number=number: self._pass(number))
        self.found["passes"] = [0] * len(parts["layers"])

    def _pass(self, layer: int) -> None:
        self.found["passes"][layer] += self._first

    def on_train_batch_end(self, *_: Any) -> None:
        """The first batch is over."""
        self._first = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count what autograd keeps of the first batch; what is computed again behind it is not kept."""

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            self.found["kept"] += tensor.numel() * tensor.element_size()
            return tensor

        self._first = batch_idx == trainer.current_epoch == 0
        if self._first:
            self._hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
            self._hooks.__enter__()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        """The forward pass is over."""
        if self._hooks is not None:
            self._hooks.__exit__(None, None, None)
            self._hooks = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write it down."""
        self.file.write_text(json.dumps({k: sorted(v) if isinstance(v, set) else v for k, v in self.found.items()}))


class Gradients(L.Callback):
    """Writes `<folder>/<rank>.safetensors`: the gradients with which the first optimizer step is taken."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Disturb B, which is zero and hides half of the gradients; then wait for the step."""
        from safetensors.torch import save_file

        generator = torch.Generator().manual_seed(0)
        for parameter in pl_module.trainable().values():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)

        def write(optimizer: Any, *_: Any) -> None:
            file = self.folder / f"{trainer.global_rank}.safetensors"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                grads = {name: weight.grad for name, weight in pl_module.trainable().items()}
                save_file({name: grad.contiguous() for name, grad in grads.items() if grad is not None}, file)

        trainer.optimizers[0].register_step_post_hook(write)  # the gradients come within the step


class Pieces(L.Callback):
    """Writes `<folder>/<rank>.json`: how many numbers this process holds of each part of the model while it learns."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Count."""
        held: dict[str, int] = {}
        for name, weight in pl_module.named_parameters():
            decoder = ".language_model." in name and ".embed_tokens." not in name
            part = part_of(name) if weight.requires_grad else "layers" if decoder else "rest"
            own = weight.to_local() if isinstance(weight, DTensor) else weight
            held[part] = held.get(part, 0) + own.numel()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(held))


class Anchors(Method):
    """Holds the weights near what they were, as the plugin of `docs/extend.md` does.

    Args:
        passes: over a batch of the task, too, before it is learned.
    """

    def __init__(self, passes: bool = True) -> None:
        super().__init__("anchors")
        self.passes, self.anchors = passes, []

    def before_experience(self, context: Any) -> None:
        """Remember, and pass over data."""
        weights = context.module.trainable().values()
        self.anchors = [(weight, weight.detach().clone()) for weight in weights]
        if self.passes:
            with torch.no_grad(), context.evaluating():
                context.forward(next(iter(context.batches(context.samples()))))

    def loss(self, step: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Nearly nothing."""
        return 1e-6 * torch.stack([(weight - anchor).square().sum() for weight, anchor in self.anchors]).sum()


class BackendOfGpus(L.Callback):
    """Lightning is told the name that the group of processes has on GPUs: for gloo alone it answers in another mode."""

    def __init__(self) -> None:
        utilities.dist = SimpleNamespace(get_backend=lambda: "cpu:gloo,cuda:nccl")


class SignalAt(L.Callback):
    """Sends this process a signal at one moment of one experience.

    Args:
        position: the experience.
        moment: `train`, in the batch that makes optimizer step `step`; `predict`, at answer batch number `step`.
        step: see `moment`.
        number: of the signal.
        rank: the process that gets it.
    """

    def __init__(self, position: int, moment: str, step: int, number: int, rank: int = 0) -> None:
        self.position, self.moment, self.step, self.number, self.rank = position, moment, step, number, rank
        self.batches = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Moment `train`."""
        self._send(trainer, "train", trainer.global_step + 1)

    def on_predict_batch_start(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Moment `predict`."""
        self.batches += 1
        self._send(trainer, "predict", self.batches)

    def _send(self, trainer: Any, moment: str, step: int) -> None:
        here = (moment, step, _loop(trainer).position, trainer.global_rank)
        if here == (self.moment, self.step, self.position, self.rank):
            os.kill(os.getpid(), self.number)


class LateDisk(L.Callback):
    """In a process with `LATE_DISK` set, no experience ever looks finished, as where a network disk shows old files."""

    def __init__(self) -> None:
        if "LATE_DISK" in os.environ:
            RunDir.scores = lambda run: {}  # type: ignore[method-assign]


class BreakWeights(L.Callback):
    """Makes one weight infinite behind optimizer step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Lightning's hook."""
        if trainer.global_step == self.step:
            next(iter(pl_module.trainable().values())).data.view(-1)[0] = float("inf")


def fading(optimizer: Any, total_steps: int) -> Any:
    """A schedule whose last two steps have the rate 0."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step < total_steps - 2))


class Hungry(L.Callback):
    """Asks for more memory than there is at one experience, so that PyTorch's own allocation fails.

    Args:
        position: the experience.
        phase: `train`, where a layer of the language model keeps its activations, or more than `rows` samples make a
            batch; `predict`, where more than `rows` questions are answered together.
        step: number of the batch from which on it is hungry.
        rows: see `phase`.
    """

    def __init__(self, position: int, phase: str, step: int = 0, rows: int = 10**6) -> None:
        self.position, self.phase, self.step, self.rows = position, phase, step, rows
        self.batches = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Phase `train`."""
        keeps = not all(layer.gradient_checkpointing for layer in pl_module.backbone.core.language_model.layers)
        self._eat(trainer, "train", batch, keeps and self.rows == 10**6)

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        """Phase `predict`."""
        self._eat(trainer, "predict", batch, False)

    def _eat(self, trainer: Any, phase: str, batch: Any, always: bool) -> None:
        if (phase, _loop(trainer).position) != (self.phase, self.position):
            return
        self.batches += 1
        if self.batches > self.step and (always or len(batch["ids"]) > self.rows):
            torch.empty(2**60, dtype=torch.uint8)


class FullDisk(L.Callback):
    """After so many openings of files for writing in the run folder every further one fails: there is no room left."""

    def __init__(self, at: int) -> None:
        self.left, self.folder = at, ""
        sys.addaudithook(self._watch)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """From here on it is known where the run lies."""
        self.folder = self.folder or str(trainer.default_root_dir)

    def _watch(self, event: str, given: tuple[Any, ...]) -> None:
        if event != "open" or not self.folder or not (given[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        if isinstance(given[0], str | os.PathLike) and os.fspath(given[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(given[0]))


class WithoutRights(L.Callback):
    """Takes from the process what lets an administrator write where nobody may, when its config is checked."""

    def __init__(self) -> None:
        header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.capget(header, rights) == 0
        for place in range(3):  # effective, permitted, inheritable: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
            rights[place] &= ~0b110
        assert libc.capset(header, rights) == 0


class SpoiltSample(L.Callback):
    """Where a batch with a sample is made, something happens to the process that makes it.

    Args:
        id: of the sample.
        makes: `train_batch` or `answer_batch`.
        what: `kill`, `raise`, `memory`.
    """

    def __init__(self, id: str, makes: str, what: str) -> None:
        made = getattr(Encoder, makes)

        def spoilt(encoder: Encoder, samples: Sequence[Any]) -> Any:
            if any(sample.id == id for sample in samples):
                {"kill": self._kill, "raise": self._raise, "memory": self._eat}[what]()
            return made(encoder, samples)

        setattr(Encoder, makes, spoilt)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _raise(self) -> None:
        raise KeyError("a field")

    def _eat(self) -> None:
        torch.empty(2**60, dtype=torch.uint8)
