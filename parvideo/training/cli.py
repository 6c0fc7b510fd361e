"""FitCLI: LightningCLI with a run folder; `parvideo fit` trains by it, and a run resumes by itself."""

import logging
import os
import signal
import sys
import warnings
from argparse import SUPPRESS, ArgumentError
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LambdaCallback, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import SIGTERMException

from parvideo.files import atomic_path, read_json
from parvideo.pretrained.folder import CONFIG
from parvideo.training.callbacks.checkpoint import RunCheckpoints
from parvideo.training.callbacks.cuda import CudaSettings
from parvideo.training.callbacks.ema import WeightAverage
from parvideo.training.callbacks.export import ModelExport
from parvideo.training.callbacks.misc import Compile, StepProgress, StepSeed
from parvideo.training.callbacks.samples import SampleClips, StepLosses
from parvideo.training.callbacks.throughput import Throughput
from parvideo.training.checkpoints import FOLDER, AtomicCheckpointIO, read_checkpoint
from parvideo.training.configs import read_configs
from parvideo.training.costs_report import CostSettings, costs_report
from parvideo.training.fit_options import DESCRIPTION, OLD_NAMES, RUN_OPTIONS
from parvideo.training.fsdp import ShardedStrategy, check_strategy
from parvideo.training.loggers import RunBoard, RunLog
from parvideo.training.resuming import (
    RunState,
    changed_settings,
    check_resumable,
    earlier_settings,
    find_start,
    flat_settings,
    origin_of,
)
from parvideo.training.slurm import requeue_job
from parvideo.training.tokenizer import TokenizerModule
from parvideo.training.wandb_logger import RunWandb


def fit(arguments: list[str]) -> None:
    """Train what the configs describe, in the run folder ``--out``.

    Args:
        arguments: LightningCLI's command line, such as ``--config a.yaml --config b.yaml --data.root X``;
            see ``parvideo fit --help``.

    Raises:
        ValueError: on a setting that is out of range, or a checkpoint that the run cannot go on from.
        KeyboardInterrupt: when interrupted; the same command goes on where the run was.
    """
    # Lightning announces devices and advertises; what matters here is in the bar, the logs and the errors.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        run = FitCLI(_underscored(arguments))
        if run.config_init["print_costs"]:
            print(run.costs())
        else:
            run.train()
    except MisconfigurationException as error:  # Lightning's word for settings that do not go together
        raise ValueError(str(error)) from error


