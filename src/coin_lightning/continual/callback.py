"""`ContinualLoop`: the callback that knows where a run stands, saves it after each task, and evaluates the suite.

Position lives on disk: an experience is done when its `scores.json` exists. The callback never fits; the driver in
`loop.py` asks it for the next experience and calls `Trainer.fit`. Why a fresh trainer per task: what one remembers of
a task (finished epochs, total steps, best scores) silently spoils the next.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch

from coin_lightning import processes
from coin_lightning.adapters.build import gathered, load_adapter, read_state, save_adapter, train_again
from coin_lightning.continual.context import ExperienceContext
from coin_lightning.continual.experience_scores import keep_scores
from coin_lightning.continual.giving_way import LAST
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.out_of_memory import answering
from coin_lightning.continual.plan import Rates, check_optimizer, check_step, optimizer_steps, planned_rates
from coin_lightning.continual.protocol import Protocol
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.continual.scenario import Experience, Scenario
from coin_lightning.continual.shared_answers import ANSWERING, SharedAnswers
from coin_lightning.continual.task_checks import check_learned, check_moved, moved
from coin_lightning.errors import RunError
from coin_lightning.evaluation.judges.judging import forget
from coin_lightning.evaluation.router_load import RouterMeter, mean_load
from coin_lightning.evaluation.side_by_side import score_all
from coin_lightning.evaluation.suite import AnswerWriter, Suite
from coin_lightning.manifest import MARK, check, missing, record, write_known_json
from coin_lightning.methods.base import overriding
from coin_lightning.metrics.score_matrix import ScoreMatrix
from coin_lightning.module import ContinualMLLM
from coin_lightning.run_files import read_json
from coin_lightning.seeding import experience_seed, seed_everything, seed_rank
from coin_lightning.sharded_strategy import in_step
from coin_lightning.sharding import in_pieces, remembered, whole
from coin_lightning.task_progress import TaskProgress
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.weight_files import write_safetensors
from coin_lightning.whole_files import write_json
from coin_lightning.zero_strategy import ZeroStrategy

STATE = "method_state.safetensors"
MEMORY = "memory.json"
FROM_ITS_BEGINNING = "remove it to learn the task from its beginning"


class ContinualLoop(L.Callback):
    """Moves through a scenario, checkpoints after each task and runs the full evaluation suite.

    Args:
        scenario: tasks in order.
        suite: cells and scorers.
        run: the run folder.
        seed: of the run.
        facts: fields of `matrix.json` that only the caller knows.
        on_row: called with the matrix and the row after each evaluation.
        judge: grades the answers of each experience behind its scores.
        protocol: what it asks of the batches is checked against the trainer.
        interruption: signals that ask the process to end.
        shared: zero-shot answers that other runs have given.

    Attributes:
        saves_mid_task: whether something among the callbacks keeps a task that is asked to end in its middle.
    """

    def __init__(
        self,
        scenario: Scenario,
        suite: Suite,
        run: RunDir,
        seed: int,
        facts: Mapping[str, Any] | None = None,
        on_row: Callable[[ScoreMatrix, int], None] = lambda matrix, row: None,
        judge: RunJudge | None = None,
        protocol: Protocol | None = None,
        interruption: Interruption | None = None,
        shared: SharedAnswers | None = None,
    ) -> None:
        self.interruption, self.saves_mid_task = interruption or Interruption(), False
        self.scenario, self.suite, self.run, self.seed = scenario, suite, run, seed
        self.facts, self.on_row = dict(facts or {}), on_row
        self.judge, self.protocol = judge or RunJudge(run, None), protocol
        self.shared = shared or SharedAnswers(None)
        self.on_reuse: Callable[[list[str]], None] = lambda tasks: None
        self.experience: Experience | None = None
        self._loaded = 0
        self._rates: Rates = {}
        self._checked = False
        self._before: dict[str, torch.Tensor] = {}
        self._still: set[str] = set()
        self._moving: set[str] = set()
        self._dropped = 0
        self._moved: set[str] = set()
        self._started = 0.0
        self._earlier = 0.0

    # position

    def next_experience(self, module: ContinualMLLM) -> Experience | None:
        """The first experience without scores, with the weights it starts from put into the module; None at the end.

        The first process decides, all of them follow.

        Raises:
            RunError: an experience is missing before one that is there.
        """
        found = processes.decide(self._position)
        if found is None:
            return None
        position, resumes, trained = found
        folder, task = self.run.folder(position), self.scenario.train_tasks.get(position)
        experience = Experience(position, task, folder, folder / LAST if resumes else None, trained)
        before = self.run.previous(position)
        self._load_weights(module, position if trained else before)
        module.first_step = self.steps_until(before)
        self.experience = experience
        return experience

    def _position(self) -> tuple[int, bool, bool] | None:
        """Index of the next experience, whether it goes on in its middle, and whether it is trained already."""
        done = self.run.scores()
        position = next((position for position in self.run.positions if position not in done), None)
        if position is None:
            return None
        folder = self.run.folder(position)
        if (folder / LAST).is_file():
            check(folder / LAST, None, FROM_ITS_BEGINNING)
        trained = (folder / "train.json").exists()
        later = [self.run.folder(other) for other in self.run.positions if other > position]
        left = [str(other) for other in later if (other / "train.json").exists() or (other / LAST).exists()]
        if left and not trained and position:
            raise RunError(
                f"{folder}: is not there or not finished, but later tasks are, which started from its weights; restore "
                f"it, or remove {', '.join(left)} to learn them again after it"
            )
        return position, (folder / LAST).exists(), trained

    def revisit(self, module: ContinualMLLM, position: int) -> Experience:
        """A finished experience, with the weights it ended with put into the module; go through them in order.

        Raises:
            RunError: zero-shot is asked for when the module has learned something.
        """
        if position == 0 and self._loaded:
            raise RunError("zero-shot has no weights to go back to; evaluate it before the others")
        self._load_weights(module, position)
        task, folder = self.scenario.train_tasks.get(position), self.run.folder(position)
        self.experience = Experience(position, task, folder, trained=True)
        return self.experience

    def steps_until(self, position: int) -> int:
        """Optimizer steps of the sequence up to the end of experience `position`, as its `train.json` files tell."""
        trained = [other for other in self.run.positions if 0 < other <= position]
        return sum(read_json(self.run.folder(done) / "train.json")["steps"] for done in trained)

    def catch_up(self) -> None:
        """Give what a run killed right behind its scores still owes: judgements, in the order in which they would have
        come, and the summary. Only the main process does it; of several, judging is left to the end.
        """
        done = self.run.scores()
        if not done or not processes.is_first():
            return
        judged = processes.world_size() == 1 and self.judge.rest()
        if judged or not self.run.summary_is_current():
            self.on_row(self.run.write_summary(self.facts), max(done))

    def finish(self) -> None:
        """Judge what is not judged yet, and write that down. Only the main process does it."""
        if processes.is_first() and self.judge.rest():
            self.on_row(self.run.write_summary(self.facts), max(self.run.scores()))

    def _load_weights(self, module: ContinualMLLM, position: int) -> None:
        """Weights after experience `position`, unless the module holds them already."""
        if position < 1 or position == self._loaded:
            return
        folder = self.run.folder(position)
        _check_weights(folder)
        module.restore(position)
        load_adapter(module.peft, folder / "adapter")
        state, memory = folder / STATE, folder / MEMORY
        module.load_method_state(read_state(state) if state.exists() else {}, str(state))
        module.memory = read_json(memory) if memory.exists() else {}
        self._loaded = position

    # training

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Structure changes belong here: before the optimizer is made and a checkpoint is restored.

        What draws random numbers is seeded right before it draws, so that nothing else can move them.
        """
        if stage != "fit":
            return
        experience, module = self._current(), _module(pl_module)
        assert experience.task is not None
        module.progress, self._earlier, self._moved = TaskProgress(), 0.0, set()
        _onto_device(module, trainer.strategy)
        seed_everything(experience_seed(self.seed, experience.position))
        if module.projector == "reinitialised" and self.run.previous(experience.position) > 0:
            module.reset_projector()
        context = self._context(trainer, module)
        for method in module.methods.values():
            method.before_experience(context)
        samples = context.samples()
        for method in module.methods.values():
            samples = method.samples(context, samples)
        experience.task.learn_from(samples)
        self._check_batch(trainer, experience.task)
        module.total_steps = optimizer_steps(experience.task, trainer.accumulate_grad_batches, trainer.world_size)
        self._rates, self._checked = planned_rates(module, module.total_steps), False

    def _check_batch(self, trainer: L.Trainer, task: InstructionTask) -> None:
        wanted = self.protocol.global_batch_of(task.name) if self.protocol else None
        real = task.batch_size * trainer.accumulate_grad_batches * trainer.world_size
        if wanted not in (None, real):
            raise RunError(
                f"{task.name}: a step learns from {task.batch_size} x {trainer.accumulate_grad_batches} x "
                f"{trainer.world_size} = {real} samples, but protocol.global_batch={wanted}; on several devices start "
                "one process per device with torchrun"
            )

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check that the optimizer is the configured one, and that this step has the planned learning rates.

        Raises:
            RunError: a weight, a base rate or a rate of the schedule is not what the config says.
        """
        module = _module(pl_module)
        if not self._checked:
            check_optimizer(module, trainer.optimizers, flat=isinstance(trainer.strategy, ZeroStrategy))
            self._checked = True
        check_step(self._current().name, trainer.global_step, optimizer, self._rates)
        if self._still:
            grads = {name: weight.grad for name, weight in module.trainable().items() if name in self._still}
            self._moving = {name for name, grad in grads.items() if grad is not None and whole(grad).any()}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the weights, to prove later that they moved; each rank draws its own numbers from here on."""
        self.interruption.install()  # Lightning has put its own handlers there behind `setup`
        module = _module(pl_module)
        self._before = {name: remembered(weight) for name, weight in module.trainable().items()}
        self._still, self._dropped = set(self._before), module.progress.dropped
        self._started = time.monotonic() - self._earlier
        seed_rank(self.seed, self._current().position, trainer.global_rank)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember what this step had to learn from, unless it was dropped; end at once when asked to, where nothing
        would save the task first."""
        dropped = _module(pl_module).progress.dropped
        if dropped == self._dropped:
            self._still -= self._moving
        self._dropped, self._moving = dropped, set()
        if not self.saves_mid_task:
            self.interruption.check()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the seconds that the part before a kill took, and the names of the weights that it has moved."""
        checkpoint["seconds"] = time.monotonic() - self._started
        checkpoint["moved"] = sorted(self._moved | moved(_module(pl_module), self._before))

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Undo of `on_save_checkpoint`."""
        self._earlier, self._moved = checkpoint["seconds"], set(checkpoint["moved"])

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the method finish while the model is on its device; then save the experience.

        Raises:
            RunError: what was learned is not what was planned, or a trainable tensor did not move or is not finite.
        """
        experience, module = self._current(), _module(pl_module)
        assert experience.task is not None
        seconds = time.monotonic() - self._started
        check_learned(experience.task, module, trainer.world_size)
        module.check_finite()
        self._moved |= moved(module, self._before)
        check_moved(experience.task.name, module, self._moved, self._still)
        context = self._context(trainer, module)
        for method in module.methods.values():
            method.after_experience(context)
        pieces, tokens = gathered(module.peft), sum(processes.gather(module.progress.tokens))  # by all processes
        if trainer.is_global_zero:
            self._save(module, experience, seconds, pieces, tokens)
        trainer.strategy.barrier()
        self._loaded = experience.position

    def _save(
        self,
        module: ContinualMLLM,
        experience: Experience,
        seconds: float,
        pieces: Mapping[str, torch.Tensor],
        tokens: int,
    ) -> None:
        folder, seen = experience.folder, module.progress
        beyond = [hook for hook in ANSWERING if overriding(tuple(module.methods.values()), hook)]
        size = save_adapter(module.peft, folder / "adapter", pieces, beyond)
        write_safetensors(
            {name: tensor.cpu().contiguous() for name, tensor in module.method_state().items()}, folder / STATE
        )
        write_json(folder / MEMORY, module.memory)
        record(folder, _weight_files(folder))
        trained = {
            "experience": experience.position,
            "task": experience.name,
            "steps": seen.steps,
            "dropped_steps": seen.dropped,
            "samples": len(experience.task.train_samples) * experience.task.epochs if experience.task else 0,
            "devices": processes.world_size(),
            "tokens": tokens,
            "seconds": seconds,
            "loss_first": seen.loss_first,
            "loss_last": seen.loss_last,
            "trainable_parameters": sum(module.learning().values()),
            "checkpoint_bytes": size,
            "peak_memory_bytes": processes.peak_memory(module.device),
            **MARK,
        }
        write_known_json(folder / "train.json", trained)  # last: its presence says that the weights are complete
        (folder / LAST).unlink(missing_ok=True)

    # evaluation

    def evaluate(
        self,
        trainer: L.Trainer,
        module: ContinualMLLM,
        experience: Experience,
        tasks: list[InstructionTask] | None = None,
    ) -> None:
        """Answer the suite in one `predict`, score the answers, and add the row to the run.

        Args:
            tasks: what is evaluated; default: what the suite asks for. Cells of other tasks stay as they are.
        """
        tasks = self.suite.tasks_after(experience.position, self.scenario.tasks) if tasks is None else tasks
        writer = AnswerWriter(experience.folder / "records", tasks)
        keys = {} if experience.position else self.shared.keys(module, trainer, tasks)
        with self.shared.using(keys, writer) as reused:
            if reused:
                self.on_reuse(reused)
            self._answer(trainer, module, experience, tasks, writer, measures=not keys)
        if trainer.is_global_zero:
            self._score(experience, tasks, writer, trainer.world_size)
        trainer.strategy.barrier()

    def _answer(
        self,
        trainer: L.Trainer,
        module: ContinualMLLM,
        experience: Experience,
        tasks: list[InstructionTask],
        writer: AnswerWriter,
        measures: bool,
    ) -> None:
        """One `predict` over what has no answers yet. Shared answers know no router, so none of them `measures` it."""
        rank, ranks = trainer.global_rank, trainer.world_size
        done = processes.decide(lambda: {task.name: writer.done(task.name) for task in tasks})
        together = in_step(trainer.strategy)
        loaders = [task.answer_loader(done[task.name], rank, ranks, together) for task in tasks]
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        added = [*([RouterMeter()] if measures else []), writer]
        callbacks += added
        with answering(experience, module, tasks), self.interruption.at_next_step():
            trainer.predict(module, dataloaders=loaders, return_predictions=False)
        for callback in added:
            callbacks.remove(callback)
        trainer.strategy.barrier()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As `on_train_start`: signals are ours again."""
        self.interruption.install()

    def on_predict_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop when asked to: the answers before this batch are on disk. Processes that answer in step stop together.

        Raises:
            Stopped: the process was asked to end.
        """
        if not in_step(trainer.strategy):
            self.interruption.check()
        elif trainer.strategy.reduce_boolean_decision(self.interruption.received is not None, all=False):
            self.interruption.stop()

    def _score(self, experience: Experience, tasks: list[Any], writer: AnswerWriter, ranks: int) -> None:
        first = experience.position == 0
        scoring = self.scenario.scoring
        results = {task.name: score_all(writer.collect(task), scoring[task.name], guesses=first) for task in tasks}
        variant, load = self.suite.variant, mean_load(writer.answered())
        forget(experience.folder, results)
        keep_scores(experience, results, variant, writer.seconds(), load, self.run.tasks)
        writer.clear()
        if ranks == 1:  # of several, the others would wait in a barrier; they leave judging to the end of the run
            self.judge.experience(experience.position)
        self.on_row(self.run.write_summary(self.facts), experience.position)

    @property
    def position(self) -> int:
        """Index of the experience that the loop is at."""
        return self._current().position

    def _context(self, trainer: L.Trainer, module: ContinualMLLM) -> ExperienceContext:
        return ExperienceContext(self.scenario, self._current(), module, trainer, self.seed)

    def _current(self) -> Experience:
        if self.experience is None:
            raise RunError("ContinualLoop has no experience yet: call next_experience before Trainer.fit")
        return self.experience


