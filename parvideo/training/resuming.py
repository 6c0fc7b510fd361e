"""Resuming: what a run may go on from, where in its data it goes on, and with which settings.

A checkpoint holds, beside what Lightning puts there, a record (`RECORD`): how many samples the run has
drawn, what it was trained on, and the settings it was started with. A run may go on with another batch size,
number of devices, learning rate or length; it may not go on on another set, as another model, or in another
order of samples.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from parvideo.training.checkpoints import DESCRIPTION, FOLDER, is_whole, list_checkpoints, read_checkpoint
from parvideo.training.description import (
    describe,
    expected_shapes,
    model_differences,
    shape_differences,
    training_set,
)
from parvideo.training.private_apis import saved_batches, set_last_rates, set_progress
from parvideo.transformer.model import RENAMED

RECORD = "parvideo_run"
Settings = dict[str, Any]
"""A run's settings: name, such as ``model.lr``, -> value."""

_SHOWN = 60
_SEEDS = ("seed_everything", "data.seed", "model.seed")
_LENGTH, _SCHEDULE, _FINAL_LR = "trainer.max_steps", "model.max_steps", "model.final_lr"
# Where things lie, what is shown and how fast it runs: no result depends on it.
_SILENT = (
    *("config", "out", "resume", "print_", "plan.", "costs.", "data.tokens", "data.root", "data.cache"),
    *("data.num_workers", "trainer.default_root_dir", "trainer.logger", "peak_tflops", "checkpoint_every"),
    *("tensorboard", "wandb"),
)


