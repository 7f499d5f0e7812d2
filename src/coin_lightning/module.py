"""`ContinualMLLM`: backbone, adapter and method as one LightningModule."""

import math
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from torch.optim import Optimizer

from coin_lightning import processes
from coin_lightning.adapters.moelora import MoELoraLinear, router_load
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones.base import Backbone
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Method
from coin_lightning.seeding import random_state, restore_random_state

PROJECTOR = "multi_modal_projector"
PROJECTOR_MODES = ("carried", "reinitialised", "frozen")
LOSS_WEIGHTINGS = ("exact", "micro_batch")
DIVERGED = (
    "Nothing of this step is kept. Lower optimizer.lr, or look at these rows; a changed setting needs a run folder of "
    "its own (experiment_name=...)"
)


@dataclass
class Learned:
    """What this process has really learned from in the present task, counted where it happens.

    Attributes:
        steps: optimizer steps.
        batches: forward passes with a finite loss.
        samples: rows in them.
        pictures: pictures in them.
        tokens: input tokens, padding included.
        loss_first, loss_last: the task's own loss in the first and the last of them.
    """

    steps: int = 0
    batches: int = 0
    samples: int = 0
    pictures: int = 0
    tokens: int = 0
    loss_first: float | None = None
    loss_last: float | None = None


