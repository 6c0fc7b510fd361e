"""A layer's products compute the same in every storage, and give their weights back."""

import pytest
import torch
import torch.nn.functional as F

from parvideo.engine.native import native_kernels
from parvideo.engine.products import (
    FEWEST,
    GATE_UP,
    KINDS,
    LARGE,
    QKV,
    STORAGES,
    Layer,
    Setting,
    bucket,
    make_product,
    plain_head,
    possible_storages,
    stored,
)
from tests.engine.cases import make


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_every_storage_computes_the_same(storage: str, dtype: torch.dtype) -> None:
    setting = Setting(dtype, 1e-5, native_kernels(dtype)[0])
    if storage not in possible_storages(setting):
        pytest.skip(f"{storage} is impossible here")
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    for kind in KINDS:
        weights = [torch.randn(40, 24).to(dtype) for _ in range(2 if kind.gated else 1)]
        for rows, padded in ((1, {}), (3, {}), (3, {FEWEST: FEWEST}), (9, {FEWEST: FEWEST})):
            product = make_product(kind, weights, storage, setting, {(kind.name, storage): padded})
            x, residual = torch.randn(rows, 24).to(dtype), torch.randn(rows, 40).to(dtype)
            fed = x.float()
            if kind.normed:
                fed = fed / (fed.square().sum(-1, keepdim=True) + 24 * 1e-5).sqrt()
            plain = [fed @ weight.float().T for weight in weights]
            expected = F.silu(plain[0]) * plain[1] if kind.gated else plain[0]
            torch.testing.assert_close(product(x).float(), expected, **close)
            torch.testing.assert_close(
                product(x, residual.clone()).float(), expected + residual.float(), **close
            )
            assert product.shape == (40, 24)
            assert all(torch.equal(a, b) for a, b in zip(product.weights(), weights, strict=True))


def test_a_layer_is_stored_anew_only_where_that_differs() -> None:
    setting = Setting(torch.float32, 1e-5, None)
    layer = Layer(make(qk_norm=True).blocks[0], setting)
    to = possible_storages(setting)[-1]
    other = layer.stored({kind.name: to if kind is GATE_UP else "plain" for kind in KINDS}, setting, {})
    assert other.qkv is layer.qkv
    assert other.gated.storage == to
    assert layer.gated.storage == "plain"
    assert other.qk_norm is layer.qk_norm
    assert set(layer.products()) == {"qkv", "out", "gate and up", "down"}


def test_the_head_holds_the_norms_gain() -> None:
    model = make(norm_eps=1e-2)
    setting = Setting(torch.float32, 1e-2, None)
    hidden = torch.randn(5, 32)
    head = plain_head(model, setting)
    with torch.inference_mode():
        length = (hidden.square().sum(-1, keepdim=True) + 32 * 1e-2).sqrt()
        torch.testing.assert_close(head(hidden / length), model.head(model.norm(hidden)))
    storages = {kind.name: LARGE for kind in KINDS}
    if LARGE in possible_storages(setting):
        assert stored(QKV, Layer(model.blocks[0], setting).qkv, storages, setting, {}).storage == LARGE


def test_buckets_are_powers_of_two() -> None:
    assert [bucket(count) for count in (1, 2, 3, 4, 5, 8, 9, 1280)] == [1, 2, 4, 4, 8, 8, 16, 2048]