class FitCLI(LightningCLI):
    """LightningCLI with a run folder: checkpoints, logs, the model folder and the config all lie in it."""

    def __init__(self, arguments: list[str], trainer_defaults: dict[str, Any] | None = None) -> None:
        super().__init__(
            lightning.LightningModule,
            lightning.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "max_epochs": -1,
                "logger": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
                "check_val_every_n_epoch": None,
                **(trainer_defaults or {}),
            },
            parser_kwargs={"prog": "parvideo fit", "description": DESCRIPTION},
            args=arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The settings of a run that Lightning does not have."""
        for option in RUN_OPTIONS:
            parser.add_argument(
                f"--{option.name}", type=option.kind, default=option.default, help=option.help
            )
        parser.add_argument("--print_costs", action="store_true", help="print memory and time, and exit")
        parser.add_argument(
            "--costs", type=CostSettings, default=CostSettings(), help="what to assume before data is there"
        )
        for name in OLD_NAMES:  # in the config.yaml of runs begun before
            parser.add_argument(f"--{name}", type=Any, default=None, help=SUPPRESS)
        parser.link_arguments("out", "trainer.default_root_dir", compute_fn=lambda out: str(_at_home(out)))

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; the process's own arguments are the whole program's and not looked at."""
        args = read_configs(args)
        parser.exit_on_error = False  # one line, as of every command, in place of sixty of usage
        try:
            self.config = _at_home(parser.parse_args(args))
        except ArgumentError as error:
            raise ValueError(f"{error} (`parvideo fit --help` says what there is)") from error
        for name, new in OLD_NAMES.items():
            value = self.config.pop(name)
            if value and (name == "print_plan" or self.config["print_costs"]):
                raise ValueError(f"{name} is called {new} now: write {new} in the config")

    def instantiate_classes(self) -> None:
        """Everything, but no trainer for costs: the devices they are counted for need not be here."""
        if not self.config["print_costs"]:
            super().instantiate_classes()
            return
        self.config_init = self.parser.instantiate_classes(self.config)
        self.model, self.datamodule = self.config_init["model"], self.config_init["data"]

    def costs(self) -> str:
        """The memory and time that this run would take, as text."""
        config = self.config_init
        return costs_report(
            self.model,
            self.datamodule,
            config["costs"],
            config["trainer"]["max_steps"],
            config["global_batch"],
            config["trainer"]["accumulate_grad_batches"],
            config["ema_decay"] is not None,
        )

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer with the run's callbacks, loggers and checkpoint writing."""
        self.out = Path(self.config_init["out"])
        config = self.config_init["trainer"]
        if self.model.max_steps is None and config["max_steps"] > 0:  # the schedule is as long as the run
            self.model.max_steps = config["max_steps"]
        if config["max_steps"] < 1 and not config["fast_dev_run"]:
            raise ValueError(
                f"trainer.max_steps is {config['max_steps']}; state a run's length in steps, 1 or more"
            )
        kwargs["plugins"] = [*(config["plugins"] or []), AtomicCheckpointIO()]
        stop_signals = [signal.SIGTERM]
        if SLURMEnvironment.detect():
            # Lightning's own requeueing saves in the middle of a step; ours saves between two.
            environment = SLURMEnvironment(auto_requeue=False)
            kwargs["plugins"].append(environment)
            assert environment.requeue_signal is not None
            stop_signals.append(environment.requeue_signal)
        decay = self.config_init["ema_decay"]
        average = WeightAverage(decay) if decay is not None else None
        text = self.parser.dump(self.config, skip_unset=False)
        self.state = RunState(flat_settings(yaml.safe_load(text)))
        callbacks: list[Callback] = [StepSeed(int(self.config["seed_everything"])), self.state]
        callbacks += [average] if average is not None else []
        chosen = config["benchmark"] is not False and not config["deterministic"]
        callbacks += [CudaSettings(not self.config_init["exact_float32"], benchmark=chosen)]
        backend = self.config_init["compile"]
        callbacks += [Compile(backend)] if backend is not None else []
        peak = self.config_init["peak_tflops"]
        callbacks += [StepLosses(self.out)]
        if self.config_init["sample_every"]:
            callbacks += [SampleClips(self.config_init["sample_every"])]
        callbacks += [StepProgress(f"training {self.out.name}")]
        self.checkpoints: RunCheckpoints | None = None
        if not config["fast_dev_run"]:
            callbacks += [LambdaCallback(on_train_start=self._claim)]
            callbacks += [ModelExport(self.out / "model", average)]
        # After what validation brings with it, the time of which it leaves out.
        callbacks += [Throughput(None if peak is None else peak * 1e12)]
        if not config["fast_dev_run"]:
            every = self.config_init["checkpoint_every"]
            self.checkpoints = RunCheckpoints(self.out / FOLDER, every, stop_signals=stop_signals)
            callbacks += [self.checkpoints]
        if config["logger"] is not False and self.config_init["wandb"] is not None:
            raise ValueError(
                f"wandb is {self.config_init['wandb']!r} and trainer.logger is given; state one of them"
            )
        if config["logger"] is False and not config["fast_dev_run"]:
            kwargs["logger"] = self._loggers()
        own = list(config["callbacks"] or [])  # Lightning adds to the list that it is given
        trainer = self._instantiate_trainer({**config, **kwargs, "callbacks": [*own]}, callbacks)
        if isinstance(self.model, TokenizerModule) and type(trainer.strategy) is DDPStrategy:
            # Its two losses, and its images, each reach a part of the weights only, which DDP must look for.
            kwargs["strategy"] = "ddp_find_unused_parameters_true"
            trainer = self._instantiate_trainer({**config, **kwargs, "callbacks": [*own]}, callbacks)
        check_strategy(trainer.strategy)
        if self.config_init["sample_every"] and isinstance(trainer.strategy, ShardedStrategy):
            raise ValueError(
                f"sample_every is {self.config_init['sample_every']}; no process holds a sharded model whole:"
                " set it to 0 and sample from the run's model folder"
            )
        if self.config_init["global_batch"] is not None:
            _accumulate(trainer, self.datamodule, self.config_init["global_batch"])
        return trainer

    def _loggers(self) -> list[Logger]:
        """The run's own loggers, as it asks for them."""
        loggers: list[Logger] = [RunLog(self.out)]
        if self.config_init["tensorboard"]:
            loggers.append(RunBoard(self.out))
        if self.config_init["wandb"] is not None:
            loggers.append(RunWandb(self.out, self.config_init["wandb"], self.state.settings))
        return loggers

    def train(self) -> None:
        """Train to the end, from the newest good checkpoint on."""
        fast = bool(self.config_init["trainer"]["fast_dev_run"])
        checkpoint = None if fast else find_start(self.out, self.config_init["resume"], self._say)
        if checkpoint is not None and self._finished(checkpoint):
            return
        if checkpoint is not None:
            self.model.init_from = None  # the checkpoint holds all weights; the folder may be gone
        if not fast and self.trainer.is_global_zero:
            self._check_folder()
        with warnings.catch_warnings():
            _silence_what_is_meant()
            try:
                self.trainer.fit(
                    self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True
                )
                self._say_end()
            except SIGTERMException:
                raise SystemExit(self._stopped()) from None
            except SystemExit:
                # Lightning turns Ctrl-C into an exit and leaves SIGINT ignored.
                if self.trainer.state.status != TrainerStatus.INTERRUPTED:
                    raise
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt from None

    def _claim(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the first files into the run folder: data and model stand by now, and nothing is refused."""
        del module
        for logger in trainer.loggers:
            if isinstance(logger, RunBoard | RunWandb):
                logger.begin()
        if trainer.is_global_zero:
            with atomic_path(self.out / "config.yaml") as temporary:
                self.parser.save(self.config, temporary, overwrite=True, skip_unset=False, multifile=False)

    def _stopped(self) -> int:
        """Say, and tell SLURM, that the run was stopped by a signal and is saved; the exit status."""
        by = (self.checkpoints and self.checkpoints.stopped_by) or signal.SIGTERM
        if self.trainer.is_global_zero:
            print(f"{self.out}: stopped by {by.name} at step {self.trainer.global_step}", file=sys.stderr)
            if by != signal.SIGTERM:
                print(f"{self.out}: requeued job {requeue_job(os.environ)}", file=sys.stderr)
        return 128 + by

    def _finished(self, path: Path) -> bool:
        """Check that the run can go on from a checkpoint, say what has changed; whether it is at its end."""
        checkpoint = read_checkpoint(path)
        settings, earlier = self.state.settings, earlier_settings(path, checkpoint)
        self.datamodule.setup("fit")
        check_resumable(path, checkpoint, self.model, self.datamodule, settings, earlier)
        step, end = checkpoint["global_step"], self.trainer.max_steps
        if step > end:
            raise ValueError(
                f"{path} is at step {step}, and trainer.max_steps is {end}: ask for {step} or more, "
                "or choose another --out"
            )
        if step == end:
            self._say(
                f"{path.name} is at step {step}, the end: nothing to do (--trainer.max_steps asks for more)"
            )
            return True
        self.state.earlier = earlier
        self.state.origin = origin_of(self.out, path, checkpoint)
        changes = list(changed_settings(earlier, settings))
        self._say(f"going on from {path.name}" + (f"; changed: {'; '.join(changes)}" if changes else ""))
        return False

    def _check_folder(self) -> None:
        """Refuse a run folder with a model of another kind: the files of two would mix in it."""
        config = self.out / "model" / CONFIG
        kind = "tokenizer" if isinstance(self.model, TokenizerModule) else "generator"
        found = read_json(config) if config.is_file() else {}
        if isinstance(found, dict) and found.get("kind", kind) != kind:
            raise ValueError(f"{config.parent} holds a {found['kind']}, not a {kind}: choose another --out")

    def _say_end(self) -> None:
        """Say why a run has ended before its last step."""
        trainer, step = self.trainer, self.trainer.global_step
        if step >= trainer.max_steps:
            return
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        if any((timer.time_remaining() or 0) <= 0 for timer in timers):
            why = "trainer.max_time is over"
        elif trainer.max_epochs is not None and 0 < trainer.max_epochs <= trainer.current_epoch:
            why = f"trainer.max_epochs is {trainer.max_epochs}"
        else:
            why = "a callback has stopped it"
        self._say(f"ended at step {step} of {trainer.max_steps}: {why}")

    def _say(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(f"{self.out}: {line}", file=sys.stderr)


def _accumulate(trainer: lightning.Trainer, data: lightning.LightningDataModule, samples: int) -> None:
    """Let an optimizer step take ``samples`` in all; validation stays at the same optimizer steps."""
    at_once = data.batch_size * trainer.world_size  # type: ignore[attr-defined]
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"global_batch is {samples} and trainer.accumulate_grad_batches "
            f"{trainer.accumulate_grad_batches}; state one of the two"
        )
    if samples < 1 or samples % at_once:
        raise ValueError(
            f"global_batch is {samples}; it must be a multiple of data.batch_size x devices = {at_once}"
        )
    trainer.accumulate_grad_batches = samples // at_once
    if isinstance(trainer.val_check_interval, int):  # Lightning counts it in micro-batches
        trainer.val_check_interval *= trainer.accumulate_grad_batches


def _underscored(arguments: list[str]) -> list[str]:
    """Lightning's options are spelled with underscores; dashes are taken too, and ``--out=~/run``."""
    spelled = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and value.startswith("~"):  # which a shell expands at the start of a word only
            value = os.path.expanduser(value)
        if name.replace("-", "_") == "__print_plan" or name.startswith("--plan."):
            raise ValueError("--print-plan is called --print-costs now, and --plan.NAME --costs.NAME")
        spelled.append(
            (f"--{name[2:].replace('-', '_')}" if name.startswith("--") else name) + equals + value
        )
    return spelled


def _at_home(value: Any) -> Any:
    """A parsed config, or a part of it, in which paths that begin with ``~`` lie in the home folder."""
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    if isinstance(value, Namespace):
        for name, inside in list(value.items(branches=False)):
            value[name] = _at_home(inside)
    elif isinstance(value, dict):
        return {name: _at_home(inside) for name, inside in value.items()}
    elif isinstance(value, list):
        return [_at_home(inside) for inside in value]
    return value


def _silence_what_is_meant() -> None:
    """Lightning's advice on choices made here on purpose."""
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*ended before the epoch ended and your dataloader is not resumable.*",
        ".*Experiment logs directory.*exists and is not empty.*",
        ".*callbacks used to create the checkpoint need to be provided.*",  # `parvideo fit` says what changed
        ".*isinstance.treespec, LeafSpec.*",
        ".*when logging on epoch level in distributed setting.*",  # what is logged is summed up already
    ):
        warnings.filterwarnings("ignore", message=message)
