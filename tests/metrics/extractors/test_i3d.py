"""Weights are found out by looking, checked before use, and a feature network neither learns nor changes."""

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from parvideo.metrics.extractors import i3d as extractors
from parvideo.metrics.extractors.i3d import FeatureExtractor, I3DExtractor
from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.state_dicts import read_state, weights_kind

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", "ignore:Detected pickle:UserWarning"
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return InceptionI3d().state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Tensor]) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(state, folder / "plain.bin")
    save_file(state, folder / "weights.bin")
    return folder


class _Scripted(nn.Module):
    """Stands for the published TorchScript file: its signature, and features that tell what came in."""

    def forward(
        self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        assert return_features
        assert not rescale
        assert not resize
        return torch.zeros(x.shape[0], 400) + x.mean((1, 2, 3, 4))[:, None]


def test_kinds_are_told_by_content(folder: Path, state: dict[str, Tensor]) -> None:
    torch.jit.save(torch.jit.script(_Scripted()), folder / "script.bin")
    torch.save({"state_dict": state}, folder / "wrapped.bin", _use_new_zipfile_serialization=False)
    assert weights_kind(folder / "plain.bin") == "state_dict"
    assert weights_kind(folder / "weights.bin") == "safetensors"
    assert weights_kind(folder / "script.bin") == "torchscript"
    assert weights_kind(folder / "wrapped.bin") == "state_dict"
    for name in ("plain.bin", "weights.bin", "wrapped.bin"):
        read = read_state(folder / name)
        assert all(torch.equal(read[key], value) for key, value in state.items())
    with pytest.raises(ValueError, match="tools.convert.i3d"):
        read_state(folder / "script.bin")


def test_torchscript_sees_the_scaled_and_resized_clip(folder: Path) -> None:
    torch.jit.save(torch.jit.script(_Scripted()), folder / "script2.bin")
    extractor = I3DExtractor(folder / "script2.bin")
    clips = torch.full((2, 9, 16, 16, 3), 255, dtype=torch.uint8)
    clips[1] = 0
    features = extractor(clips)
    assert features.shape == (2, 400)
    assert features[:, 0].tolist() == [1.0, -1.0]
    with pytest.raises(ValueError, match="logits only"):
        I3DExtractor(folder / "script2.bin", tap="pooled")


def test_state_dict_and_safetensors_give_equal_features(folder: Path) -> None:
    clips = torch.randint(0, 256, (1, 9, 64, 64, 3), dtype=torch.uint8)
    first, second = I3DExtractor(folder / "plain.bin"), I3DExtractor(folder / "weights.bin")
    assert isinstance(first, FeatureExtractor)
    features = first(clips)
    assert features.shape == (1, 400)
    assert torch.equal(features, second(clips))
    first.train()  # would let dropout and batch statistics change the features
    assert not first.network.training


def test_fingerprint_tells_weights_and_preprocessing(folder: Path) -> None:
    path = folder / "weights.bin"
    variants = [
        I3DExtractor(path),
        I3DExtractor(path, tap="pooled"),
        I3DExtractor(path, resize_how="tf1"),
        I3DExtractor(path, bn_eps=1e-3),
        I3DExtractor(folder / "plain.bin"),
    ]
    assert len({extractor.fingerprint for extractor in variants}) == 5
    assert variants[0].fingerprint == I3DExtractor(path).fingerprint


@pytest.mark.parametrize("name", ["plain.bin", "weights.bin"])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_refused(folder: Path, tmp_path: Path, name: str, part: float) -> None:
    whole = (folder / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match="cut off|damaged|neither"):
        I3DExtractor(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Harm()))
    torch.save({"weight": Harm()}, tmp_path / "zip.pt")
    for name in ("plain.pkl", "zip.pt"):
        with pytest.raises(ValueError, match="refused"):
            I3DExtractor(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a web page that says: not found\n" * 20)
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(OrderedDict(weight=torch.zeros(1)), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="neither safetensors"):
        I3DExtractor(tmp_path / "text")
    with pytest.raises(ValueError, match="no state dict"):
        I3DExtractor(tmp_path / "list.pt")
    with pytest.raises(ValueError, match="missing"):
        I3DExtractor(tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="absent"):
        I3DExtractor(tmp_path / "absent")


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(1, 8, 16, 16, 3, dtype=torch.uint8), "8 frames"),
        (torch.zeros(1, 9, 16, 16, 3), "uint8"),
        (torch.zeros(9, 16, 16, 3, dtype=torch.uint8), r"\[B, T, H, W, 3\]"),
    ],
)
def test_refuses_other_clips(folder: Path, clips: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractors.check_batch(clips, 9)


def test_features_are_float32_within_autocast_and_beside_tf32(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN takes TF32 for convolutions unless it is told not to, and training runs under autocast."""
    seen: list[tuple[bool, bool]] = []

    def taps(self: InceptionI3d, clips: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((torch.is_autocast_enabled("cpu"), torch.backends.cudnn.allow_tf32))
        return torch.zeros(len(clips), 1024), clips.mean((1, 2, 3, 4))[:, None] @ torch.ones(1, 400)

    monkeypatch.setattr(InceptionI3d, "taps", taps)
    extractor, clips = (
        I3DExtractor(folder / "plain.bin"),
        torch.randint(256, (1, 9, 8, 8, 3), dtype=torch.uint8),
    )
    expected, before = extractor(clips), torch.backends.cudnn.allow_tf32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extractor(clips), expected)
    assert seen == [(False, False)] * 2
    assert torch.backends.cudnn.allow_tf32 == before
