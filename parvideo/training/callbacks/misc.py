"""Callbacks: what happens around training steps, whatever is trained."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from tqdm import tqdm

from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.training.costs import TransformerCosts
from parvideo.training.data import ClipDataModule
from parvideo.training.fsdp import gather, place_like, plain
from parvideo.training.generator import GeneratorModule
from parvideo.training.samplers import EndlessBatches
from parvideo.training.tokenizer import TokenizerModule
from parvideo.transformer import VideoTransformer


def trained_network(module: lightning.LightningModule) -> nn.Module:
    """The network that a Lightning module trains and that a model folder holds.

    Raises:
        ValueError: if it is not one of parvideo's Lightning modules.
    """
    if isinstance(module, GeneratorModule):
        return module.transformer
    if isinstance(module, TokenizerModule):
        return module.tokenizer
    raise ValueError(f"{type(module).__name__} is neither a TokenizerModule nor a GeneratorModule")


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
        number = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        torch.manual_seed(hash((self.seed, number, trainer.global_rank)) & (2**63 - 1))


class WeightAverage(lightning.Callback):
    """Keeps an exponential moving average of the trained weights; it is what is validated and exported.

    It is kept in float32 at least, and, where the weights are sharded, in the same shards. Early on it is
    shorter, ``min(decay, (1 + n) / (10 + n))`` at step n, so that it does not hold on to the random start.
    """

    def __init__(self, decay: float) -> None:
        """Describe the average.

        Raises:
            ValueError: if ``decay`` is not in (0, 1).
        """
        if not 0 < decay < 1:
            raise ValueError(f"ema_decay is {decay}; it must lie between 0 and 1, such as 0.999")
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._own: dict[str, Tensor] = {}
        self._last_step = 0
        self._keeps = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin with the initial weights, unless a checkpoint brought an average."""
        weights = trained_network(pl_module).state_dict()
        if not self.average:
            self.average = {name: _accumulator(value) for name, value in weights.items()}
        self.average = {name: place_like(value, weights[name]) for name, value in self.average.items()}
        self._last_step, self._keeps = trainer.global_step, trainer.is_global_zero

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the new weights in, once an optimizer step was made."""
        del outputs, batch, batch_idx
        step = trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in trained_network(pl_module).state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value.to(self.average[name].dtype), 1 - decay)
            else:
                self.average[name].copy_(value)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the average in place of the weights."""
        del trainer
        if not self.average:  # the sanity check before training
            return
        network = trained_network(pl_module)
        self._own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.average)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the weights back."""
        del trainer
        if self._own:
            trained_network(pl_module).load_state_dict(self._own)
            self._own = {}

    def state_dict(self) -> dict[str, Any]:
        """The average, whole, for the checkpoint; where weights are sharded, all processes must call it."""
        return {"average": gather(self.average, keep=self._keeps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average from a checkpoint."""
        self.average = state_dict["average"]


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


class ModelExport(lightning.Callback):
    """Writes the model folder after each validation and at the end: averaged weights, if there are any."""

    def __init__(self, folder: Path, average: WeightAverage | None = None) -> None:
        self.folder, self.average = folder, average

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export, except after the sanity check."""
        if not trainer.sanity_checking:
            self._export(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export the final weights."""
        self._export(trainer, pl_module)

    def _export(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        kept = self.average.average if self.average is not None else trained_network(module).state_dict()
        state = gather(kept, keep=trainer.is_global_zero)
        if trainer.is_global_zero:
            self._write(trainer, module, state)

    def _write(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, state: dict[str, Tensor]
    ) -> None:
        if isinstance(module, GeneratorModule):
            spec = module.spec
            save_generator(
                self.folder,
                module.transformer,
                spec.class_names,
                spec.tokenizer,
                module.orders,
                state,
                spec.clip_form,
            )
        elif isinstance(module, TokenizerModule):
            data = trainer.datamodule  # type: ignore[attr-defined]
            form = data.clip_form if isinstance(data, ClipDataModule) else None
            save_tokenizer(self.folder, module.tokenizer, state, form)


class Throughput(lightning.Callback):
    """Logs the learning rate, samples (and for generators tokens) a second, and the gradient's norm.

    Rates are those of training alone: the time that validation takes does not count. The norm is the one
    before clipping; where a module optimizes, and clips, by itself, it logs that itself.

    Args:
        peak_flops: operations a second that one device can do; with it a generator's MFU is logged, the part
            of it that the model's own operations take (none recomputed, see `parvideo.training.costs`).
        clock: gives the time in seconds.

    Raises:
        ValueError: if ``peak_flops`` is not positive.
    """

    def __init__(self, peak_flops: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        if peak_flops is not None and peak_flops <= 0:
            raise ValueError(f"peak_flops is {peak_flops}; it must be positive, or None if unknown")
        self.peak_flops, self.clock = peak_flops, clock
        self._since = (0, 0.0)
        self._validates_since = 0.0
        self._flops = 0  # of one sample

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        if self.peak_flops is not None and isinstance(pl_module, GeneratorModule):
            self._flops = TransformerCosts.of(
                pl_module.transformer.config, pl_module.orders[0]
            ).training_flops
        self._since = (trainer.global_step, self.clock())

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock."""
        del trainer, pl_module
        self._validates_since = self.clock()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Let the clock go on."""
        del trainer, pl_module
        step, started = self._since
        self._since = (step, started + self.clock() - self._validates_since)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """The gradient's norm, before it is clipped by the trainer."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if pl_module.automatic_optimization and trainer.global_step % every == every - 1:
            gradients = [
                parameter.grad
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ]
            pl_module.log("train/grad_norm", plain(torch.nn.utils.get_total_norm(gradients)))

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the rates since the last time they were logged."""
        del outputs, batch_idx
        step, now = trainer.global_step, self.clock()
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step % every != 0 or step == self._since[0]:
            return
        samples = len(batch["label"]) * trainer.world_size * trainer.accumulate_grad_batches
        rate = samples * (step - self._since[0]) / (now - self._since[1])
        self._since = (step, now)
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"])
        pl_module.log("train/samples_per_s", rate)
        if "tokens" in batch:
            pl_module.log("train/tokens_per_s", rate * batch["tokens"][0].numel())
        if self.peak_flops is not None and self._flops:
            pl_module.log("train/mfu", rate * self._flops / (self.peak_flops * trainer.world_size))


class StepProgress(lightning.pytorch.callbacks.ProgressBar):
    """One progress bar over all steps of the run; nothing where there is no terminal."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._bar: Any = None

    def disable(self) -> None:
        """Other ranks are silent."""
        self._title = ""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the bar, from where the run goes on."""
        del pl_module
        total = trainer.max_steps if trainer.max_steps > 0 else None
        hidden = None if self._title else True
        self._bar = tqdm(
            total=total, initial=trainer.global_step, desc=self._title, unit="step", disable=hidden
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
        self._bar.update(trainer.global_step - self._bar.n)
        if not self._bar.disable:
            figures = {name.split("/")[-1]: value for name, value in trainer.progress_bar_metrics.items()}
            self._bar.set_postfix(figures, refresh=False)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        del trainer, pl_module
        self._bar.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave the line as it is."""
        del trainer, pl_module, exception
        if self._bar is not None:
            self._bar.close()


def _accumulator(value: Tensor) -> Tensor:
    """A copy with room for small changes: float32 where the weights have less."""
    value = value.detach().clone()
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
