"""A small generator, built, and a trainer's place in a run, for tests of single hooks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parvideo.order import OrderSpec
from parvideo.training.data import TokenDataModule
from parvideo.training.generator import GeneratorModule


def make_module(tokens: Path) -> GeneratorModule:
    data = TokenDataModule(tokens, batch_size=4)
    data.setup("fit")
    module = GeneratorModule(order=OrderSpec((1, 2, 2)), dim=16, num_layers=1, num_heads=2)
    module.build(data.spec)
    return module


def trainer_at(step: int) -> Any:
    return SimpleNamespace(global_step=step, is_global_zero=True, global_rank=0, sanity_checking=False)
