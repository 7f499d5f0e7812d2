"""`ContinualMLLM`: backbone, adapter and method as one LightningModule."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from torch.optim import Optimizer

from coin_lightning import processes
from coin_lightning.adapters.moelora import MoELoraLinear, router_load, slot_weights
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Method
from coin_lightning.methods.step import Inputs, StepOutput
from coin_lightning.objectives.cross_entropy import CrossEntropy
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
        method: decides structure and routing of the adapter.
        optimizer: called with parameter groups.
        schedule: called with the optimizer and `total_steps`.
        projector: `carried` from task to task and trained, `reinitialised` (trained, but every task after the first
            starts from random weights, as the reference code does; `coin_reference.md` section 2) or `frozen`.
        projector_lr: learning rate of the projector; null means the optimizer's own.
        loss_weighting: `exact` counts every answer token of an optimizer step alike, however the step is cut into
            batches and ranks; `micro_batch` is the mean over batches of the means over their tokens, divided by the
            accumulation also where the last step of an epoch has fewer batches, as in the published code.
        plugins: algorithms beside the method, by name; their hooks follow its own, in this order.
        objective: token losses `[n]` from logits and targets.
        tasks: names of what will be learned, in order.

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
        plugins: Mapping[str, Method] | None = None,
        objective: Callable[[Tensor, Tensor], Tensor] | None = None,
        tasks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        choices = {"projector": (projector, PROJECTOR_MODES), "loss_weighting": (loss_weighting, LOSS_WEIGHTINGS)}
        for key, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"protocol.{key}={value!r} is unknown; use one of {', '.join(known)}")
        self.backbone, self.method = backbone, method
        self.plugins = nn.ModuleDict(plugins or {})
        self.objective = objective or CrossEntropy()
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
        for each in self.methods.values():
            adapter = each.adapter(adapter, tasks)
        # in a tuple, so that the wrapped model is not registered a second time
        self._peft: tuple[PeftModel] = (put_adapter(backbone.model, backbone.core.language_model, adapter),)
        self.restore(0)
        for parameter in self.trainable().values():
            parameter.data = parameter.data.float()
        layers = [layer for layer in self.peft.modules() if isinstance(layer, MoELoraLinear)]
        self.has_router = any(len(layer.moelora_router) for layer in layers)

    @property
    def peft(self) -> PeftModel:
        """The backbone's model as PEFT sees it: saves and loads the adapter."""
        return self._peft[0]

    @property
    def methods(self) -> dict[str, Method]:
        """The method and the plugins, by the names of their state, in the order of their hooks."""
        plugins: Any = self.plugins.items()
        return {"method": self.method, **{f"plugins.{name}": plugin for name, plugin in plugins}}

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def learning(self) -> dict[str, int]:
        """How many numbers of each trainable tensor learn now: of a bank of slots those of the frozen ones do not."""
        trainable = self.trainable()
        layers = [layer for layer in self.peft.modules() if isinstance(layer, MoELoraLinear)]
        frozen = {id(tensor): count for layer in layers for tensor, count in layer.frozen_numbers()}
        return {name: tensor.numel() - frozen.get(id(tensor), 0) for name, tensor in trainable.items()}

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

    @torch.no_grad()
    def frozen_features(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What no task changes, for keys and prototypes: of each row the mean tower feature of its images
        `[b, width]`, zero without one, and the mean embedding of its text without the answers `[b, h]`; both float32
        of norm 1. The same in training and in answering, up to the markers at the end of a conversation.
        """
        ids = batch["input_ids"]
        image = ids == self.backbone.image_token_id
        text = ~image & (ids != self.backbone.end_id)
        if "labels" in batch:
            text &= batch["labels"] == IGNORE
        images = ids.new_zeros((len(ids), self.backbone.feature_shape[1]), dtype=torch.float32)
        pictures = self.pictures(batch)
        if pictures is not None and len(pictures):
            rows = image.nonzero()[:: self.backbone.tokens_per_image, 0]
            images.index_add_(0, rows, pictures.float().mean(dim=1).to(images.device))
        table = self.backbone.model.get_input_embeddings()
        texts = (table(ids).float() * text.unsqueeze(-1)).sum(dim=1)
        return F.normalize(images, dim=1), F.normalize(texts, dim=1)

    def forward(self, batch: dict[str, Any]) -> StepOutput:
        """What a training batch gives: for training itself, teachers and Fisher passes.

        The routing of the batch stays open until the next forward pass or the end of the backward pass, which computes
        checkpointed layers again.
        """
        self._context.close()
        self._context.enter_context(self._routed(batch))
        inputs = self._inputs(batch, batch["labels"], None)
        assert inputs.labels is not None
        hidden = self.backbone.hidden_states(inputs.embeds)
        logits, targets = self.backbone.answer_logits(hidden, inputs.labels)
        samples = (inputs.labels[:, 1:] != IGNORE).nonzero()[:, 0]
        return StepOutput(self.objective(logits, targets), logits, targets, samples)

    def _inputs(self, batch: dict[str, Any], labels: Tensor | None, mask: Tensor | None) -> Inputs:
        inputs = Inputs(self.backbone.embed(batch["input_ids"], self.pictures(batch)), labels, mask)
        for method in self.methods.values():
            inputs = method.inputs(inputs, batch)
        return inputs

    @contextmanager
    def _routed(self, batch: dict[str, Any]) -> Iterator[None]:
        """Within it the adapter's slots are mixed as the method says, if it does."""
        weights = self.method.slot_weights(batch)
        with nullcontext() if weights is None else slot_weights(self.peft, weights):
            yield

    def extra_loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """What the method and the plugins add together; None: nothing."""
        parts = [part for method in self.methods.values() if (part := method.loss(step, batch)) is not None]
        return torch.stack(parts).sum() if parts else None

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
        step = self(batch)
        extra = self.extra_loss(step, batch)
        total = step.losses.sum()
        mean = step.loss.detach()
        self._count(batch, mean, extra)
        self.log("train/loss", mean, prog_bar=True)
        if extra is not None:
            self.log("train/extra_loss", extra.detach())
        loss = self._weighted(total, len(step.targets), extra, batch)
        if torch.distributed.is_initialized() and not _pictures(batch):
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

    def _count(self, batch: dict[str, Any], loss: Tensor, extra: Tensor | None) -> None:
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
        seen.pictures += _pictures(batch)
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
        """Pass on to the methods: gradients are summed up, synchronised and unscaled, and not clipped yet."""
        for method in self.methods.values():
            method.before_step(self)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, then pass on to the methods: before any callback saves, and once per step also when accumulating."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.learned.steps += 1
        for method in self.methods.values():
            method.after_step(self)

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameter groups with their learning rates: adapter, projector, and what methods have of their own."""
        parts: dict[str, list[nn.Parameter]] = {"adapter": [], "projector": [], "method": []}
        for name, parameter in self.trainable().items():
            parts[part_of(name)].append(parameter)
        rates = {"adapter": None, "projector": self.projector_lr, "method": None}
        groups = [{"name": name, "params": params} for name, params in parts.items() if params]
        default = self.optimizer_default("lr")
        return [
            {**group, "lr": default if rates[str(group["name"])] is None else rates[str(group["name"])]}
            for group in groups
        ]

    def optimizer_default(self, key: str) -> Any:
        """What the configured optimizer does where a group says nothing; None: it has no such setting."""
        return self.optimizer([{"params": [torch.zeros(1, requires_grad=True)]}]).defaults.get(key)

    def configure_optimizers(self) -> Any:
        """A group for each part that learns, the projector's with its own rate; the schedule scales them all.

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
        with self._routed(batch), metered as load:

            def unfinished(rows: Tensor) -> None:
                if load is not None:
                    load.mask = rows  # a row that has ended only goes on as padding

            inputs = self._inputs(batch, None, batch["attention_mask"])
            assert inputs.mask is not None
            answers = self.backbone.answer(inputs.embeds, inputs.mask, batch["max_new_tokens"], unfinished)
        return {"ids": batch["ids"], "answers": answers, "gates": None if load is None else load.totals()}

    # checkpoints

    def restore(self, position: int) -> None:
        """The structure that methods give the module behind `position` experiences; see `Method.restore`."""
        for method in self.methods.values():
            method.restore(self, position)

    def method_state(self) -> dict[str, Tensor]:
        """Parameters and buffers of the method and the plugins, by name, in their own dtypes."""
        methods = self.methods.items()
        return {f"{part}.{key}": value for part, method in methods for key, value in method.state_dict().items()}

    def load_method_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Undo of `method_state`, into the structure that `restore` has made.

        Args:
            state: tensors by name.
            where: they come from, for the message.

        Raises:
            RunError: there are other tensors, or tensors of other shapes, than the methods have.
        """
        own = self.method_state()
        wrong = sorted(own.keys() ^ state.keys()) or [
            name for name, value in own.items() if value.shape != state[name].shape
        ]
        if wrong:
            raise RunError(
                f"{where}: its state of the method and the plugins does not fit those of the config, e.g. {wrong[0]}; "
                "give the command that the run was started with"
            )
        for name, value in own.items():
            value.copy_(state[name])

    @property
    def memory(self) -> dict[str, Any]:
        """What the method and the plugins remember beside tensors, JSON values by their names."""
        return {name: method.memory for name, method in self.methods.items()}

    @memory.setter
    def memory(self, memory: Mapping[str, Any]) -> None:
        for name, method in self.methods.items():
            method.memory = dict(memory.get(name, {}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep trainable weights, method state, and of every rank its random state and what it has learned from.

        All ranks take part; the frozen model is never written.
        """
        trainable = self.trainable()
        checkpoint["state_dict"] = {
            name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trainable
        }
        checkpoint["method_state"] = self.method_state()
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
        self.load_method_state(checkpoint["method_state"], "the checkpoint")
        mine = ranks[processes.rank()]
        self.learned = Learned(**mine["learned"])
        self._restored_random_state = mine["random_state"]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Continue a killed task with the random numbers it would have drawn."""
        state = self.__dict__.pop("_restored_random_state", None)
        if state is not None:
            restore_random_state(state)


def part_of(name: str) -> str:
    """`projector`, `method` (what methods and plugins have of their own) or `adapter`: where a trainable tensor is."""
    return "projector" if PROJECTOR in name else "adapter" if name.startswith("backbone.") else "method"


def _pictures(batch: Mapping[str, Any]) -> int:
    """Pictures of a batch."""
    return next((len(batch[name]) for name in ("features", "pixels") if name in batch), 0)


def peak_memory(device: torch.device) -> int:
    """Highest memory in bytes so far: of the device, or of the process (resident) on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
