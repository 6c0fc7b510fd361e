"""Callbacks of a few lines: the seed of each step, compiling, the progress bar."""

from typing import Any

import lightning
import torch

from parvideo.progress import Progress
from parvideo.training.networks import trained_network
from parvideo.training.private_apis import batches_begun
from parvideo.training.samplers import EndlessBatches
from parvideo.transformer import VideoTransformer


class StepSeed(lightning.Callback):
    """Seeds each training step by (seed, batch number, rank), so that a resumed run draws the same numbers.

    Nothing random is carried from one step to the next, so no generator's state has to be kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check that the data goes on where the run does."""
        del pl_module
        batches = getattr(trainer.train_dataloader, "batch_sampler", None)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(batches, EndlessBatches) and batches.started_at != data.samples_drawn():
            raise RuntimeError(
                f"data starts at sample {batches.started_at}, the run at {data.samples_drawn()}"
            )

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed this step."""
        del pl_module, batch, batch_idx
        number = batches_begun(trainer)
        torch.manual_seed(hash((self.seed, number, trainer.global_rank)) & (2**63 - 1))


class Compile(lightning.Callback):
    """Compiles the network in place; names in state dicts stay as they are.

    Of a transformer the blocks are compiled, each by itself: they are alike, so one is compiled for all, and
    sharding and recomputing, which work block by block, do as without.
    """

    def __init__(self, backend: str) -> None:
        """Name torch.compile's backend.

        Raises:
            ValueError: if there is no such backend.
        """
        backends = torch.compiler.list_backends(exclude_tags=())
        if backend not in backends:
            raise ValueError(f"compile is {backend!r}; torch.compile has the backends {', '.join(backends)}")
        self.backend = backend

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compile, once the network is where and how it will train."""
        del trainer
        network = trained_network(pl_module)
        for part in network.blocks if isinstance(network, VideoTransformer) else [network]:
            part.compile(backend=self.backend)


class StepProgress(lightning.pytorch.callbacks.ProgressBar):
    """One progress bar over all steps of the run; a line a minute where there is no terminal."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._bar: Progress | None = None
        self._figures: dict[str, Any] = {}

    def disable(self) -> None:
        """Other ranks are silent."""
        self._title = ""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the bar, from where the run goes on."""
        del pl_module
        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._bar = Progress(
            title=self._title, unit="step", total=total, initial=trainer.global_step, hidden=not self._title
        )

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move on."""
        del pl_module, outputs, batch, batch_idx
        assert self._bar is not None
        if self._bar.due:  # for figures have to come from the device
            shown = trainer.progress_bar_metrics.items()
            self._figures = {name.split("/")[-1]: value for name, value in shown}
            self._bar.show(self._figures)
        self._bar.move_to(trainer.global_step)

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say that it is validation which takes the time; not in the check before training."""
        del pl_module, outputs, batch
        if self._bar is not None and self._bar.due:
            where = f"{batch_idx + 1}/{trainer.num_val_batches[dataloader_idx]}"
            self._bar.show({**self._figures, "validating": where})
            self._bar.tick()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training goes on."""
        del trainer, pl_module
        if self._bar is not None:
            self._bar.show(self._figures)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        del trainer, pl_module
        if self._bar is not None:
            self._bar.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave the line as it is."""
        del trainer, pl_module, exception
        if self._bar is not None:
            self._bar.close()
