import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from parvideo.metrics import FrechetVideoDistance
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import load_tokenizer, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.tokenizer.presets import PRESETS
from parvideo.training.adversary import Adversary
from parvideo.training.callbacks.rfvd import ReconstructionFVD
from parvideo.training.callbacks.throughput import Throughput
from parvideo.training.tokenizer import TokenizerModule


class Clips(Dataset[dict[str, Any]]):
    """Squares that move, drawn from the index alone."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = torch.full((5, 16, 16, 3), 40, dtype=torch.uint8)
        for frame in range(5):
            left = (index + 2 * frame) % 10
            clip[frame, 4:9, left : left + 6, index % 3] = 220
        return {"clip": clip, "label": index % 4, "id": str(index)}


def loader() -> DataLoader[dict[str, Any]]:
    return DataLoader(Clips(), batch_size=4)


def module(**settings: Any) -> TokenizerModule:
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(**PRESETS["tiny"] | {"channels": 16, "norm_groups": 4})
    return TokenizerModule(tokenizer, **{"lr": 3e-3, "warmup_steps": 2} | settings)


def adversary(**settings: Any) -> Adversary:
    torch.manual_seed(1)
    discriminator = ClipDiscriminator(channels=8, num_layers=2, norm_groups=4, frames=2)
    return Adversary(discriminator, **{"start": 2, "warmup_steps": 2, "ramp_steps": 2} | settings)


def trainer(folder: Path, steps: int, **settings: Any) -> lightning.Trainer:
    return lightning.Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_steps": steps,
            "max_epochs": -1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "limit_val_batches": 2,
            "num_sanity_val_steps": 0,
        }
        | settings
    )


def test_hard_clips_count_by_their_error() -> None:
    clips = torch.zeros(2, 3, 5, 16, 16)
    made = clips.clone()
    made[0] += 0.1  # MSE 0.01
    made[1] += 0.2  # MSE 0.04
    made.requires_grad_()
    plain, figures = module(l1_weight=0.0).pixel_loss(made, clips)
    assert plain.item() == figures["mse"].item() == pytest.approx(0.025)
    for power, weights in ((1.0, (0.4, 1.6)), (2.0, (2 / 17, 32 / 17))):
        loss, figures = module(l1_weight=0.0, hard_clips=power).pixel_loss(made, clips)
        assert figures["mse"].item() == pytest.approx(0.025)  # what is logged is not weighted
        assert loss.item() == pytest.approx((0.01 * weights[0] + 0.04 * weights[1]) / 2)
        (gradient,) = torch.autograd.grad(loss, made)  # the weights are constants to it
        assert gradient[0, 0, 0, 0, 0].item() == pytest.approx(weights[0] * 0.1 / made[0].numel())
    loss, _ = module(hard_clips=1.0).pixel_loss(clips, clips)
    assert loss.item() == 0


def test_motion_share_gives_weight_to_what_moves() -> None:
    clips = torch.zeros(2, 3, 5, 16, 16)
    clips[0, :, 2:, 4:8, 4:8] = 1.0  # appears in frame 2: frames 1 and 2 differ there
    missed, elsewhere = clips.clone(), clips.clone()
    missed[0, :, 2, 4:8, 4:8] = 0.9
    elsewhere[0, :, 2, 10:14, 10:14] = 0.1  # the same error where nothing moves

    def loss(share: float, made: torch.Tensor) -> float:
        value, figures = module(motion_share=share).pixel_loss(made, clips)
        assert figures["mse"].item() == pytest.approx(figures["l1"].item() * 0.1)  # logged without weights
        return value.item()

    assert loss(0.0, missed) == pytest.approx(loss(0.0, elsewhere))
    assert loss(0.5, missed) > 10 * loss(0.5, elsewhere)
    assert loss(1.0, missed) > loss(0.5, missed) > loss(0.0, missed)
    still = clips.clone()
    still[1] += 0.1  # of a clip that stands still every pixel counts alike
    assert loss(1.0, still) == pytest.approx(loss(0.0, still))
    with pytest.raises(ValueError, match=r"motion_share must be in \[0, 1\], got 1.5"):
        module(motion_share=1.5)


def test_training_lowers_the_loss_and_logs_the_figures(tmp_path: Path) -> None:
    run = trainer(tmp_path, 40, logger=CSVLogger(tmp_path), log_every_n_steps=1, val_check_interval=10)
    run.fit(module(), loader(), loader())
    figures = run.callback_metrics
    assert {
        "val/psnr", "val/psnr_copy_first", "val/psnr_first", "val/ssim", "val/usage", "val/perplexity",
        "val/psnr_t0", "val/psnr_t1", "val/psnr_t2", "val/psnr_t3", "val/motion_l1", "val/motion_ratio",
        "train/loss", "train/l1", "train/mse", "train/aux_loss",
    } <= set(figures)  # fmt: skip
    assert figures["val/psnr"] > 12
    assert figures["train/loss"] < 0.5


def test_the_trainer_counts_batches_also_with_a_discriminator(tmp_path: Path) -> None:
    model = module(adversary=adversary(skip_below=0.0))
    before = [parameter.detach().clone() for parameter in model.adversary.discriminator.parameters()]  # type: ignore[union-attr]
    run = trainer(tmp_path, 8)
    run.fit(model, loader(), loader())
    assert run.global_step == 8
    assert run.fit_loop.total_batch_idx == 7
    main, other = (optimizer.optimizer for optimizer in model.optimizers())  # type: ignore[union-attr]
    steps = lambda optimizer: {int(state["step"]) for state in optimizer.state.values()}  # noqa: E731
    assert steps(main) == {8}
    assert steps(other) == {6}  # steps 2..7
    after = list(model.adversary.discriminator.parameters())  # type: ignore[union-attr]
    assert any(not torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert {"train/discriminator_hinge", "train/discriminator_lecam", "train/adversarial"} <= set(
        run.callback_metrics
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_decoder_alone_learns_while_tokens_stay(tmp_path: Path, precision: str) -> None:
    folder = tmp_path / "model"
    save_tokenizer(folder, module().tokenizer)
    start = load_tokenizer(folder)
    torch.manual_seed(5)
    model = TokenizerModule(
        CausalVideoTokenizer(**start.config), lr=3e-3, warmup_steps=2, init_from=folder, decoder_only=True
    )
    clips = to_float(torch.stack([loader().dataset[i]["clip"] for i in range(8)]))
    trainer(tmp_path, 12, precision=precision, val_check_interval=4).fit(model, loader(), loader())
    trained = model.tokenizer.eval()
    assert torch.equal(trained.encode(clips), start.encode(clips))
    for name, value in start.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]) != name.startswith("decoder."), name
    error = [(net.decode(net.encode(clips)) - clips).square().mean() for net in (start, trained)]
    assert error[1] < 0.7 * error[0]


def test_a_decoder_alone_needs_an_encoder() -> None:
    with pytest.raises(ValueError, match="decoder_only .* give init_from too"):
        module(decoder_only=True)
    with pytest.raises(ValueError, match=r"image_ratio must be 0 with decoder_only, got 0\.5"):
        module(decoder_only=True, init_from=Path("somewhere"), image_ratio=0.5)


def test_a_discriminator_that_wins_takes_no_step(tmp_path: Path) -> None:
    model = module(adversary=adversary(skip_below=1e9, start=0))
    trainer(tmp_path, 3).fit(model, loader(), loader())
    _, other = model.optimizers()  # type: ignore[misc]
    assert not other.optimizer.state


@pytest.mark.parametrize("others", [0.0, 1e9])
def test_the_discriminator_steps_by_the_loss_of_all_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: float
) -> None:
    """Its own loss lies on the other side of the bound: a device must not go by it."""
    run = trainer(tmp_path, 2)
    monkeypatch.setattr(run.strategy, "reduce", lambda value, reduce_op: torch.full_like(value, others))
    model = module(adversary=adversary(skip_below=1e6 if others else 1e-6, start=0))
    run.fit(model, loader(), loader())
    _, other = model.optimizers()  # type: ignore[misc]
    assert bool(other.optimizer.state) == bool(others)


def test_before_its_weight_rises_the_adversary_changes_nothing(tmp_path: Path) -> None:
    alone, adversarial = module(), module(adversary=adversary(start=0, warmup_steps=100))
    for model in (alone, adversarial):
        trainer(tmp_path, 4).fit(model, loader(), loader())
    for one, two in zip(alone.tokenizer.parameters(), adversarial.tokenizer.parameters(), strict=True):
        assert torch.equal(one, two)
    ramped = module(adversary=adversary(start=0, warmup_steps=0, weight=1.0))
    trainer(tmp_path, 4).fit(ramped, loader(), loader())
    pairs = zip(alone.tokenizer.parameters(), ramped.tokenizer.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, adversarial: bool) -> None:
    def settings() -> dict[str, Any]:
        opponent = adversary(start=0, warmup_steps=1) if adversarial else None
        return {"adversary": opponent, "image_ratio": 0.5, "max_steps": 6}

    whole, half = module(**settings()), module(**settings())
    trainer(tmp_path, 6, limit_train_batches=3).fit(whole, loader(), loader())
    run = trainer(
        tmp_path, 3, limit_train_batches=3, enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path)]
    )
    run.fit(half, loader(), loader())
    again = module(**settings())
    checkpoint = next(tmp_path.glob("*.ckpt"))
    trainer(tmp_path, 6, limit_train_batches=3).fit(again, loader(), loader(), ckpt_path=checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_averaged_weights_by_lightnings_callback(tmp_path: Path) -> None:
    plain, averaged = module(adversary=adversary()), module(adversary=adversary())
    trainer(tmp_path, 6).fit(plain, loader(), loader())
    trainer(tmp_path, 6, callbacks=[EMAWeightAveraging(decay=0.9)]).fit(averaged, loader(), loader())
    pairs = list(zip(plain.tokenizer.parameters(), averaged.tokenizer.parameters(), strict=True))
    assert any(not torch.equal(one, two) for one, two in pairs)
    assert all(torch.isfinite(two).all() for _, two in pairs)


def test_images_are_frames_of_the_clips() -> None:
    model = module()
    clips = torch.randn(2, 3, 9, 16, 16)
    images = model.images(clips, torch.Generator().manual_seed(0))
    assert images.shape == (6, 3, 1, 16, 16)  # as many frames as the clip has latent frames
    for index, image in enumerate(images):
        owner = clips[index // 3]
        assert any(torch.equal(image[:, 0], owner[:, frame]) for frame in range(9))


def test_gradients_are_clipped(tmp_path: Path) -> None:
    model = module(clip_gradients=1e-3, betas=(0.0, 0.0))
    norms = []
    model.on_before_optimizer_step = lambda optimizer: norms.append(  # type: ignore[method-assign]
        math.sqrt(
            sum(float(p.grad.square().sum()) for p in model.tokenizer.parameters() if p.grad is not None)
        )
    )
    run = trainer(tmp_path, 3, callbacks=[Throughput()], log_every_n_steps=1)
    run.fit(model, loader(), loader())
    assert len(norms) == 3
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)
    assert run.callback_metrics["train/grad_norm"] > 0.01  # what is logged is the norm before


def test_an_adversary_trains_in_bf16(tmp_path: Path) -> None:
    model = module(adversary=adversary(start=0, warmup_steps=0))
    run = trainer(tmp_path, 3, precision="bf16-mixed")
    run.fit(model, loader(), loader())
    assert torch.isfinite(run.callback_metrics["train/discriminator_lecam"])
    assert run.callback_metrics["train/discriminator_grad_norm"] > 0


def test_bf16_training_keeps_float32_ids_and_learns(tmp_path: Path) -> None:
    model = module()
    run = trainer(tmp_path, 6, precision="bf16-mixed", val_check_interval=6)
    run.fit(model, loader(), loader())
    assert torch.isfinite(run.callback_metrics["train/loss"])
    assert next(model.tokenizer.parameters()).dtype == torch.float32


def test_tensorboard_shows_clips_and_levels(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    trainer(tmp_path, 2, logger=[CSVLogger(tmp_path), logger], val_check_interval=2, log_every_n_steps=1).fit(
        module(), loader(), loader()
    )
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    (image,) = events.Images("val/real_and_reconstructed")
    assert image.encoded_image_string.startswith(b"GIF89a")
    assert (image.width, image.height) == (32, 64)  # real | reconstructed, 4 clips of 16x16 below each other
    assert {f"val/levels_{channel}" for channel in range(4)} <= set(events.Tags()["histograms"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"l1_weight": 0.0, "mse_weight": 0.0}, "l1_weight . mse_weight must be positive"),
        ({"image_ratio": 1.0}, r"image_ratio must be in \[0, 1\), got 1.0"),
        ({"clip_gradients": -1.0}, "clip_gradients must be 0 or more, got -1.0"),
        ({"perceptual_frames": 0}, "perceptual_frames must be at least 1, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(**settings)


class MeanColours:
    """An extractor small enough for a test: mean colours of the first and the last frame."""

    dim, min_frames, fingerprint, comparability = 6, 1, "mean colours", "compares with nothing"

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.cat([clips[:, frame].float().mean(dim=(1, 2)) for frame in (0, -1)], dim=1)


def test_rfvd_callback_scores_reconstructions(tmp_path: Path) -> None:
    model = module()
    run = trainer(tmp_path, 1, limit_val_batches=8, callbacks=[ReconstructionFVD(MeanColours())])
    (figures,) = run.validate(model, loader(), verbose=False)
    real, made = [], []
    with torch.no_grad():
        for batch in list(loader())[:8]:
            real.append(MeanColours()(batch["clip"]))
            made.append(MeanColours()(to_uint8(model.tokenizer(to_float(batch["clip"])).clips)))
    one, other = (torch.cat(part).double().numpy() for part in (real, made))
    expected = FrechetVideoDistance(6)
    keys = torch.arange(len(one))
    expected.update(torch.from_numpy(one), real=True, sample_id=keys)
    expected.update(torch.from_numpy(other), real=False, sample_id=keys)
    assert figures["val/rfvd"] == pytest.approx(float(expected.compute()), rel=1e-4)