def _weight_files(folder: Path) -> list[Path]:
    """What `_load_weights` reads of an experience's folder."""
    adapter = [file for file in (folder / "adapter").rglob("*") if file.suffix in (".safetensors", ".json")]
    return [*sorted(adapter), folder / STATE, folder / MEMORY]


def _check_weights(folder: Path) -> None:
    """See that an experience's weights are those that were written, before one of them is used.

    Raises:
        RunError: a file is missing, or holds something else.
    """
    remedy = train_again(folder)
    if gone := missing(folder, ("adapter", STATE, MEMORY)):
        raise RunError(f"{folder / gone[0]}: is missing; restore it, or {remedy}")
    for file in _weight_files(folder):
        if file.is_file():  # older runs have no memory.json
            check(file, None, f"restore it, or {remedy}")


def _onto_device(module: ContinualMLLM, strategy: Any) -> None:
    """Lightning moves the module behind `setup`, but methods read weights and pass over data within it. Of a model in
    pieces only what learns and what methods keep: no device need hold all of it, and it is not laid out yet.
    """
    if not in_step(strategy):
        module.to(strategy.root_device)
        return
    for method in module.methods.values():
        method.to(strategy.root_device)
    for weight in module.trainable().values():
        if not in_pieces(weight):
            weight.data = weight.data.to(strategy.root_device)


def _module(module: L.LightningModule) -> ContinualMLLM:
    if not isinstance(module, ContinualMLLM):
        raise RunError(f"ContinualLoop works on a ContinualMLLM, not on a {type(module).__name__}")
    return module
