"""Networks that users bring, and the Inception Score of their logits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parvideo.metrics.extractors.i3d import FeatureExtractor
from parvideo.metrics.extractors.torchscript import ScriptedExtractor

CONFIG: dict[str, Any] = {
    "kind": "parvideo-scripted-features",
    "name": "mean of channels",
    "dim": 3,
    "min_frames": 4,
    "size": 8,
    "mean": [0.5, 0.5, 0.0],
    "std": [0.5, 0.25, 1.0],
    "logits": True,
}
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[3] == 8
        return x.mean((2, 3, 4))


def write(folder: Path, **changes: Any) -> Path:
    torch.jit.save(torch.jit.script(_Mean()), folder / "network.pt")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return folder


def test_network_sees_normalised_resized_clips(tmp_path: Path) -> None:
    extractor = ScriptedExtractor(write(tmp_path))
    clips = torch.zeros(2, 4, 16, 16, 3, dtype=torch.uint8)
    clips[1] = 255
    assert isinstance(extractor, FeatureExtractor)
    assert extractor.train()(clips).tolist() == [[-1, -2, 0], [1, 2, 1]]
    assert "not comparable" in extractor.comparability
    with pytest.raises(ValueError, match="3 frames"):
        extractor(clips[:, :3])


def test_fingerprint_holds_the_configuration(tmp_path: Path) -> None:
    first = ScriptedExtractor(write(tmp_path)).fingerprint
    assert ScriptedExtractor(tmp_path).fingerprint == first
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "size": 9}))
    assert ScriptedExtractor(tmp_path).fingerprint != first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "x"}, "does not describe"),
        ({"extra": 1}, "unknown.*extra"),
        ({"dim": "3"}, "dim is '3'"),
        ({"std": [1.0]}, "three numbers"),
    ],
)
def test_refuses_other_configurations(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScriptedExtractor(write(tmp_path, **changes))


def test_refuses_another_width_and_another_file(tmp_path: Path) -> None:
    wrong = ScriptedExtractor(write(tmp_path, dim=5))
    with pytest.raises(ValueError, match=r"expected \[1, 5\]"):
        wrong(torch.zeros(1, 4, 8, 8, 3, dtype=torch.uint8))
    torch.save({"a": torch.zeros(1)}, tmp_path / "network.pt")
    with pytest.raises(ValueError, match="no TorchScript"):
        ScriptedExtractor(tmp_path)