class RunState(lightning.Callback):
    """Keeps the run's record in its checkpoints, and puts a resumed run back to where it was.

    Attributes:
        settings: of this start of the run.
        origin: the checkpoint of another run that this one began with, if any.
        earlier: the settings of the start that wrote the checkpoint.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.origin: str | None = None
        self.earlier: Settings = {}
        self._resumed = False
        self._step = self._samples = 0
        self._training_set: str | None = None

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the loops and the data go on after the checkpoint's last whole step."""
        del pl_module
        samples = _samples(checkpoint, self.earlier, trainer)
        batches = _restore_progress(checkpoint, trainer)
        trainer.datamodule.begun_at = (samples, batches)  # type: ignore[attr-defined]
        self._resumed = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Let the optimizers have the settings of this start, not those in the checkpoint."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._training_set = training_set(data)
        self._step, self._samples = trainer.global_step, data.samples_drawn()
        if self._resumed:
            adopt_settings(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the samples of whole steps: those of a step cut short are drawn again."""
        del pl_module, outputs, batch, batch_idx
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._samples = trainer.datamodule.samples_drawn()  # type: ignore[attr-defined]

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the run's record, and what a model folder says, so that `parvideo export` needs no YAML."""
        checkpoint[DESCRIPTION] = describe(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        checkpoint[RECORD] = {
            "samples": self._samples,
            "training_set": self._training_set,
            "settings": self.settings,
            "origin": self.origin,
        }


def find_start(run: Path, resume: str, say: Callable[[str], None]) -> Path | None:
    """The checkpoint that a run goes on from; None if it begins at step 0.

    Args:
        run: its folder.
        resume: ``auto`` for the newest whole one in it, ``never``, or a file. A run that a file began, and
            that has checkpoints of its own by now, goes on from those: the same command goes on.
        say: told of damaged checkpoints that are passed over.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the folder holds checkpoints that the run would not go on from, which would get in its
            way, or none of them is whole.
    """
    listed = list_checkpoints(run / FOLDER)
    own = next(filter(is_whole, listed), None)
    if resume == "auto":
        if listed and own is None:
            raise ValueError(
                f"no checkpoint in {run / FOLDER} is whole ({listed[0].name} is damaged): remove them to "
                "begin at step 0, or name a good one with --resume"
            )
        for path in listed[: listed.index(own)] if own else ():
            say(f"{path.name} is damaged and passed over")
        return own
    if resume == "never":
        if listed:
            raise ValueError(
                f"{run} holds {listed[0].name}, which a run that begins at step 0 would mix with: choose "
                f"another --out or remove {run / FOLDER}"
            )
        return None
    path = Path(resume).expanduser()
    if own and read_checkpoint(own).get(RECORD, {}).get("origin") == str(path.resolve()):
        return own
    read_checkpoint(path)
    inside = path.resolve().parent == (run / FOLDER).resolve()
    before = [each for each in listed if not inside or each.name > path.name]
    if before:
        raise ValueError(
            f"{run} holds {before[0].name}, which a run that goes on from {path} would mix with: leave "
            "--resume away to go on from that, or choose another --out"
        )
    return path


def origin_of(run: Path, path: Path, checkpoint: Mapping[str, Any]) -> str | None:
    """The checkpoint of another run that a run began with, if it goes on from ``path``."""
    if path.resolve().parent != (run / FOLDER).resolve():
        return str(path.resolve())
    return checkpoint.get(RECORD, {}).get("origin")


def check_resumable(
    path: Path,
    checkpoint: Mapping[str, Any],
    module: lightning.LightningModule,
    data: Any,
    settings: Settings,
    earlier: Settings,
) -> None:
    """Refuse a checkpoint that this run cannot go on from.

    Args:
        path: the checkpoint's, for the message.
        checkpoint: what it holds.
        module: what is to be trained.
        data: set up.
        settings: of this start.
        earlier: of the start that wrote the checkpoint (`earlier_settings`).

    Raises:
        ValueError: naming what differs.
    """
    differences = list(model_differences(checkpoint[DESCRIPTION], describe(module, data)))
    record = checkpoint.get(RECORD, {})
    if not differences and record.get("training_set") not in (None, training_set(data)):
        differences.append("the set it was trained on differs from this one")
    if not differences:
        shapes = {name: value.shape for name, value in checkpoint["state_dict"].items()}
        differences += shape_differences(shapes, expected_shapes(module, data))
    for name in _SEEDS:
        if name in earlier and name in settings and earlier[name] != settings[name]:
            differences.append(f"{name} is {earlier[name]} there and {settings[name]} here")
    if differences:
        raise ValueError(
            f"this run cannot go on from {path}: {'; '.join(differences[:3])}. Choose another --out, or "
            "state what that checkpoint was trained with"
        )


def changed_settings(earlier: Settings, settings: Settings) -> Iterator[str]:
    """In words, the settings that another start changes, and what that does to the learning rate."""
    for name in sorted(earlier.keys() & settings.keys()):
        there, here = earlier[name], settings[name]
        if name.endswith("class_path"):  # a class may be named by the module it lies in, which may move
            there, here = (str(path).rpartition(".")[2] for path in (there, here))
        if there != here and not name.startswith(_SILENT):
            yield f"{name} {str(there)[:_SHOWN]} -> {str(here)[:_SHOWN]}"
    for name in sorted(settings.keys() ^ earlier.keys()) if earlier else ():
        value = settings.get(name, earlier.get(name))
        if value not in (None, False, 0, []) and not name.startswith(_SILENT):
            yield f"{name} {str(value)[:_SHOWN]} {'is new' if name in settings else 'is gone'}"
    ends = [each.get(_SCHEDULE) or each.get(_LENGTH) for each in (earlier, settings)]
    if earlier and None not in ends and ends[0] != ends[1] and settings.get(_FINAL_LR) != 1:
        yield (
            f"the learning rate's cosine, which ended at step {ends[0]}, now ends at step {ends[1]}, so the "
            "run differs from one of that length (--model.max_steps states a schedule's own length)"
        )


def earlier_settings(path: Path, checkpoint: Mapping[str, Any]) -> Settings:
    """The settings of the start that wrote a checkpoint.

    From its record; checkpoints of parvideo 0.1 have none, and for them from the config of their run folder.
    """
    if RECORD in checkpoint:
        return _by_current_names(checkpoint[RECORD]["settings"])
    config = path.parent.parent / "config.yaml"
    try:
        content = yaml.safe_load(config.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return _by_current_names(flat_settings(content)) if isinstance(content, dict) else {}


def _by_current_names(settings: Mapping[str, Any]) -> Settings:
    renamed = {f"model.{old}": f"model.{new}" for old, new in RENAMED.items()}
    return {renamed.get(name, name): value for name, value in settings.items()}


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> Settings:
    """A nested config as the options that would state it: ``model.init_args.lr`` is ``model.lr``."""
    flat: Settings = {}
    for name, value in config.items():
        own = prefix if name == "init_args" else f"{prefix}{name}."
        if isinstance(value, Mapping):
            flat |= flat_settings(value, own)
        else:
            flat[own.removesuffix(".")] = value
    return flat


def adopt_settings(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Put learning rate, betas, weight decay and schedule as this start states them.

    A checkpoint's optimizer states bring those of the start before; where nothing was changed, nothing
    changes here, to the bit.
    """
    made: Any = module.configure_optimizers()
    if isinstance(made, dict):
        optimizers, schedules = [made["optimizer"]], [made["lr_scheduler"]["scheduler"]]
    else:
        optimizers, schedules = made
    for optimizer, fresh in zip(trainer.optimizers, optimizers, strict=True):
        _adopt(optimizer, fresh)
    for config, fresh in zip(trainer.lr_scheduler_configs, schedules, strict=True):
        schedule = config.scheduler
        assert isinstance(schedule, LambdaLR)
        schedule.base_lrs = list(fresh.base_lrs)
        rates = [
            base * rate(schedule.last_epoch)
            for base, rate in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        set_last_rates(schedule, rates)


def _adopt(optimizer: Optimizer, fresh: Optimizer) -> None:
    for group, stated in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group.update({name: value for name, value in stated.items() if name != "params"})
        for parameter in group["params"]:
            step = optimizer.state.get(parameter, {}).get("step")
            if isinstance(step, torch.Tensor) and group.get("fused"):  # which counts on the device
                optimizer.state[parameter]["step"] = step.to(parameter.device)


def _samples(checkpoint: Mapping[str, Any], earlier: Settings, trainer: lightning.Trainer) -> int:
    """The samples that a run has drawn in whole steps."""
    if RECORD in checkpoint:
        return int(checkpoint[RECORD]["samples"])
    if earlier.get("global_batch"):
        return int(checkpoint["global_step"] * earlier["global_batch"])
    batches = saved_batches(dict(checkpoint))
    data = trainer.datamodule  # type: ignore[attr-defined]
    return int(batches * earlier.get("data.batch_size", data.batch_size) * trainer.world_size)


def _restore_progress(checkpoint: dict[str, Any], trainer: lightning.Trainer) -> int:
    """Rewrite the loops' progress to what it is right after the last whole step, in this run's batches.

    A checkpoint from a run's end says that its epoch is over, one from the middle counts batches of the
    accumulation it was made with; Lightning would train nothing more, or cut the next step short.

    Returns:
        Batches that count as trained.
    """
    steps, accumulated = checkpoint["global_step"], trainer.accumulate_grad_batches
    limit = trainer.limit_train_batches
    if isinstance(limit, int) and limit > 0:
        epochs, rest = divmod(steps, math.ceil(limit / accumulated))
        batches, current = epochs * limit + rest * accumulated, rest * accumulated
    else:
        epochs, batches = 0, steps * accumulated
        current = batches
    set_progress(checkpoint, steps, batches, epochs, current)
    return int(batches)
