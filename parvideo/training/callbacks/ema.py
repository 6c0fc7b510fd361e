"""The moving average of the weights."""

from typing import Any

import lightning
import torch
from torch import Tensor

from parvideo.training.fsdp import gather, place_like
from parvideo.training.networks import trained_network


class WeightAverage(lightning.Callback):
    """Keeps an exponential moving average of the trained weights; it is what is validated and exported.

    It is kept in float32 at least, and, where the weights are sharded, in the same shards. Early on it is
    shorter, ``min(decay, (1 + n) / (10 + n))`` at step n, so that it does not hold on to the random start.

    Lightning's own is `lightning.pytorch.callbacks.EMAWeightAveraging`, a `WeightAveraging`. This one stands
    beside it because (in Lightning 2.6) that one

    - does not work where weights are sharded (it says so itself), and builds the model a second time;
    - averages the whole Lightning module, so a tokenizer's discriminator too, in the weights' own precision,
      in which bfloat16 rounds the small changes of an average away;
    - has a constant decay;
    - leaves the averaged weights in the module when training ends, which the run's last checkpoint, saved
      after that, would hold in place of the trained ones: a run that is made longer would go on from these.
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


def _accumulator(value: Tensor) -> Tensor:
    """A copy with room for small changes: float32 where the weights have less."""
    value = value.detach().clone()
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
