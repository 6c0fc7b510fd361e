"""The model folder that a run leaves."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.training.checkpoints import FOLDER, read_model


def test_it_holds_the_averaged_weights_and_the_order(run: Path) -> None:
    model = read_model(run / FOLDER / "step-00000004.ckpt")
    assert model.average is not None
    written = load_file(run / "model" / "weights.safetensors")
    assert written.keys() == model.average.keys() == model.own.keys()
    assert all(torch.equal(value, model.average[name]) for name, value in written.items())
    assert any(not torch.equal(value, model.own[name]) for name, value in written.items())
    assert load_transformer(run / "model").num_classes == 2
    assert [order.spec.regions for order in load_orders(run / "model") if order.spec] == [(1, 2, 2)]
