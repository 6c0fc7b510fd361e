"""What the engines share: weights copied, slots arranged once an order, requests checked, frames read in."""

import math

import pytest
import torch

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.packed import normalize
from parvideo.engine.selection import Kernels
from parvideo.order import GenerationOrder, raster, regions
from parvideo.sampling import SamplingConfig, generate
from parvideo.sampling.noise import draw_uniforms
from tests.engine.cases import CONFIGS, GRID, LABELS, ORDER, ORDERS, VOCABULARY, make, order_name

PREFIX = torch.randint(0, VOCABULARY, (3, 1, 4, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kernels", ["timed", "plain"])
def test_later_changes_to_the_transformer_are_not_seen(kernels: Kernels) -> None:
    model = make(qk_norm=True)
    expected = generate(model, ORDER, LABELS)
    engine = CpuEngine(model, kernels=kernels)
    for name, parameter in model.named_parameters():
        if "embedding" not in name:  # those are looked up in the model
            torch.nn.init.zeros_(parameter)
    assert torch.equal(engine.generate(ORDER, LABELS), expected)
    assert not torch.equal(generate(model, ORDER, LABELS), expected)


def test_an_order_is_arranged_once_and_equal_orders_give_equal_tokens() -> None:
    model = make()
    engine = CpuEngine(model)
    slots = engine.slots(ORDER)
    assert engine.slots(ORDER) is slots
    assert engine.start(ORDER, LABELS).slots is slots
    equal = GenerationOrder(ORDER.grid, ORDER.groups)
    assert equal is not ORDER
    assert torch.equal(engine.generate(equal, LABELS), engine.generate(ORDER, LABELS))
    assert engine.slots(ORDER) is slots


def test_orders_an_engine_cannot_serve_are_refused() -> None:
    engine = CpuEngine(make())
    with pytest.raises(ValueError, match=r"this model is for grid \(3, 4, 4\), the order for \(2, 4, 4\)"):
        engine.generate(raster((2, 4, 4)), LABELS)
    with pytest.raises(ValueError, match="needs 15 transition tokens, this model has 3"):
        engine.generate(regions(GRID, (1, 4, 4)), LABELS)


@pytest.mark.parametrize("order", ORDERS, ids=order_name)
def test_turned_queries_and_keys_give_the_transformers_scores(order: GenerationOrder) -> None:
    """What an engine multiplies with one factor is what attention turns and scales."""
    model = make(order, num_kv_heads=2)
    engine = CpuEngine(model)
    slots = engine.slots(order)
    count = order.num_tokens
    x = torch.randn(count, 32)
    attention, norm = model.blocks[0].attention, model.blocks[0].attention_norm
    with torch.inference_mode():
        heads = engine._qkv(engine._layers[0], x, slots.rotary, 1)[0]
        plain = attention.qkv(norm(x)).view(count, 8, 8)
    turns = torch.view_as_complex(slots.layout.rotary.contiguous())
    expected = [
        torch.view_as_real(torch.view_as_complex(part.reshape(count, -1, 4, 2)) * turn[:, None]).flatten(2)
        for part, turn in zip(
            plain.split([4, 2, 2], dim=1), (turns[0] / math.sqrt(8), turns[1], 1 + 0 * turns[1]), strict=True
        )
    ]
    torch.testing.assert_close(heads, torch.cat(expected, dim=1))


@pytest.mark.parametrize("order", ORDERS, ids=order_name)
def test_frames_read_in_at_once_leave_the_cache_that_steps_leave(order: GenerationOrder) -> None:
    engine = CpuEngine(make(order))
    at_once = engine.start(order, LABELS, CONFIGS["interval"], prefix=PREFIX)
    stop = order.step_slots[at_once.first].start
    one_by_one = engine.start(order, LABELS, CONFIGS["interval"], prefix=PREFIX)
    with torch.inference_mode():
        for part in one_by_one.cache:
            part.fill_(math.nan)
        for step in range(at_once.first):
            engine._hidden(one_by_one, order.step_slots[step])
    for a, b in zip(at_once.cache, one_by_one.cache, strict=True):
        torch.testing.assert_close(a[..., :stop, :], b[..., :stop, :])


@pytest.mark.parametrize("count", [1, 4])
def test_grouping_queries_by_their_keys_is_undone(count: int) -> None:
    """Each row of the grouped queries belongs to the keys of its own head."""
    engine = CpuEngine(make(num_kv_heads=2))
    queries = torch.arange(3 * count * 4 * 8, dtype=torch.float32).view(3, count, 4, 8)
    grouped = engine._grouped(queries)
    assert grouped.shape == (3 * 2, 2 * count, 8)
    assert torch.equal(engine._ungrouped(grouped, 3, count), queries.reshape(3 * count, 32))
    for row in range(3):
        for head in range(2):
            held = queries[row, :, 2 * head : 2 * head + 2].reshape(-1, 8)
            assert {*map(tuple, grouped[2 * row + head].tolist())} == {*map(tuple, held.tolist())}


def test_a_request_says_when_guidance_ends_and_where_generation_begins() -> None:
    engine = CpuEngine(make())
    config = SamplingConfig(guidance_scale=2.0, guidance_interval=(0.25, 0.5), seed=7)
    request = engine._request(ORDER, LABELS, config, [4, 0, 9], PREFIX, 3)
    assert request.scales == [config.guidance_at(step, ORDER.steps) for step in range(ORDER.steps)]
    guided = [step for step, scale in enumerate(request.scales) if scale != 1]
    assert request.last_guided == guided[-1] < ORDER.steps - 1
    assert torch.equal(request.uniforms, draw_uniforms(7, [4, 0, 9], ORDER.num_tokens, 3))
    assert request.labels.tolist() == [0, 3, 1, 4, 4, 4]  # unguided copies have the label of no class
    assert request.prefix_mask.tolist() == (ORDER.permutation < 16).tolist()  # the first frame
    assert torch.equal(ORDER.unflatten(request.tokens)[:3, :1], PREFIX)
    assert torch.equal(request.tokens[:3], request.tokens[3:])
    begun = [step for step, slots in enumerate(ORDER.step_slots) if not request.prefix_mask[[*slots]].all()]
    assert request.first == begun[0] > 0
    plain = engine._request(ORDER, LABELS, None, None, None, 0)
    assert (plain.first, plain.last_guided, plain.labels.tolist()) == (0, -1, LABELS.tolist())
    assert torch.equal(plain.uniforms, draw_uniforms(0, range(3), ORDER.num_tokens, 0))


def test_the_norm_is_a_division_by_a_length() -> None:
    """With the gain and the root of the width in the next matrix."""
    engine, model = (one := CpuEngine(make(norm_eps=1e-2), kernels="plain")), one.transformer
    hidden = torch.randn(5, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            engine._head(normalize(hidden, engine._length)), model.head(model.norm(hidden))
        )


def test_bad_requests_are_refused() -> None:
    model = make()
    with pytest.raises(ValueError, match="training mode"):
        CpuEngine(make().train())
    with pytest.raises(ValueError, match=r"dtype must be torch.float32 or torch.bfloat16, got torch.float16"):
        CpuEngine(model, torch.float16)
    with pytest.raises(ValueError, match=r"labels must lie in 0..3"):
        CpuEngine(model).generate(ORDER, torch.tensor([9]))
    with pytest.raises(ValueError, match="2 sample indices for 3 labels"):
        CpuEngine(model).generate(ORDER, LABELS, indices=[0, 1])
    with pytest.raises(ValueError, match="1 <= k < 3 latent frames"):
        CpuEngine(model).generate(ORDER, LABELS, prefix=torch.zeros(3, 3, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="draw by uniform numbers alone, noise is 'gumbel'"):
        CpuEngine(model).generate(ORDER, LABELS, SamplingConfig(noise="gumbel"))
    torch.nn.init.constant_(model.head.weight, math.nan)
    with pytest.raises(ValueError, match="NaN"):
        CpuEngine(model).generate(ORDER, LABELS)
