"""`ContinualMLLM`: backbone, adapter and method as one LightningModule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import accumulate, chain
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from coin_lightning import processes
from coin_lightning.adapters.routing import slot_layers, slot_weights
from coin_lightning.adapters.shared_input import share_inputs
from coin_lightning.adapters.targets import adapter_weights, put_adapter
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Method
from coin_lightning.methods.step import Inputs, StepOutput
from coin_lightning.module_state import ModuleState
from coin_lightning.objectives.cross_entropy import CrossEntropy
from coin_lightning.sharded_strategy import in_step
from coin_lightning.sharding import clip_norm, shard
from coin_lightning.task_progress import TaskProgress, images_in

PROJECTOR = "modules_to_save"
"""In the name of every trainable tensor of a projector: where PEFT keeps its trained copy."""
PROJECTOR_MODES = ("carried", "reinitialised", "frozen")
LOSS_WEIGHTINGS = ("exact", "micro_batch")


class ContinualMLLM(ModuleState):
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
        loss_weighting: `exact` counts every answer token of an optimizer step alike, and in what methods add every
            sample, however the step is cut into batches and ranks; `micro_batch` is the mean over batches of the means
            over their tokens, divided by the accumulation also where the last step of an epoch has fewer batches, as in
            the published code.
        plugins: algorithms beside the method, by name; their hooks follow its own, in this order.
        objective: token losses `[n]` from logits and targets.
        tasks: names of what will be learned, in order.

    Attributes:
        progress: what the present task has seen so far.
        watchers: called while answering, before each pass through the language model, with which of the positions that
            enter it are real ones: `[b, l]`, then `[b, 1]` for each further token.
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
        self.progress = TaskProgress()
        self._context = ExitStack()
        # a task may have fewer answer batches than there are ranks, or none left after a kill
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.strict_loading = False  # checkpoints hold trainable weights only; their key set is checked below
        if projector != "frozen":
            adapter.modules_to_save = list(backbone.family.projectors)  # type: ignore[attr-defined]
        for each in self.methods.values():
            adapter = each.adapter(adapter, tasks)
        # in a tuple, so that the wrapped model is not registered a second time
        self._peft: tuple[PeftModel] = (put_adapter(backbone.model, backbone.language_model, adapter),)
        if backbone.fast:
            share_inputs(self.peft)
        if projector == "reinitialised":
            self._learning_layers()
        self.restore(0)
        for parameter in self.trainable().values():
            parameter.data = parameter.data.float()
        self.watchers: list[Callable[[Tensor], None]] = []

    @property
    def peft(self) -> PeftModel:
        """The backbone's model as PEFT sees it: saves and loads the adapter."""
        return self._peft[0]

    def learning(self) -> dict[str, int]:
        """How many numbers of each trainable tensor learn now: of a bank of slots those of the frozen ones do not."""
        trainable = self.trainable()
        layers = slot_layers(self.peft).values()
        frozen = {id(tensor): count for layer in layers for tensor, count in layer.frozen_numbers()}
        return {name: tensor.numel() - frozen.get(id(tensor), 0) for name, tensor in trainable.items()}

    def reset_projector(self) -> None:
        """Draw new weights of the projector that learns from the global random state, as `nn.Linear` does.

        The frozen one, which PEFT keeps beside it for `disable_adapter`, stays. Numbers are from the CPU's generator:
        a run that goes on after a kill may find the model on another device.
        """
        for layer in self._learning_layers():
            own = [(weight, weight.device) for weight in layer.parameters(recurse=False)]
            for weight, _ in own:
                weight.data = weight.data.cpu()
            layer.reset_parameters()
            for weight, device in own:
                weight.data = weight.data.to(device)

    def _learning_layers(self) -> list[Any]:
        """Layers of the projector that learn.

        Raises:
            ConfigError: one of them does not say how its weights are drawn.
        """
        layers = chain.from_iterable(part.modules() for part in self.backbone.projectors)
        found: list[Any] = [
            layer for layer in layers if any(own.requires_grad for own in layer.parameters(recurse=False))
        ]
        for layer in found:
            if not hasattr(layer, "reset_parameters"):
                raise ConfigError(
                    f"protocol.projector=reinitialised: {self.backbone.name} has a {type(layer).__name__} in its "
                    "projector, of which nobody says how it is drawn; use carried or frozen"
                )
        return found

    # training

    def image_features(self, batch: dict[str, Any]) -> Tensor | None:
        """Tower features of the batch's images, one behind the other `[sum of their counts, width]`: cached ones, or
        computed now from pixels; None without an image."""
        if batch.get("pixels"):  # a part of a batch may have none
            return torch.cat(self.backbone.encode_images(batch["pixels"]))
        return batch.get("features")

    @torch.no_grad()
    def frozen_features(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What no task changes, for keys and prototypes: of each sample the mean tower feature of its images
        `[b, width]`, zero without one, and the mean embedding of its text without the answers, nor markers that are
        learned, `[b, h]`; both float32 of norm 1. The same in training and in answering, up to the markers at the end
        of a conversation.
        """
        ids = batch["input_ids"]
        image = ids == self.backbone.image_token_id
        text = ~image & (ids != self.backbone.end_id) & ~self.backbone.learned_markers(ids)
        if "labels" in batch:
            text &= batch["labels"] == IGNORE
        family, features = self.backbone.family, self.image_features(batch)
        images = ids.new_zeros((len(ids), family.width), dtype=torch.float32)
        if features is not None:
            owners = [at for at, grids in enumerate(batch["grids"]) for _ in grids]
            parts = self.backbone.per_image(features, [*chain(*batch["grids"])])
            means = torch.stack([part.float().mean(dim=0) for part in parts])
            images.index_add_(0, torch.tensor(owners, device=images.device), means.to(images.device))
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
        hidden = self.backbone.hidden_states(inputs.ids, self._images(batch), inputs.layout, inputs.prefix)
        logits, targets = self.backbone.answer_logits(hidden, inputs.labels)
        samples = (inputs.labels[:, 1:] != IGNORE).nonzero()[:, 0]
        return StepOutput(self.objective(logits, targets), logits, targets, samples)

    def _inputs(self, batch: dict[str, Any], labels: Tensor | None, mask: Tensor | None) -> Inputs:
        """What enters the model beside images, as the methods change it."""
        if batch["input_ids"].device.type == "cpu":  # elsewhere it would wait; what made the batch has counted, too
            self.backbone.check_counts(batch["input_ids"], batch["grids"])
        inputs = Inputs(batch["input_ids"], self.backbone.end_id, labels, mask, batch["layout"])
        for method in self.methods.values():
            inputs = method.inputs(inputs, batch)
        return inputs

    def _images(self, batch: dict[str, Any]) -> Any:
        """The projected images of a batch."""
        return self.backbone.project(self.image_features(batch), [*chain(*batch["grids"])])

    def _of_some(self, batch: dict[str, Any], samples: Sequence[int]) -> dict[str, Any]:
        """What a batch has of the images of some of its samples."""
        grids: list[Any] = batch["grids"]
        starts = [0, *accumulate(map(len, grids))]
        images = [image for sample in samples for image in range(starts[sample], starts[sample + 1])]
        found: dict[str, Any] = {"grids": [grids[sample] for sample in samples]}
        if "pixels" in batch:
            found["pixels"] = [batch["pixels"][image] for image in images]
        elif "features" in batch and images:
            parts = self.backbone.per_image(batch["features"], [*chain(*grids)])
            found["features"] = torch.cat([parts[image] for image in images])
        return found

    @contextmanager
    def _routed(self, batch: dict[str, Any]) -> Iterator[bool]:
        """Within it the adapter's slots are mixed as the method says, if it does; gives whether it does not."""
        weights = self.method.slot_weights(batch)
        with nullcontext() if weights is None else slot_weights(self.peft, weights):
            yield weights is None

    def extra_loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """What the method and the plugins add together; None: nothing."""
        parts = {name: method.loss(step, batch) for name, method in self.methods.items()}
        for name, part in parts.items():
            if part is not None and not (isinstance(part, Tensor) and part.ndim == 0):
                raise RunError(f"{name}: `loss` returned {part!r:.80}; it must be a tensor without dimensions, or None")
        found = [part for part in parts.values() if part is not None]
        return torch.stack(found).sum() if found else None

    def configure_model(self) -> None:
        """Lay the frozen model out over the devices, if the trainer's strategy has a mesh of them; once."""
        self.backbone.in_step = in_step(self.trainer.strategy)
        if self.device_mesh is None:
            return
        cut = getattr(self.trainer.strategy, "trainable", "whole") == "sharded"
        kept = [weight for weight in adapter_weights(self.peft) if not (cut and weight.requires_grad)]
        offload: bool = getattr(self.trainer.strategy, "offload", False)
        shard(self.backbone.language_model, self.device_mesh["data_parallel"], kept, offload)

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

        `samples`, `step_targets` and `step_samples` of the batch are its own samples, and the answer tokens and the
        samples of its optimizer step in this process (see `TrainLoader`).

        Raises:
            RunError: the loss is not finite.
        """
        step = self(batch)
        extra = self.extra_loss(step, batch)
        total = step.losses.sum()
        mean = step.loss.detach()
        self.progress.count(batch, mean, extra)
        self.log("train/loss", mean, prog_bar=True)
        if extra is not None:
            self.log("train/extra_loss", extra.detach())
        loss = self._weighted(total, len(step.targets), extra, batch)
        return loss if images_in(batch) else loss + self._no_gradient_of_projector()

    def _weighted(self, total: Tensor, targets: int, extra: Tensor | None, batch: dict[str, Any]) -> Tensor:
        """Undo what follows, the division by the accumulation and the mean over ranks, where they weigh wrongly."""
        own = batch["samples"]
        if self.loss_weighting == "micro_batch":
            (learning,) = self._mean_over_ranks(float(own > 0))
            loss = total / max(targets, 1) if extra is None else total / max(targets, 1) + extra
            return loss * float(own > 0) / learning
        divided = self.trainer.accumulate_grad_batches
        total = total * float(own > 0)
        tokens, samples = self._mean_over_ranks(float(batch["step_targets"]), float(batch["step_samples"]))
        loss = total * divided / tokens.clamp(min=1.0)
        return loss if extra is None else loss + extra * (divided * own / samples)

    def _mean_over_ranks(self, *values: float) -> Tensor:
        means = torch.tensor(values, device=self.device)
        if processes.connected():
            torch.distributed.all_reduce(means)
            means /= torch.distributed.get_world_size()
        return means

    def _no_gradient_of_projector(self) -> Tensor:
        """Zero that depends on the projector, for a batch without images.

        DDP waits for its gradient there, too. With none in a whole step AdamW would leave the projector out in one
        process, but move it by its momentum with several; LLaVA's own code gives zeros and moves it.
        """
        parts = [weight.sum() for name, weight in self.trainable().items() if PROJECTOR in name]
        return 0.0 * torch.stack(parts).sum() if parts else torch.zeros((), device=self.device)

    def on_after_backward(self) -> None:
        """Close the batch's context."""
        self._context.close()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Pass on to the methods: gradients are summed up, synchronised and unscaled, and not clipped yet."""
        for method in self.methods.values():
            method.before_step(self)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """As Lightning's, also where some gradients lie in pieces and others are whole."""
        cut = any(isinstance(weight, DTensor) for weight in self.trainable().values())
        if not cut or not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            clip_norm(self.trainable().values(), gradient_clip_val)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, then pass on to the methods: before any callback saves, and once per step also when accumulating.

        In float16 gradients may be beyond its range; then the loss scaler drops the step and lowers its scale.
        """
        scale = self._loss_scale()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.progress.steps += 1
        if self._loss_scale() < scale:
            self.progress.dropped += 1
            return
        for method in self.methods.values():
            method.after_step(self)

    def _loss_scale(self) -> float:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return 1.0 if scaler is None else float(scaler.get_scale())

    def weights_of(self, part: str) -> dict[str, nn.Parameter]:
        """Trainable weights of `adapter`, `projector` or `method`, by name."""
        return {name: weight for name, weight in self.trainable().items() if part_of(name) == part}

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameter groups with their learning rates: adapter, projector, and what methods have of their own."""
        rates = {"adapter": None, "projector": self.projector_lr, "method": None}
        parts = {name: list(self.weights_of(name).values()) for name in rates}
        groups: list[dict[str, Any]] = [{"name": name, "params": params} for name, params in parts.items() if params]
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
        optimizer: Any = self.optimizer(self.optimizer_groups())
        # a fused one could unscale gradients by itself: too late for methods and clipping, which Lightning then refuses
        optimizer._step_supports_amp_scaling = False
        for group in optimizer.param_groups:
            if group.get("fused") and any(isinstance(weight, DTensor) for weight in group["params"]):
                group["fused"] = None  # PyTorch has fused steps of tensors in pieces for some optimizers only
        schedule = self.schedule(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # answering

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Answers of a batch: `ids` and `answers`; none of a spare one, of which the watchers see no real token.

        Samples that show the same images share one pass over them, unless the methods treat each sample in its own way.
        """
        spare = batch.get("spare", False)

        def watch(real: Tensor) -> None:
            for watcher in self.watchers:
                watcher(torch.zeros_like(real) if spare else real)

        with self._routed(batch) as alike:
            inputs = self._inputs(batch, None, batch["attention_mask"])
            assert inputs.mask is not None
            shared = None
            if alike and inputs.prefix is None and "same_images" in batch:
                shared = self.backbone.beginnings(inputs.ids, inputs.mask, inputs.layout, batch["same_images"])
            answers = self.backbone.answer(
                inputs.ids,
                inputs.mask,
                batch["max_new_tokens"],
                lambda samples: self._images(self._of_some(batch, samples)),
                inputs.layout,
                inputs.prefix,
                watch,
                shared,
                leaves=alike,
            )
        return {"ids": [], "answers": []} if spare else {"ids": batch["ids"], "answers": answers}


def part_of(name: str) -> str:
    """`projector`, `method` (what methods and plugins have of their own) or `adapter`: where a trainable tensor is."""
    return "projector" if PROJECTOR in name else "adapter" if name.startswith("backbone.") else "method"
