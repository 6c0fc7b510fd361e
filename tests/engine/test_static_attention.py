"""Every way to attend to a cache that is partly filled gives a softmax over what is filled."""

import math
from typing import Any

import pytest
import torch

from parvideo.engine.static_attention import (
    PARTS,
    any_shape,
    attend_static,
    flex,
    last_seen,
    seen_keys,
    split_attention,
)

WAYS: list[Any] = ["sdpa", "split", "flex"]


def by_hand(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    out = []
    for place, seen in enumerate(last.tolist()):
        scores = queries[:, :, place : place + 1] @ keys[:, :, : seen + 1].transpose(2, 3)
        out.append(scores.softmax(-1) @ values[:, :, : seen + 1])
    return torch.cat(out, dim=2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("length", "first"), [(48, 0), (48, 40), (20, 3), (7, 2), (1, 0)])
def test_it_is_a_softmax_over_the_filled_part(way: Any, length: int, first: int) -> None:
    count = min(4, length - first)
    for causal in (False, True):
        last = last_seen(torch.arange(first, first + count), causal, shared=2)
        queries = torch.randn(3, 2, 2 * count, 8)
        keys, values = torch.randn(2, 3, 2, length, 8)
        seen = seen_keys(last, torch.arange(length), torch.float32, way)
        expected = by_hand(queries, keys, values, last)
        torch.testing.assert_close(attend_static(queries, keys, values, seen, way), expected)
        keys[:, :, first + count :] += 100  # what lies beyond counts for nothing
        values[:, :, first + count :] -= 100
        torch.testing.assert_close(attend_static(queries, keys, values, seen, way), expected)


@pytest.mark.parametrize("parts", [1, 2, PARTS, 7, 48, 100])
def test_parts_make_the_whole_whatever_their_number_and_scores(parts: int) -> None:
    """Large scores, in one part alone or in all, neither overflow nor hide what the other parts give."""
    last = torch.tensor([0, 5, 47])
    mask = seen_keys(last, torch.arange(48), torch.float32, "split")
    for scale in (1.0, 1e3, 1e-3):
        queries = torch.randn(2, 2, 3, 8) * scale
        keys, values = torch.randn(2, 2, 2, 48, 8)
        made = split_attention(queries, keys, values, mask, parts)
        torch.testing.assert_close(made, by_hand(queries, keys, values, last))
    keys[:, :, 30] *= 1e4
    made = split_attention(queries, keys, values, mask, parts)
    torch.testing.assert_close(made, by_hand(queries, keys, values, last))


def test_parts_in_bfloat16_are_as_near_as_the_whole() -> None:
    last = torch.full((4,), 1000)
    queries, (keys, values) = torch.randn(2, 4, 4, 64) / 8, torch.randn(2, 2, 4, 1280, 64)
    exact = by_hand(queries, keys, values, last)
    errors = []
    for way in ("split", "sdpa"):
        half = [x.bfloat16() for x in (queries, keys, values)]
        seen = seen_keys(last, torch.arange(1280), torch.bfloat16, way)  # type: ignore[arg-type]
        errors.append((attend_static(*half, seen, way).float() - exact).abs().mean())  # type: ignore[arg-type]
    assert errors[0] < 1.5 * errors[1]


def test_slots_of_a_group_see_each_other_unless_it_is_causal() -> None:
    slots = torch.tensor([4, 5, 6])
    assert last_seen(slots, False, 2).tolist() == [6] * 6
    assert last_seen(slots, True, 2).tolist() == [4, 5, 6, 4, 5, 6]
    mask = seen_keys(torch.tensor([0, 2]), torch.arange(3), torch.float32, "sdpa")
    assert mask.tolist() == [[0, -math.inf, -math.inf], [0, 0, 0]]


def test_flex_attention_is_one_graph_that_keeps_no_slot() -> None:
    """Traced once, it serves every step of its shapes: which keys are seen is read from the device."""
    traced: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        traced.append(len(inputs))
        return module.forward

    kernel: Any = torch.compile(flex, backend=backend, fullgraph=True, dynamic=False)
    queries, (keys, values) = torch.randn(1, 2, 4, 16), torch.randn(2, 1, 2, 32, 16)
    with torch.inference_mode():
        for start in (0, 7, 28):
            last = last_seen(torch.arange(start, start + 4), False, 1)
            made = kernel(queries, keys, values, last)
            torch.testing.assert_close(made, by_hand(queries, keys, values, last))
    assert len(traced) == 1


def test_more_shapes_than_pytorch_compiles_by_default() -> None:
    kernel: Any = torch.compile(lambda x: x + 1, backend="eager", fullgraph=True, dynamic=False)
    with any_shape():
        for size in range(1, 15):
            assert kernel(torch.zeros(size)).sum() == size
