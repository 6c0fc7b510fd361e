import math

import pytest
import torch
import vector_quantize_pytorch

from parvideo.tokenizer.quantizers import FSQ, LFQ, Quantizer, VectorQuantizerEMA, build_quantizer

LEVELS = [[8, 5, 5, 5], [8, 8, 8, 5, 5, 5], [3, 4, 7]]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("bound", ["nbp", "vqp"])
def test_every_id_survives_the_round_trip(levels: list[int], bound: str) -> None:
    quantizer = FSQ(levels, bound)  # type: ignore[arg-type]
    ids = torch.arange(quantizer.codebook_size).view(1, 1, 1, -1)
    codes = quantizer.ids_to_codes(ids)
    assert torch.unique(codes[0, :, 0, 0], dim=1).shape[1] == math.prod(levels)
    # A code that lies on its grid point before the squashing is quantized to itself.
    half_range, offset, shift = quantizer._half_range, quantizer._offset, quantizer._shift
    bounded = codes * (quantizer.levels // 2)
    unbounded = torch.atanh(((bounded + offset) / half_range).clamp(-1 + 1e-6, 1 - 1e-6)) - shift
    back = quantizer(unbounded)
    assert torch.equal(back.ids, ids)
    torch.testing.assert_close(back.codes, codes, atol=1e-6, rtol=0)


def test_basis_of_the_published_tokenizer() -> None:
    quantizer = FSQ([8, 8, 8, 5, 5, 5])
    assert quantizer.basis.flatten().tolist() == [1, 8, 64, 512, 2560, 12800]
    digits = quantizer.ids_to_levels(torch.tensor([[[[1 + 2 * 8 + 3 * 64 + 4 * 12800]]]]))
    assert digits.flatten().tolist() == [1, 2, 3, 0, 0, 4]


def test_vqp_form_is_that_of_vector_quantize_pytorch() -> None:
    torch.manual_seed(1)
    levels = [8, 8, 8, 5, 5, 5]
    z = torch.randn(2, 6, 5, 16, 16) * 2
    theirs = vector_quantize_pytorch.FSQ(levels)
    codes, ids = theirs(z.flatten(2).transpose(1, 2))
    ours = FSQ(levels, "vqp")(z)
    assert torch.equal(ours.ids.flatten(1), ids.long())
    torch.testing.assert_close(ours.codes.flatten(2).transpose(1, 2), codes)


def test_the_two_forms_disagree_on_a_few_ids() -> None:
    torch.manual_seed(1)
    z = torch.randn(2, 6, 5, 16, 16)
    share = (FSQ([8, 8, 8, 5, 5, 5], "nbp")(z).ids != FSQ([8, 8, 8, 5, 5, 5], "vqp")(z).ids).float().mean()
    assert 0.002 < share < 0.05


def test_straight_through_gradient_is_that_of_the_squashing() -> None:
    quantizer = FSQ([8, 5, 5, 5])
    z = torch.randn(1, 4, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantizer(z).codes.sum(), z)
    squashed = torch.tanh(z + quantizer._shift) * quantizer._half_range / (quantizer.levels // 2)
    (expected,) = torch.autograd.grad(squashed.sum(), z)
    torch.testing.assert_close(gradient, expected)


def test_autocast_does_not_change_ids() -> None:
    torch.manual_seed(1)
    z = torch.randn(2, 6, 5, 16, 16)
    quantizer = FSQ([8, 8, 8, 5, 5, 5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = quantizer(z)
    assert torch.equal(under.ids, quantizer(z).ids)
    assert under.codes.dtype == torch.float32


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_ids_stay_in_the_codebook(extreme: float) -> None:
    for bound in ("nbp", "vqp"):
        quantizer = FSQ([8, 5, 5, 5], bound)  # type: ignore[arg-type]
        ids = quantizer(torch.full((1, 4, 1, 1, 1), extreme)).ids
        assert int(ids) == (0 if extreme < 0 else 999)


def test_fsq_leaves_nothing_in_the_state_dict_and_moves_to_channels_last() -> None:
    quantizer = FSQ([8, 5, 5, 5]).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    assert not quantizer.state_dict()


@pytest.mark.parametrize(
    ("levels", "bound", "message"),
    [
        ([], "nbp", "levels must be 2 or more each"),
        ([8, 1], "nbp", r"got \[8, 1\]"),
        ([8, 5], "tan", "bound must be 'nbp' or 'vqp', got 'tan'"),
        ([2, 5], "vqp", "needs levels of 3 or more"),
        ([64] * 6, "nbp", "at most"),
    ],
)
def test_bad_fsq_settings(levels: list[int], bound: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FSQ(levels, bound)  # type: ignore[arg-type]


@pytest.mark.parametrize("quantizer", [LFQ(6), VectorQuantizerEMA(64, 4)], ids=["lfq", "vq_ema"])
def test_wrapped_quantizers(quantizer: Quantizer) -> None:
    z = torch.randn(4, quantizer.dim, 2, 4, 4, requires_grad=True)
    out = quantizer(z)
    assert out.ids.shape == (4, 2, 4, 4)
    assert out.ids.dtype == torch.int64
    assert quantizer.codebook_size == 64
    (gradient,) = torch.autograd.grad(out.codes.sum() + out.aux_loss, z)
    assert gradient.abs().sum() > 0
    quantizer.eval()
    out = quantizer(z)
    torch.testing.assert_close(quantizer.ids_to_codes(out.ids), out.codes.detach())
    every = torch.arange(64).view(1, 1, 8, 8)
    assert torch.equal(quantizer(quantizer.ids_to_codes(every)).ids, every)


def test_lfq_ids_are_the_signs() -> None:
    quantizer = LFQ(3).eval()
    codes = quantizer.ids_to_codes(torch.arange(8).view(1, 1, 1, 8))[0, :, 0, 0]
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    z = torch.randn(1, 3, 1, 1, 5)
    assert torch.equal(quantizer(z).codes, z.sign())


def test_lfq_entropy_weight_falls_over_the_training_steps_and_is_resumed() -> None:
    quantizer = LFQ(4, anneal_steps=4)
    codes = torch.randn(1, 4, 1, 2, 2)
    weights = []
    for _ in range(6):
        quantizer(codes)
        weights.append(float(quantizer.wrapped.entropy_loss_weight))
    assert weights == pytest.approx([0.3, 0.25, 0.2, 0.15, 0.1, 0.1])
    early, later = LFQ(4, anneal_steps=4), LFQ(4, anneal_steps=4)
    for _ in range(2):
        early(codes)
    later.load_state_dict(early.state_dict())
    early.eval()(codes)  # validation is no step
    for resumed in (early.train(), later):
        resumed(codes)
        assert float(resumed.wrapped.entropy_loss_weight) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="anneal_steps must be 0"):
        LFQ(4, anneal_steps=-1)


def test_unknown_quantizer() -> None:
    with pytest.raises(ValueError, match="quantizer must be 'fsq', 'lfq' or 'vq_ema', got 'rvq'"):
        build_quantizer("rvq", [8], "nbp", 1, 0, 2, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bits must be from 1 to 24, got 0"):
        LFQ(0)
    with pytest.raises(ValueError, match="codes must be 2 or more"):
        VectorQuantizerEMA(1, 4)
