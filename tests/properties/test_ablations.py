"""Each of the paper's ablations is one line of YAML on top of a generator, and trains."""

from pathlib import Path

import pytest
import torch
import yaml

from parvideo.files import config_folder
from parvideo.order import OrderSpec
from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.sampling import generate
from parvideo.training.cli import fit
from parvideo.training.loggers import read_metrics

ABLATIONS = {
    "adjacent": OrderSpec(regions=(1, 2, 2), grouping="adjacent"),
    "initial_parallel": OrderSpec(regions=(1, 2, 2), initial="parallel"),
    "causal_groups": OrderSpec(regions=(1, 2, 2), attention="causal"),
    "no_transition": OrderSpec(regions=(1, 2, 2), transition="repeat"),
}


def test_every_ablation_on_disk_is_tested() -> None:
    folder = config_folder() / "generator" / "ablations"
    assert {path.stem for path in folder.glob("*.yaml")} == set(ABLATIONS)
    for path in folder.glob("*.yaml"):
        settings = [line for line in path.read_text().splitlines() if line.startswith("      ")]
        assert len(settings) == 1


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_trains_from_its_yaml(name: str, tokens_folder: Path, tmp_path: Path) -> None:
    configs = config_folder()
    fit(
        [
            *("--config", str(configs / "generator" / "ucf101_1x2x2.yaml")),
            *("--config", str(configs / "generator" / "ablations" / f"{name}.yaml")),
            *("--model.dim=16", "--model.num_layers=1", "--model.num_heads=2", "--model.lr=0.01"),
            *("--model.warmup_steps=0", f"--data.tokens={tokens_folder}", "--data.num_workers=0"),
            *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=12"),
            *("--trainer.log_every_n_steps=1", "--trainer.val_check_interval=12", f"--out={tmp_path}"),
        ]
    )
    # The tokens' grid is too small to tell adjacent from distant, so look at what was asked for, too.
    asked = yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["init_args"]["order"]
    assert OrderSpec(**{**asked, "regions": tuple(asked["regions"])}) == ABLATIONS[name]
    transformer, (order,) = load_transformer(tmp_path), load_orders(tmp_path)
    assert order.spec == ABLATIONS[name]
    assert order == ABLATIONS[name].build((2, 2, 2))
    losses = [loss for _, loss in read_metrics(tmp_path)["train/loss"]]
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
    assert generate(transformer, order, torch.tensor([0, 1])).shape == (2, 2, 2, 2)
