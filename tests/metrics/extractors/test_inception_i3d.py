"""I3D equals the published network and loads what was published for it, and nothing damaged."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from parvideo.metrics.extractors.inception_i3d import (
    InceptionI3d,
    Triple,
    load_i3d_state,
    max_pool_by_axes,
    same_padding,
)


def golden_state(manifest: dict[str, list[int]]) -> dict[str, Tensor]:
    """The random weights of the golden outputs, seeded by key (tests/golden/README.md)."""
    state: dict[str, Tensor] = {}
    for key, shape in manifest.items():
        n = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        elif key.endswith("running_var"):
            state[key] = n.abs() + 0.5
        elif key.endswith("bn.weight"):
            state[key] = 1 + 0.1 * n
        elif key.endswith("conv3d.weight"):
            fan_in = shape[1] * shape[2] * shape[3] * shape[4]
            state[key] = n * (2 / fan_in) ** 0.5
        else:
            state[key] = 0.1 * n
    return state


@pytest.fixture(scope="module")
def manifest(golden_folder: Path) -> dict[str, list[int]]:
    return json.loads((golden_folder / "i3d_state_dict.json").read_text())


@pytest.fixture(scope="module")
def network(manifest: dict[str, list[int]]) -> InceptionI3d:
    network = InceptionI3d(bn_eps=1e-5).eval()
    load_i3d_state(network, golden_state(manifest))
    return network


@pytest.mark.parametrize(("frames", "seed"), [(16, 0), (17, 1)])
def test_equals_published_network(network: InceptionI3d, golden_folder: Path, frames: int, seed: int) -> None:
    golden = load_file(golden_folder / "i3d.safetensors")
    clips = torch.rand(2, 3, frames, 224, 224, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    with torch.inference_mode():
        pooled, logits = network.taps(clips)
    torch.testing.assert_close(logits, golden[f"logits_T{frames}_seed{seed}"], atol=1e-4, rtol=0)
    expected = golden[f"pooled_T{frames}_seed{seed}"].mean((2, 3, 4))
    torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=0)


def test_batch_normalisation_epsilon_matters(manifest: dict[str, list[int]]) -> None:
    unit = InceptionI3d(num_classes=2, bn_eps=1e-3).get_submodule("Conv3d_1a_7x7.bn")
    assert unit.eps == 1e-3


def test_loads_with_and_without_counters(manifest: dict[str, list[int]]) -> None:
    state = golden_state(manifest)
    short = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert (len(state), len(short)) == (344, 287)
    network = InceptionI3d()
    load_i3d_state(network, short)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in short.items())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("Mixed_5c.b0.conv3d.weight"), "missing.*Mixed_5c.b0"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown.*extra"),
        (lambda s: s.update({"logits.conv3d.bias": torch.zeros(600)}), r"shape \[600\], expected \[400\]"),
        (lambda s: s.update({"logits.conv3d.bias": torch.full((400,), torch.nan)}), "NaN"),
    ],
)
def test_refuses_weights_that_do_not_fit(
    manifest: dict[str, list[int]], damage: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = golden_state(manifest)
    damage(state)
    with pytest.raises(ValueError, match=message):
        load_i3d_state(InceptionI3d(), state)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 3, 8, 224, 224), "8 frames"), ((1, 3, 9, 128, 128), "193")]
)
def test_refuses_clips_too_small(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InceptionI3d(num_classes=2).taps(torch.zeros(shape))


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (3, 2), (2, 2), (1, 1)])
def test_same_padding_gives_ceil_of_size_over_stride(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding((size, 1, 1), (kernel, 1, 1), (stride, 1, 1))[4:]
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1  # the odd zero goes to the end


@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((2, 3, 9, 28, 31), (1, 3, 3), (1, 2, 2)),
        ((2, 3, 9, 28, 31), (3, 3, 3), (2, 2, 2)),
        ((1, 4, 8, 14, 14), (2, 2, 2), (2, 2, 2)),
        ((1, 4, 3, 7, 7), (3, 3, 3), (1, 1, 1)),
        ((1, 1, 3, 3, 3), (3, 3, 3), (2, 2, 2)),
    ],
)
def test_pooling_by_axes_equals_pooling_at_once(
    shape: tuple[int, ...], kernel: Triple, stride: Triple
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(max_pool_by_axes(x, kernel, stride), F.max_pool3d(x, kernel, stride))
