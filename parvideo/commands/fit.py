"""`parvideo fit`: train a tokenizer or a generator from LightningCLI configs; a run resumes by itself."""

import logging
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus

from parvideo.files import atomic_path
from parvideo.training.callbacks import (
    ModelExport,
    StepProgress,
    StepSeed,
    Throughput,
    WeightAverage,
)
from parvideo.training.checkpoints import FOLDER, AtomicCheckpointIO, RunCheckpoints, find_checkpoint


def fit(arguments: list[str]) -> None:
    """Train what the configs describe, in the run folder ``--out``.

    Args:
        arguments: LightningCLI's command line, such as ``--config a.yaml --config b.yaml --data.root X``;
            see ``parvideo fit --help``.

    Raises:
        ValueError: on a setting that is out of range.
        KeyboardInterrupt: when interrupted; the same command goes on where the run was.
    """
    # Lightning announces devices and advertises; what matters here is in the bar, the logs and the errors.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    run = FitCLI(_underscored(arguments))
    run.train()


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
                "max_epochs": 1,
                "logger": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
                "check_val_every_n_epoch": None,
                **(trainer_defaults or {}),
            },
            parser_kwargs={"prog": "parvideo fit", "description": _HELP},
            args=arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The settings of a run that Lightning does not have."""
        parser.add_argument("--out", type=Path, default=Path("runs/fit"), help="run folder")
        parser.add_argument(
            "--resume",
            type=str,
            default="auto",
            help="auto: from the newest good checkpoint; never; or a file",
        )
        parser.add_argument("--checkpoint_every", type=int, default=500, help="steps between checkpoints")
        parser.add_argument(
            "--ema_decay", type=float | None, default=None, help="average weights with this decay, e.g. 0.999"
        )
        parser.link_arguments("out", "trainer.default_root_dir", compute_fn=str)
        parser.link_arguments("trainer.max_steps", "model.init_args.max_steps")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; the process's own arguments are the whole program's and not looked at."""
        self.config = parser.parse_args(args)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer with the run's callbacks, loggers and checkpoint writing."""
        self.out = Path(self.config_init["out"])
        config = self.config_init["trainer"]
        if config["max_steps"] < 1 and not config["fast_dev_run"]:
            raise ValueError(
                f"trainer.max_steps is {config['max_steps']}; state a run's length in steps, 1 or more"
            )
        decay = self.config_init["ema_decay"]
        average = WeightAverage(decay) if decay is not None else None
        callbacks: list[Callback] = [StepSeed(int(self.config["seed_everything"]))]
        callbacks += [average] if average is not None else []
        callbacks += [Throughput(), StepProgress(f"training {self.out.name}")]
        if not config["fast_dev_run"]:
            callbacks += [ModelExport(self.out / "model", average)]
            callbacks += [RunCheckpoints(self.out / FOLDER, self.config_init["checkpoint_every"])]
        kwargs["plugins"] = [*(config["plugins"] or []), AtomicCheckpointIO()]
        if config["logger"] is False and not config["fast_dev_run"]:
            kwargs["logger"] = [
                CSVLogger(self.out, name="logs", flush_logs_every_n_steps=1),
                TensorBoardLogger(self.out, name="tensorboard", version=""),
            ]
        return self._instantiate_trainer({**config, **kwargs}, callbacks)

    def train(self) -> None:
        """Train to the end, from the newest good checkpoint on."""
        fast = bool(self.config_init["trainer"]["fast_dev_run"])
        checkpoint = None if fast else self._checkpoint()
        if not fast and self.trainer.is_global_zero:
            with atomic_path(self.out / "config.yaml") as temporary:
                self.parser.save(self.config, temporary, overwrite=True, skip_unset=False, multifile=False)
        with warnings.catch_warnings():
            _silence_what_is_meant()
            try:
                self.trainer.fit(
                    self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True
                )
            except SystemExit:
                # Lightning turns Ctrl-C into an exit and leaves SIGINT ignored.
                if self.trainer.state.status != TrainerStatus.INTERRUPTED:
                    raise
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt from None

    def _checkpoint(self) -> Path | None:
        resume = self.config_init["resume"]
        if resume == "never":
            return None
        if resume != "auto":
            if not Path(resume).is_file():
                raise FileNotFoundError(
                    f"there is no checkpoint {resume} (--resume takes auto, never or a file)"
                )
            return Path(resume)
        found = find_checkpoint(self.out)
        if found is not None:
            print(f"{self.out}: going on from {found.name}", file=sys.stderr)
        return found


_HELP = """Train a tokenizer or a generator. Configs stack: later ones, and options after them, win.
Options of the classes a config names are given as --model.lr or --data.root. The run folder (--out) holds
checkpoints, logs (CSV and TensorBoard), the config, and model/, which the other commands load. The same
command goes on where a stopped run was."""


def _underscored(arguments: list[str]) -> list[str]:
    """Lightning's options are spelled with underscores; dashes are taken too."""
    spelled = []
    for word in arguments:
        name, equals, value = word.partition("=")
        spelled.append(
            (f"--{name[2:].replace('-', '_')}" if name.startswith("--") else name) + equals + value
        )
    return spelled


def _silence_what_is_meant() -> None:
    """Lightning's advice on choices made here on purpose."""
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*ended before the epoch ended and your dataloader is not resumable.*",
        ".*Experiment logs directory.*exists and is not empty.*",
        ".*isinstance.treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
