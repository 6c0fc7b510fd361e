"""The converter gives the same network under our names, and writes nothing where it cannot show that."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.state_dicts import read_state

TOOL = Path(__file__).parents[2] / "tools" / "convert" / "i3d.py"
BACK = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_i3d", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def port_name(key: str) -> str:
    """Our name as the PyTorch port behind the TorchScript file spells it."""
    key = key.replace("Mixed", "mixed").replace("Conv3d_", "conv3d_").replace(".bn.", ".batch3d.")
    for own, other in {**BACK, "b3b": "branch_3.1"}.items():
        key = key.replace(f".{own}.", f".{other}.")
    return key.replace("logits.", "conv3d_0c_1x1.")


def test_names_of_the_port_become_ours(tool: ModuleType) -> None:
    state = InceptionI3d().state_dict()
    assert all(tool.rename(key) == key for key in state)
    ported = {port_name(key): value for key, value in state.items()}
    assert sum(a != b for a, b in zip(ported, state, strict=True)) == 344
    converted = tool.convert(ported)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], value) for key, value in state.items())


def test_refuses_what_is_no_i3d(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="unknown"):
        tool.convert({"fc.weight": torch.zeros(3)})


class _AsScript(nn.Module):
    """A network with the signature of the TorchScript file."""

    def __init__(self, network: InceptionI3d) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        return self.network(x)


def test_finds_the_epsilon_or_refuses(tool: ModuleType) -> None:
    network = InceptionI3d(bn_eps=1e-3).eval()
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.fill_(0.01)  # small enough for the epsilon to matter
    eps, error = tool.find_bn_eps(network.state_dict(), _AsScript(network))
    assert (eps, error) == (1e-3, 0.0)
    other = {key: value * 2 for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="logits differ"):
        tool.find_bn_eps(other, _AsScript(network))


def test_converts_a_state_dict_file(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = InceptionI3d().state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "i3d.pt")
    tool.main(tmp_path / "i3d.pt", tmp_path / "i3d.safetensors")
    assert "344 tensors" in capsys.readouterr().out
    assert read_state(tmp_path / "i3d.safetensors").keys() == state.keys()
    with pytest.raises(ValueError, match=r"\.safetensors"):
        tool.main(tmp_path / "i3d.pt", tmp_path / "i3d.bin")
