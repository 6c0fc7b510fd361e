"""The rFVD callback needs no settings where the I3D weights are, and names the command where they are not."""

from pathlib import Path

import pytest
import torch

from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.training.callbacks.rfvd import ReconstructionFVD


def test_without_weights_the_command_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="parvideo weights i3d"):
        ReconstructionFVD().setup(None, None, "fit")


def test_takes_the_cached_weights_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))
    torch.manual_seed(0)
    state = {k: v for k, v in InceptionI3d().state_dict().items() if not k.endswith("num_batches_tracked")}
    monkeypatch.setattr(i3d_weights, "TENSORS_SHA256", i3d_weights.tensors_sha256(state))
    i3d_weights.save(state, tmp_path / i3d_weights.FILENAME)
    callback = ReconstructionFVD()
    assert callback.extractor.dim == callback.distance.dim == 400
    assert callback.extractor.bn_eps == 1e-3