class ContinualMLLM(L.LightningModule):
    """A frozen multimodal LLM with trainable layers.

    Args:
        backbone: the frozen model.
        adapter: PEFT settings of the layers put into it.
        method: hooks of the continual-learning algorithm.
        optimizer: called with parameter groups.
        schedule: called with the optimizer and `total_steps`.
        projector: `carried` from task to task and trained, `reinitialised` (trained, but every task after the first
            starts from random weights, as the reference code does; `coin_reference.md` section 2) or `frozen`.
        projector_lr: learning rate of the projector; null means the optimizer's own.
        loss_weighting: `exact` counts every answer token of an optimizer step alike, however the step is cut into
            batches and ranks; `micro_batch` is the mean over batches of the means over their tokens, divided by the
            accumulation also where the last step of an epoch has fewer batches, as in the published code.

    Attributes:
        learned: what the present task has seen so far.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapter: PeftConfig,
        method: Method,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Any],
        projector: str = "carried",
        projector_lr: float | None = None,
        loss_weighting: str = "exact",
    ) -> None:
        super().__init__()
        choices = {"projector": (projector, PROJECTOR_MODES), "loss_weighting": (loss_weighting, LOSS_WEIGHTINGS)}
        for key, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"protocol.{key}={value!r} is unknown; use one of {', '.join(known)}")
        self.backbone, self.method = backbone, method
        self.optimizer, self.schedule = optimizer, schedule
        self.projector, self.projector_lr = projector, projector_lr
        self.loss_weighting = loss_weighting
        self.total_steps = 0
        self.first_step = 0
        self.learned = Learned()
        self._context = ExitStack()
        # a task may have fewer answer batches than there are ranks, or none left after a kill
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.strict_loading = False  # checkpoints hold trainable weights only; their key set is checked below
        if projector != "frozen":
            adapter.modules_to_save = [PROJECTOR]  # type: ignore[attr-defined]
        # in a tuple, so that the wrapped model is not registered a second time
        self._peft: tuple[PeftModel] = (put_adapter(backbone.model, backbone.core.language_model, adapter),)
        for parameter in self.trainable().values():
            parameter.data = parameter.data.float()
        self.has_router = any(isinstance(layer, MoELoraLinear) for layer in self.peft.modules())

    @property
    def peft(self) -> PeftModel:
        """The backbone's model as PEFT sees it: saves and loads the adapter."""
        return self._peft[0]

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def reset_projector(self) -> None:
        """Draw new weights of the projector that learns from the global random state, as `nn.Linear` does.

        The frozen one, which PEFT keeps beside it for `disable_adapter`, stays.
        """
        for layer in self.backbone.core.multi_modal_projector.modules():
            if isinstance(layer, nn.Linear) and layer.weight.requires_grad:
                layer.reset_parameters()

    # training

    def pictures(self, batch: dict[str, Any]) -> Tensor | None:
        """Tower features of the batch's pictures `[n, tokens, width]`: cached ones, or computed now from pixels."""
        if "pixels" in batch:
            return self.backbone.encode_pictures(batch["pixels"])
        return batch.get("features")

    def on_fit_start(self) -> None:
        """Training mode for everything, the tower included: Lightning warns of other parts before the next hook.

        Models come from their loaders in evaluation mode, Lightning keeps the mode that it finds, and transformers
        recomputes activations in training mode only.
        """
        for part in self.modules():
            part.training = True

    def on_train_start(self) -> None:
        """The frozen tower back into evaluation mode; see `Backbone.train`."""
        self.train()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of the batch's answer tokens, weighted for its optimizer step, plus what the method adds.

        `step_targets` and `step_batches` of the batch are the answer tokens and the batches of its optimizer step in
        this process (see `TrainLoader`).

        Raises:
            RunError: the loss is not finite.
        """
        self._context.close()
        # left open for the backward pass, which computes checkpointed layers again
        self._context.enter_context(self.method.batch_context(batch))
        pictures = self.pictures(batch)
        embeds = self.backbone.embed(batch["input_ids"], pictures)
        hidden = self.backbone.hidden_states(self.method.transform_inputs(embeds, batch))
        logits, targets = self.backbone.answer_logits(hidden, batch["labels"])
        total = F.cross_entropy(logits.float(), targets, reduction="sum")
        mean = (total / max(len(targets), 1)).detach()
        extra = self.method.extra_loss(self, batch, logits, targets)
        self._count(batch, pictures, mean, extra)
        self.log("train/loss", mean, prog_bar=True)
        if extra is not None:
            self.log("train/extra_loss", extra.detach())
        loss = self._weighted(total, len(targets), extra, batch)
        if torch.distributed.is_initialized() and pictures is None:
            loss = loss + self._no_gradient_of_projector()
        return loss

    def _weighted(self, total: Tensor, targets: int, extra: Tensor | None, batch: dict[str, Any]) -> Tensor:
        """Undo what follows, the division by the accumulation and the mean over ranks, where they weigh wrongly."""
        if self.loss_weighting == "micro_batch":
            loss = total / max(targets, 1)
            return loss if extra is None else loss + extra
        count = torch.tensor(float(batch["step_targets"]), device=total.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
            count = count / torch.distributed.get_world_size()
        divided = self.trainer.accumulate_grad_batches
        loss = total * divided / count.clamp(min=1.0)
        return loss if extra is None else loss + extra * divided / batch["step_batches"]

    def _count(self, batch: dict[str, Any], pictures: Tensor | None, loss: Tensor, extra: Tensor | None) -> None:
        """Add a batch to `learned`."""
        value = loss.item()
        if not math.isfinite(value) or not (extra is None or math.isfinite(extra.item())):
            kind = f"loss {value}" if extra is None else f"loss {value}, added by the method {extra.item()}"
            ids = ", ".join(map(str, batch["ids"]))
            raise RunError(
                f"training diverged: {kind} in step {self.learned.steps + 1} of the task, rows {ids}. {DIVERGED}"
            )
        seen = self.learned
        seen.batches, seen.samples = seen.batches + 1, seen.samples + len(batch["ids"])
        seen.pictures += 0 if pictures is None else len(pictures)
        seen.tokens += batch["input_ids"].numel()
        seen.loss_first = value if seen.loss_first is None else seen.loss_first
        seen.loss_last = value

    def check_finite(self) -> None:
        """Nothing that is not a number is kept.

        Raises:
            RunError: a trainable weight is not finite.
        """
        wrong = [name for name, weight in self.trainable().items() if not torch.isfinite(weight).all()]
        if wrong:
            raise RunError(
                f"training diverged: {len(wrong)} trainable tensors are not finite behind step {self.learned.steps} of "
                f"the task, e.g. {wrong[0]}. {DIVERGED}"
            )

    def _no_gradient_of_projector(self) -> Tensor:
        """Zero that depends on the projector: DDP waits for its gradient also where no row has a picture."""
        parts = [weight.sum() for name, weight in self.trainable().items() if PROJECTOR in name]
        return 0.0 * torch.stack(parts).sum() if parts else torch.zeros((), device=self.device)

    def on_after_backward(self) -> None:
        """Close the batch's context."""
        self._context.close()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Pass on to the method: gradients are summed up, synchronised and unscaled, and not clipped yet."""
        self.method.before_step(self)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, then pass on to the method: before any callback saves, and once per step also when accumulating."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.learned.steps += 1
        self.method.after_step(self, optimizer)

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameter groups with their learning rates: the adapter, and the projector where it is trained."""
        parts: dict[str, list[nn.Parameter]] = {"adapter": [], "projector": []}
        for name, parameter in self.trainable().items():
            parts["projector" if PROJECTOR in name else "adapter"].append(parameter)
        rates = {"adapter": None, "projector": self.projector_lr}
        groups = [{"name": name, "params": params} for name, params in parts.items() if params]
        default = self.optimizer([{"params": [torch.zeros(1, requires_grad=True)]}]).defaults["lr"]
        return [
            {**group, "lr": default if rates[str(group["name"])] is None else rates[str(group["name"])]}
            for group in groups
        ]

    def configure_optimizers(self) -> Any:
        """One group for the adapter, one for the projector with its own rate; the schedule scales both.

        Raises:
            RunError: nothing is trainable, or the number of steps was not set.
        """
        if not self.trainable() or self.total_steps < 1:
            raise RunError(
                f"{len(self.trainable())} trainable tensors and {self.total_steps} steps: there is nothing to train"
            )
        optimizer = self.optimizer(self.optimizer_groups())
        schedule = self.schedule(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # answering

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Answers of a batch: `ids`, `answers`, and `gates`, the router's summed gates by layer (None: no router)."""
        metered = router_load(self, batch["attention_mask"]) if self.has_router else nullcontext()
        with self.method.route(batch), metered as load:

            def unfinished(rows: Tensor) -> None:
                if load is not None:
                    load.mask = rows  # a row that has ended only goes on as padding

            answers = self.backbone.generate(
                batch["input_ids"], batch["attention_mask"], self.pictures(batch), batch["max_new_tokens"], unfinished
            )
        return {"ids": batch["ids"], "answers": answers, "gates": None if load is None else load.totals()}

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep trainable weights, method state, and of every rank its random state and what it has learned from.

        All ranks take part; the frozen model is never written.
        """
        trainable = self.trainable()
        checkpoint["state_dict"] = {
            name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trainable
        }
        checkpoint["method_state"] = self.method.state_dict()
        checkpoint["ranks"] = processes.gather({"random_state": random_state(), "learned": asdict(self.learned)})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint holds exactly the trainable weights, of as many ranks as there are.

        Raises:
            RunError: it does not.
        """
        wrong = set(self.trainable()).symmetric_difference(checkpoint["state_dict"])
        if wrong:
            raise RunError(f"checkpoint does not fit the model: {len(wrong)} names differ, e.g. {sorted(wrong)[0]}")
        ranks = checkpoint["ranks"]
        if len(ranks) != processes.world_size():
            raise RunError(
                f"the task was begun by {len(ranks)} processes and cannot be continued by {processes.world_size()}: "
                f"each would go on with other rows. Start {len(ranks)}, or remove last.ckpt from the task's folder to "
                "learn the task from its beginning"
            )
        self.method.load_state_dict(checkpoint["method_state"])
        mine = ranks[processes.rank()]
        self.learned = Learned(**mine["learned"])
        self._restored_random_state = mine["random_state"]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Continue a killed task with the random numbers it would have drawn."""
        state = self.__dict__.pop("_restored_random_state", None)
        if state is not None:
            restore_random_state(state)


def peak_memory(device: torch.device) -> int:
    """Highest memory in bytes so far: of the device, or of the process (resident) on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
