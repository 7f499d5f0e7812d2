"""`ContinualMLLM`: backbone, adapter and method as one LightningModule."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from torch.optim import Optimizer

from coin_lightning.adapters.moelora import MoELoraLinear, router_load
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones.base import Backbone
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Method
from coin_lightning.seeding import random_state, restore_random_state

PROJECTOR = "multi_modal_projector"
PROJECTOR_MODES = ("carried", "reinitialised", "frozen")


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
    ) -> None:
        super().__init__()
        if projector not in PROJECTOR_MODES:
            raise ConfigError(f"protocol.projector={projector!r} is unknown; use one of {', '.join(PROJECTOR_MODES)}")
        self.backbone, self.method = backbone, method
        self.optimizer, self.schedule = optimizer, schedule
        self.projector, self.projector_lr = projector, projector_lr
        self.total_steps = 0
        self.first_step = 0
        self.tokens = 0
        self.losses: list[Tensor] = []
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
        """Draw new projector weights from the global random state, as `nn.Linear` does."""
        for layer in self.backbone.core.multi_modal_projector.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    # training

    def pictures(self, batch: dict[str, Any]) -> Tensor | None:
        """Tower features of the batch's pictures `[n, tokens, width]`: cached ones, or computed now from pixels."""
        if "pixels" in batch:
            return self.backbone.encode_pictures(batch["pixels"])
        return batch.get("features")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Mean cross-entropy of the answer tokens, plus what the method adds."""
        self._context.close()
        # left open for the backward pass, which computes checkpointed layers again
        self._context.enter_context(self.method.batch_context(batch))
        embeds = self.backbone.embed(batch["input_ids"], self.pictures(batch))
        hidden = self.backbone.hidden_states(self.method.transform_inputs(embeds, batch))
        logits, targets = self.backbone.answer_logits(hidden, batch["labels"])
        loss = F.cross_entropy(logits.float(), targets)
        if torch.distributed.is_initialized() and not {"pixels", "features"}.intersection(batch):
            loss = loss + self._no_gradient_of_projector()
        extra = self.method.extra_loss(self, batch, logits, targets)
        self.tokens += batch["input_ids"].numel()
        self.losses.append(loss.detach())
        self.log("train/loss", loss.detach(), prog_bar=True)
        if extra is None:
            return loss
        self.log("train/extra_loss", extra.detach())
        return loss + extra

    def _no_gradient_of_projector(self) -> Tensor:
        """Zero that depends on the projector: DDP waits for its gradient also where no row has a picture."""
        parts = [weight.sum() for name, weight in self.trainable().items() if PROJECTOR in name]
        return 0.0 * torch.stack(parts).sum() if parts else torch.zeros((), device=self.device)

    def on_after_backward(self) -> None:
        """Close the batch's context and pass on to the method."""
        self._context.close()
        self.method.after_backward(self)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, then pass on to the method: before any callback saves, and once per step also when accumulating."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
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
        """Keep trainable weights, method state and random state; the frozen model is never written."""
        trainable = self.trainable()
        checkpoint["state_dict"] = {
            name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trainable
        }
        checkpoint["method_state"] = self.method.state_dict()
        checkpoint["random_state"] = random_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint holds exactly the trainable weights.

        Raises:
            RunError: it does not.
        """
        wrong = set(self.trainable()).symmetric_difference(checkpoint["state_dict"])
        if wrong:
            raise RunError(f"checkpoint does not fit the model: {len(wrong)} names differ, e.g. {sorted(wrong)[0]}")
        self.method.load_state_dict(checkpoint["method_state"])
        self._restored_random_state = checkpoint["random_state"]

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
