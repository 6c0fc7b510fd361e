"""The configs meant for GPUs: what they take fits, and nothing in them rules out a GPU's quick kernels."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from parvideo.files import config_folder
from parvideo.order import OrderSpec
from parvideo.training.cli import FitCLI
from parvideo.training.costs import RESERVED, TransformerCosts, training_bytes
from parvideo.training.generator import GeneratorModule

CONFIGS = config_folder()
GENERATORS = ["ucf101_1x2x2", "ucf101_small_1x2x2", "imagenet_1x2x2"]
TOKENIZERS = ["ucf101_128", "ucf101_64", "imagenet_128"]


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return document


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generators_micro_batch_fits_what_it_is_meant_for(name: str) -> None:
    config = read(f"generator/{name}")
    settings = dict(config["model"]["init_args"])
    module = GeneratorModule(OrderSpec(**settings.pop("order")), **settings)
    costs = config.get("costs", {})
    grid, classes = tuple(costs.get("grid", (5, 16, 16))), costs.get("class_count", 101)
    with torch.device("meta"):
        transformer = module.make_transformer(grid, 64000, classes)
    of = TransformerCosts.of(transformer.config, module.order_specs[0].build(grid))
    devices, memory = (1, 24e9) if name == "ucf101_small_1x2x2" else (8, 80e9)
    batch, at_once = config["global_batch"], config["data"]["init_args"]["batch_size"]
    checkpointing = settings.get("gradient_checkpointing", False)
    taken = training_bytes(of, at_once, True, checkpointing, True, devices)
    assert taken < memory * (1 - RESERVED)
    assert batch % (at_once * devices) == 0
    # The test would tell: four times the batch is what the largest of them could not hold.
    if name == "ucf101_1x2x2":
        assert training_bytes(of, 4 * at_once, True, checkpointing, True, devices) > memory


@pytest.mark.parametrize("name", [f"generator/{name}" for name in GENERATORS])
def test_a_generator_trains_in_bfloat16_compiled_and_without_dropout_on_attention(name: str) -> None:
    config = read(name)
    assert config["trainer"]["precision"] == "bf16-mixed"
    assert config["compile"] == "inductor"
    assert config["model"]["init_args"]["attention_dropout"] == 0.0
    assert config["trainer"]["gradient_clip_val"] == 1.0  # which fused AdamW keeps to: test_precision.py


@pytest.mark.parametrize("name", [f"tokenizer/{name}" for name in TOKENIZERS])
def test_a_tokenizer_trains_in_bfloat16(name: str) -> None:
    assert read(name)["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize("more", [[], ["--exact_float32=true", "--trainer.benchmark=false"]])
def test_settings_for_cuda_reach_the_run(tmp_path: Path, more: list[str]) -> None:
    from parvideo.training.callbacks.cuda import CudaSettings

    configs = [f"--config={CONFIGS / name}" for name in ("tokenizer/ucf101_64.yaml", "trainer/cpu.yaml")]
    run = FitCLI([*configs, f"--out={tmp_path}", *more])
    (callback,) = [each for each in run.trainer.callbacks if isinstance(each, CudaSettings)]  # type: ignore[attr-defined]
    assert (callback.tf32, callback.benchmark) == ((False, False) if more else (True, True))


def test_on_a_cpu_nothing_is_compiled_or_rounded(tmp_path: Path) -> None:
    configs = [f"--config={CONFIGS / name}" for name in ("generator/ucf101_1x2x2.yaml", "trainer/cpu.yaml")]
    run = FitCLI([*configs, f"--out={tmp_path}"])
    assert (run.config["compile"], run.trainer.precision) == (None, "32-true")


def test_the_readmes_training_takes_views_flips_and_the_papers_guidance() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    text = readme.partition("\n## Train on UCF-101\n")[2].partition("\n## ")[0]
    (tokenize,) = [line for line in text.splitlines() if line.startswith("parvideo tokenize ")]
    assert "--views 32" in tokenize
    assert "--flip" in tokenize
    for command in ("sample", "evaluate"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"parvideo {command} ")]
        assert "--guidance-scale 1.15" in line
        assert "--top-k 8000" in line
