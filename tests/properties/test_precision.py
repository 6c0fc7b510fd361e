"""Other arithmetic, the same training: bfloat16 and compiled runs go where float32 and eager ones do."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from parvideo.cli.export import export
from parvideo.order import regions
from parvideo.pipeline import VideoPipeline
from parvideo.training.checkpoints import FOLDER
from parvideo.training.cli import fit
from parvideo.training.loggers import read_metrics
from parvideo.transformer import VideoTransformer

STEPS = 12


def train(tokens: Path, out: Path, *more: str) -> dict[str, list[float]]:
    """Losses of a small run without dropout."""
    fit(
        [
            *("--model", "parvideo.training.GeneratorModule"),
            *("--data", "parvideo.training.TokenDataModule", f"--data.tokens={tokens}"),
            *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=3"),
            *("--model.num_heads=2", "--model.lr=0.01", "--model.warmup_steps=2", "--model.dropout=0"),
            *("--model.attention_dropout=0", "--model.label_dropout=0", "--data.batch_size=8"),
            *("--trainer.accelerator=cpu", "--trainer.devices=1", f"--trainer.max_steps={STEPS}"),
            *("--trainer.val_check_interval=6", "--trainer.log_every_n_steps=1"),
            *("--trainer.gradient_clip_val=1.0", "--ema_decay=0.9", f"--out={out}", *more),
        ]
    )
    curves = read_metrics(out)
    return {name: [value for _, value in curves[name]] for name in ("train/loss", "val/loss")}


@pytest.fixture(scope="module")
def plain(
    tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[float]]]:
    out = tmp_path_factory.mktemp("plain")
    losses = train(tokens_folder, out)
    assert losses["train/loss"][-1] < 0.7 * losses["train/loss"][0]
    return out, losses


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "weights.safetensors")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_bfloat16_trains_like_float32(
    plain: tuple[Path, dict[str, list[float]]], tokens_folder: Path, tmp_path: Path, precision: str
) -> None:
    losses = train(tokens_folder, tmp_path, f"--trainer.precision={precision}")
    for name, expected in plain[1].items():
        assert losses[name] != expected  # it is another arithmetic
        assert losses[name] == pytest.approx(expected, rel=0.02)
    checkpoint = torch.load(tmp_path / FOLDER / f"step-{STEPS:08d}.ckpt", weights_only=True)
    own = torch.float32 if precision == "bf16-mixed" else torch.bfloat16
    assert {value.dtype for value in checkpoint["state_dict"].values()} == {own}
    # A tenth of a small step is lost in bfloat16: the average has float32 all the same.
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.float32}
    export(tmp_path, tmp_path / "raw", weights="raw")
    pipeline = VideoPipeline.from_pretrained(tmp_path / "raw")
    assert {value.dtype for value in pipeline.transformer.parameters()} == {torch.float32}
    assert pipeline.generate([0]).shape == (1, 3, 4, 4, 3)


def test_positions_stay_exact_in_bfloat16(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parvideo.training.generator import GeneratorModule

    seen = []
    original = GeneratorModule.training_step

    def training_step(self: GeneratorModule, *given: object) -> torch.Tensor:
        layout = self.transformer.layout(self.orders[0])
        seen.append((layout.rotary.dtype, self.transformer.head.weight.dtype))
        return original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(GeneratorModule, "training_step", training_step)
    train(tokens_folder, tmp_path, "--trainer.precision=bf16-true")
    assert set(seen) == {(torch.float32, torch.bfloat16)}


def test_compiled_equals_eager(
    plain: tuple[Path, dict[str, list[float]]], tokens_folder: Path, tmp_path: Path
) -> None:
    """The whole way through Dynamo and autograd, without a compiler of C++."""
    torch._dynamo.reset()
    losses = train(tokens_folder, tmp_path, "--compile=aot_eager")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    for name, expected in plain[1].items():
        assert losses[name] == pytest.approx(expected, rel=1e-5)
    expected, got = weights(plain[0]), weights(tmp_path)
    assert got.keys() == expected.keys()
    assert not [name for name in got if "_orig_mod" in name]
    checkpoint = torch.load(tmp_path / FOLDER / f"step-{STEPS:08d}.ckpt", weights_only=True)
    assert {name.removeprefix("transformer.") for name in checkpoint["state_dict"]} == expected.keys()


def test_decoding_with_compiled_blocks_compiles_nothing() -> None:
    """A cache has other shapes at each step: it would be compiled until PyTorch gives up."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    order = regions((1, 4, 4), (1, 2, 2))
    model = VideoTransformer(order.grid, 9, 2, dim=16, num_layers=2, num_heads=2, num_transitions=3).eval()
    layout = model.layout(order)
    tokens, labels = torch.zeros(1, 16, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    expected = model(tokens, labels, layout)
    for block in model.blocks:
        block.compile(backend="eager")
    cache = model.make_cache(1)
    steps = [model(tokens, labels, layout, slots, cache) for slots in order.step_slots]
    assert torch.allclose(torch.cat(steps, dim=1), expected, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    model(tokens, labels, layout)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_fused_steps_clip_the_gradient_in_bf16(
    plain: tuple[Path, dict[str, list[float]]], tokens_folder: Path, tmp_path: Path
) -> None:
    mixed = "--trainer.precision=bf16-mixed"
    losses = train(tokens_folder, tmp_path / "fused", "--model.fused=true", mixed)
    assert losses["train/loss"] == pytest.approx(plain[1]["train/loss"], rel=0.02)
    tight = "--trainer.gradient_clip_val=1e-9"  # so that AdamW's epsilon holds the weights where they are
    held = train(tokens_folder, tmp_path / "held", "--model.fused=true", mixed, tight)
    assert held["train/loss"][-1] > 0.9 * held["train/loss"][0]
    path = tmp_path / "fused" / FOLDER / f"step-{STEPS:08d}.ckpt"
    groups = torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert {group["fused"] for group in groups} == {True}


def test_queries_keys_and_values_meet_in_one_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from parvideo.transformer import attention

    dtypes, attend = [], attention.attend

    def spy(*tensors: Any, **more: Any) -> torch.Tensor:
        dtypes.append([tensor.dtype for tensor in tensors[:3]])
        return attend(*tensors, **more)

    monkeypatch.setattr(attention, "attend", spy)
    order = regions((1, 4, 4), (1, 2, 2))
    model = VideoTransformer(
        order.grid,
        9,
        2,
        dim=16,
        num_layers=1,
        num_heads=2,
        qk_norm=True,
        num_transitions=order.num_transitions,
    )
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")  # PyTorch's, of a norm that cannot use its fused kernel
        tokens, labels = torch.zeros(1, 16, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        model(tokens, labels, model.layout(order))
    assert dtypes == [[torch.bfloat16] * 3]


def test_an_unknown_compiler_is_named(tokens_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compile is 'gcc'.*inductor"):
        train(tokens_folder, tmp_path, "--compile=gcc")


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["false", "true"])
def test_compiled_by_inductor_equals_eager(
    plain: tuple[Path, dict[str, list[float]]], tokens_folder: Path, tmp_path: Path, checkpointing: str
) -> None:
    if shutil.which("g++") is None:
        pytest.skip("Inductor needs g++ on a CPU, and there is none")
    torch._dynamo.reset()
    recompute = f"--model.gradient_checkpointing={checkpointing}"
    losses = train(tokens_folder, tmp_path, "--compile=inductor", recompute)
    for name, expected in plain[1].items():
        assert losses[name] == pytest.approx(expected, rel=1e-4)
    assert weights(tmp_path).keys() == weights(plain[0]).keys()
