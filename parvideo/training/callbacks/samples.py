"""Views of a generator in training: the loss at each step of its order, and clips it generates."""

import csv
from pathlib import Path

import lightning
from lightning.pytorch.utilities import rank_zero_only

from parvideo.files import atomic_path
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import load_tokenizer
from parvideo.sampling import SamplingConfig
from parvideo.training.generator import GeneratorModule
from parvideo.training.media import add_clips, add_scalar, takes_media

FOLDER = "step_losses"
_PARTS = 8


class StepLosses(lightning.Callback):
    """Writes the held-out loss of every step of the order, ``step_losses/00001000.csv`` for step 1000.

    TensorBoard and wandb get the means over eight stretches of the order, as curves. A run that resumes
    writes the same files again.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write, except after the sanity check."""
        if isinstance(pl_module, GeneratorModule) and not (trainer.sanity_checking or trainer.fast_dev_run):  # type: ignore[attr-defined]
            self._write(trainer, pl_module)

    @rank_zero_only
    def _write(self, trainer: lightning.Trainer, module: GeneratorModule) -> None:
        losses = module.step_losses.tolist()
        with (
            atomic_path(self.folder / f"{trainer.global_step:08d}.csv") as temporary,
            temporary.open("w", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["step", "tokens", "loss"])
            slots = module.orders[0].step_slots
            writer.writerows((step, len(slots[step]), loss) for step, loss in enumerate(losses))
        parts = module.step_losses.float().cpu().tensor_split(min(_PARTS, len(losses)))
        first = 0
        for part in parts:
            name = f"val_steps/{first:04d}-{first + len(part) - 1:04d}"
            add_scalar(module.loggers, name, float(part.mean()), trainer.global_step)
            first += len(part)


class SampleClips(lightning.Callback):
    """Shows clips of the first classes in the logs, made with the weights that are validated.

    The random numbers are keyed by ``seed`` and the clip, so one clip is seen to improve; training's own
    are not touched.
    """

    def __init__(self, every: int = 1, count: int = 4, guidance_scale: float = 1.0, seed: int = 0) -> None:
        """Describe what to generate.

        Args:
            every: validations from one showing to the next.
            count: clips, of as many classes.
            guidance_scale: of classifier-free guidance; 1 is off.
            seed: of the random numbers.

        Raises:
            ValueError: if a number is not positive.
        """
        if every < 1 or count < 1:
            raise ValueError(f"every is {every} and count {count}; both must be 1 or more")
        self.every, self.count = every, count
        self.config = SamplingConfig(guidance_scale=guidance_scale, seed=seed)
        self._validations = 0

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """See that somebody will show the clips.

        Raises:
            ValueError: if no logger does.
        """
        del pl_module, stage
        if trainer.loggers and not any(map(takes_media, trainer.loggers)):
            names = ", ".join(type(logger).__name__ for logger in trainer.loggers)
            raise ValueError(
                f"sample_every is {self.every}, and no logger of this run shows clips ({names}): leave "
                "--tensorboard on, or give --wandb offline"
            )

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Generate, if it is time; here the averaged weights are in place."""
        if trainer.sanity_checking or not isinstance(pl_module, GeneratorModule):
            return
        self._validations += 1
        if self._validations % self.every == 0:
            self._show(trainer, pl_module)

    def state_dict(self) -> dict[str, int]:
        """How many validations there were."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._validations = state_dict["validations"]

    @rank_zero_only
    def _show(self, trainer: lightning.Trainer, module: GeneratorModule) -> None:
        spec = module.spec
        training = module.transformer.training
        pipeline = VideoPipeline(
            load_tokenizer(spec.tokenizer, module.device),
            module.transformer,
            spec.class_names,
            orders=module.orders,
        )
        chosen = spec.class_names[: self.count]
        clips = pipeline.generate(chosen, seed=self.config.seed, config=self.config)
        module.transformer.train(training)
        add_clips(module.loggers, "val/generated", clips, trainer.global_step)
