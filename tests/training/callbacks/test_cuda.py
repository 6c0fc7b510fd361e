"""What is set for CUDA, on a machine that need not have it: settings and layouts can be seen without."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from parvideo.training.callbacks.cuda import CudaSettings, channels_last
from parvideo.training.tokenizer import TokenizerModule
from tests.world import make_tokenizer


def settings() -> tuple[str, bool, bool]:
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = settings()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def trainer(device: str) -> Any:
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))


def in_channels_last(network: nn.Module) -> bool:
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert kernels
    # A kernel of one place or one channel lies the same way in both.
    return all(kernel.is_contiguous(memory_format=torch.channels_last_3d) for kernel in kernels)


@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.parametrize("benchmark", [True, False])
def test_a_tokenizers_run_on_cuda_is_prepared_and_undone(tf32: bool, benchmark: bool) -> None:
    before, module = settings(), TokenizerModule(make_tokenizer((2,), (2,)))
    callback = CudaSettings(tf32, benchmark)
    callback.setup(trainer("cuda"), module, "fit")
    assert settings() == ("high" if tf32 else "highest", tf32, benchmark)
    assert in_channels_last(module.tokenizer)
    callback.teardown(trainer("cuda"), module, "fit")
    assert settings() == before


def test_a_generators_run_is_left_to_cudnns_habits() -> None:
    module: Any = nn.Module()
    benchmark = torch.backends.cudnn.benchmark
    CudaSettings().setup(trainer("cuda"), module, "fit")
    assert settings() == ("high", True, benchmark)


@pytest.mark.parametrize(("device", "stage"), [("cpu", "fit"), ("cuda", "validate")])
def test_elsewhere_nothing_is_touched(device: str, stage: str) -> None:
    before, module = settings(), TokenizerModule(make_tokenizer((2,), (2,)))
    callback = CudaSettings()
    callback.setup(trainer(device), module, stage)
    assert settings() == before
    assert not in_channels_last(module.tokenizer)
    callback.teardown(trainer(device), module, stage)
    assert settings() == before


def test_channels_last_changes_no_value_and_a_step_keeps_it() -> None:
    plain, last = (make_tokenizer((2,), (2,)) for _ in range(2))
    channels_last(last)
    assert list(plain.state_dict()) == list(last.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), last.parameters(), strict=True))
    clips = torch.rand(2, 3, 3, 8, 8) * 2 - 1
    made = []
    for network in (plain, last):
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
        network(clips).clips.square().mean().backward()
        optimizer.step()
        made.append(network(clips).clips)
    torch.testing.assert_close(made[0], made[1], atol=1e-4, rtol=1e-4)
    assert in_channels_last(last)
