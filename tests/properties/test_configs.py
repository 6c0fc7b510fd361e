"""Every YAML under configs/ is parsed and instantiated, with the recipes it claims."""

from pathlib import Path

import pytest

from parvideo.files import config_folder
from parvideo.training.cli import FitCLI
from parvideo.training.data import ClipDataModule, TokenDataModule, TokenSpec
from parvideo.training.generator import GeneratorModule
from parvideo.training.tokenizer import TokenizerModule

CONFIGS = config_folder()
# On top of others: what they change has to be put on something.
OVERLAYS = {"demo/smoke.yaml": "demo/par4x.yaml", "trainer/cpu.yaml": "demo/par4x.yaml"}
OVERLAYS |= {f"trainer/{name}.yaml": "generator/ucf101_1x2x2.yaml" for name in ("gpus", "fsdp")}
OVERLAYS |= {
    f"generator/ablations/{path.name}": "generator/ucf101_1x2x2.yaml"
    for path in (CONFIGS / "generator" / "ablations").glob("*.yaml")
}
OVERLAYS |= {
    f"generator/orders/{path.name}": "generator/ucf101_1x2x2.yaml"
    for path in (CONFIGS / "generator" / "orders").glob("*.yaml")
}
PLANS = {
    "order_study/reduced.yaml",
    "order_study/full.yaml",
}  # of tools/order_study/__main__.py, see tests/tools/test_study.py
NAMES = sorted({str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")} - PLANS)


def instantiate(name: str, out: Path, *more: str) -> FitCLI:
    configs = [CONFIGS / part for part in (OVERLAYS.get(name), name) if part]
    given = [word for config in configs for word in ("--config", str(config))]
    # This machine may have no GPU; what is tested is everything else.
    here = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
    length = ["--trainer.max_steps=10"] if "max_steps" not in "".join(c.read_text() for c in configs) else []
    return FitCLI([*given, *here, *length, "--out", str(out), *more])


@pytest.mark.parametrize("name", NAMES)
def test_it_instantiates(name: str, tmp_path: Path) -> None:
    run = instantiate(name, tmp_path)
    assert isinstance(run.model, TokenizerModule | GeneratorModule)
    expected = ClipDataModule if isinstance(run.model, TokenizerModule) else TokenDataModule
    assert isinstance(run.datamodule, expected)
    assert run.trainer.max_steps == run.model.max_steps


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("ucf101_1x2x2", 323),
        ("orders/1x1x1", 1280),
        ("orders/1x4x4", 95),
        ("orders/5x2x2", 83),
        ("orders/dyadic_64", 26),
    ],
)
def test_ucf101_generators_take_the_steps_they_state(name: str, steps: int, tmp_path: Path) -> None:
    file = f"generator/{name}.yaml"
    module = instantiate(file, tmp_path, "--model.dim=160", "--model.num_layers=1").model
    assert isinstance(module, GeneratorModule)
    module.build(TokenSpec((5, 16, 16), 64, [str(i) for i in range(101)], tmp_path, {}))
    assert [order.steps for order in module.orders] == [steps]
    assert f"{steps} steps" in (CONFIGS / file).read_text()


def test_the_demos_generators_differ_in_their_order_alone() -> None:
    one, four = ((CONFIGS / f"demo/par{n}x.yaml").read_text().splitlines()[1:] for n in (1, 4))
    different = [(a, b) for a, b in zip(one, four, strict=True) if a != b]
    assert different == [("      regions: [1, 1, 1]", "      regions: [1, 2, 2]")]
