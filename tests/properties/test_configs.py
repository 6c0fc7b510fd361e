"""Every YAML under configs/ is parsed and instantiated, with the recipes it claims."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from parvideo.cli import main
from parvideo.demo.steps import ORDERS
from parvideo.files import config_folder
from parvideo.order import OrderSpec
from parvideo.training.cli import FitCLI
from parvideo.training.data import ClipDataModule, TokenDataModule, TokenSpec
from parvideo.training.generator import GeneratorModule
from parvideo.training.tokenizer import TokenizerModule

CONFIGS = config_folder()
# On top of others: what they change has to be put on something.
OVERLAYS = {"demo/smoke.yaml": "demo/generator.yaml", "trainer/cpu.yaml": "demo/generator.yaml"}
OVERLAYS |= {f"trainer/{name}.yaml": "generator/ucf101_1x2x2.yaml" for name in ("gpus", "fsdp")}
OVERLAYS |= {
    "trainer/rfvd.yaml": "tokenizer/ucf101_64.yaml",
    "ucf101_six/tokenizer_light.yaml": "ucf101_six/tokenizer_base.yaml",
    "ucf101_six/decoder_adversary.yaml": "ucf101_six/decoder.yaml",
}
OVERLAYS |= {
    f"generator/ablations/{path.name}": "generator/ucf101_1x2x2.yaml"
    for path in (CONFIGS / "generator" / "ablations").glob("*.yaml")
}
OVERLAYS |= {
    f"generator/orders/{path.name}": "generator/ucf101_1x2x2.yaml"
    for path in (CONFIGS / "generator" / "orders").glob("*.yaml")
}
STUDIES = {
    "order_study/reduced.yaml",
    "order_study/full.yaml",
    "order_study/sharper.yaml",
}  # of tools/order_study/__main__.py, see tests/tools/test_study.py
NAMES = sorted({str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")} - STUDIES)


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
    module.build(TokenSpec((5, 16, 16), 64, [str(i) for i in range(101)], tmp_path))
    assert [order.steps for order in module.orders] == [steps]
    assert f"{steps} steps" in (CONFIGS / file).read_text()


def test_the_demos_transformer_learns_the_orders_that_the_demo_shows() -> None:
    model = yaml.safe_load((CONFIGS / "demo/generator.yaml").read_text())["model"]["init_args"]
    learned = [OrderSpec(**order).name for order in (model["order"], *model["more_orders"])]
    assert learned == list(ORDERS.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_class_path_is_a_public_name(name: str) -> None:
    for path in re.findall(r"class_path: (\S+)", (CONFIGS / name).read_text()):
        package, public, *_ = re.split(r"\.(?=[A-Z])", path, maxsplit=1)
        public = public.split(".")[0]  # a class, or a way to make one
        assert package in ("parvideo.training", "parvideo.tokenizer"), path
        module = importlib.import_module(package)
        assert public in module.__all__, path
        assert public in dir(module), path
        assert isinstance(getattr(module, public), type), path


def test_the_doors_of_training_lead_to_classes_and_importing_them_is_cheap() -> None:
    code = "import sys, parvideo.training; print(sorted({'torch', 'lightning'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    module = importlib.import_module("parvideo.training")
    assert {getattr(module, name).__name__ for name in module.__all__} == set(module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = module.Nothing


def test_a_class_path_of_an_earlier_version_is_told_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "demo" / "generator.yaml").read_text()
    old = text.replace("parvideo.training.Gen", "parvideo.training.generator_module.Gen")
    assert old != text
    (tmp_path / "old.yaml").write_text(old)
    assert main(["fit", "--config", str(tmp_path / "old.yaml"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "no parvideo.training.generator_module any more: write parvideo.training.GeneratorModule" in said
