"""Weights & Biases: a run's logger for it, offline or online, as `parvideo fit --wandb` asks for."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

Mode = Literal["offline", "online"]


class RunWandb(WandbLogger):
    """Logs a start of the run to Weights & Biases, as a run of its own in the group of the run folder.

    Offline it writes files in ``wandb/`` of the run folder, which `wandb sync` sends when there is a network.
    The project is ``parvideo``, or what ``WANDB_PROJECT`` says. As with `RunBoard` there is nothing before
    :meth:`begin`, so that a run that is refused claims no folder; and a row given twice is written once.

    Args:
        run: the run folder.
        mode: offline or online.
        settings: of the run, to be found by.

    Raises:
        ValueError: where wandb is not installed.
    """

    def __init__(self, run: Path, mode: Mode, settings: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise ValueError(f"wandb is {mode!r}, and wandb is not installed; pip install 'parvideo[wandb]'")
        name = run.resolve().name
        super().__init__(
            name=name,
            save_dir=run,
            project=os.environ.get("WANDB_PROJECT", "parvideo"),
            group=name,
            mode=mode,
            settings={"console": "off"},  # stderr is ours
        )
        self.run, self.settings = run, dict(settings)
        self._last = ""
        self._begun = False

    @rank_zero_only
    def begin(self) -> None:
        """Open the run, with its settings."""
        if not self._begun:
            self._begun = True
            self.run.mkdir(parents=True, exist_ok=True)  # wandb would write somewhere else
            self.experiment.config.update(self.settings)

    @property
    def experiment(self) -> Any:
        """wandb's run; None before the run has begun."""
        return super().experiment if self._begun else None

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Nothing: :meth:`begin` gives the whole config."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write a row."""
        self.begin()
        if str((step, metrics)) != self._last:
            self._last = str((step, metrics))
            super().log_metrics(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End wandb's run, so that the next one in this process is another."""
        if self._begun:
            self.experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None
            self._begun = False
