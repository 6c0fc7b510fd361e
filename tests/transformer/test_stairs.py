"""Attention for training in bfloat16 on a CPU: SDPA's, nearly as exact, and taken only where it is meant."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.order import GenerationOrder
from parvideo.transformer import attention
from parvideo.transformer.attention import AttentionMask, attend, attend_in_stairs
from parvideo.transformer.stairs import multiplies_bf16
from tests.transformer.cases import ORDERS

Kind = torch.dtype


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> GenerationOrder:
    return ORDERS[request.param]


def gradients(inputs: list[Tensor], out: Tensor, weights: Tensor) -> list[Tensor]:
    """What attention gives, and the gradients of its weighted sum."""
    return [out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), inputs)]


def draw(n: int, dtype: Kind) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(2, 3, n, 16, generator=generator) for _ in range(4)]
    return [tensor.to(dtype).requires_grad_() for tensor in made[:3]], made[3]


def sdpa(inputs: list[Tensor], mask: Tensor) -> Tensor:
    queries, keys, values = inputs
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


@pytest.mark.parametrize("stair", [3, 7, 1000])
def test_equals_sdpa_in_float32(monkeypatch: pytest.MonkeyPatch, order: GenerationOrder, stair: int) -> None:
    monkeypatch.setattr(attention, "STAIR", stair)
    mask = AttentionMask(order.mask)
    mask._biases = [torch.where(seen, 0.0, -torch.inf) for seen in mask.stairs]
    inputs, weights = draw(order.num_tokens, torch.float32)
    ours = gradients(inputs, attend_in_stairs(*inputs, mask), weights)
    theirs = gradients(inputs, sdpa(inputs, order.mask), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_rounds_little_more_than_sdpa_in_bfloat16(order: GenerationOrder) -> None:
    """Against float32 of the same inputs: at most twice SDPA's error, in all that is given."""
    mask = AttentionMask(order.mask)
    inputs, weights = draw(order.num_tokens, torch.bfloat16)
    exact_inputs = [tensor.detach().float().requires_grad_() for tensor in inputs]
    exact = gradients(exact_inputs, sdpa(exact_inputs, order.mask), weights)
    ours = gradients(inputs, attend_in_stairs(*inputs, mask), weights)
    theirs = gradients(inputs, sdpa(inputs, order.mask), weights)
    for truth, one, other in zip(exact, ours, theirs, strict=True):
        assert (one.float() - truth).norm() <= 2 * (other.float() - truth).norm() + 1e-3 * truth.norm()


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("able", [True, False])
def test_is_taken_in_bfloat16_training_alone(
    monkeypatch: pytest.MonkeyPatch, order: GenerationOrder, trains: bool, dtype: Kind, able: bool
) -> None:
    taken = []
    monkeypatch.setattr(attention, "multiplies_bf16", lambda device: able)
    monkeypatch.setattr(
        attention, "attend_in_stairs", lambda *tensors: taken.append(True) or attend_in_stairs(*tensors)
    )
    inputs, _ = draw(order.num_tokens, dtype)
    with torch.set_grad_enabled(trains):
        attend(*[tensor if trains else tensor.detach() for tensor in inputs], AttentionMask(order.mask))
    assert bool(taken) == (trains and able and dtype == torch.bfloat16)


def test_a_processor_is_asked_for_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for avx, amx in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=avx: able)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda able=amx: able)
        assert multiplies_bf16(torch.device("cpu")) == (avx or amx)
    assert not multiplies_bf16(torch.device("meta"))
