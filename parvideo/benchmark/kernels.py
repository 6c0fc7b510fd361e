"""The engine's choices, each timed against what it replaced: the ladder of docs/performance.md.

Every pair runs interleaved over as many weights or caches as do not fit the processor's cache together, as
in a decode step. Times are microseconds a call, best of the rounds.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.benchmark.timing import CLOCKS, Clock
from parvideo.engine.draw import block_size, draw_tokens
from parvideo.engine.packed import DecodeLinear, GatedLinear, normalize, packing_obstacle
from parvideo.sampling import SamplingConfig, sample_tokens
from parvideo.transformer.model import VideoTransformer

COPIES_BYTES = 150_000_000
"""Weights in turn; several times a processor's cache."""
MOST_COPIES = 100
Ways = dict[str, Callable[[], Any]]


@torch.inference_mode()
def time_kernels(
    transformer: VideoTransformer,
    rows: list[int],
    dtype: torch.dtype,
    clock: Clock,
    repeats: int,
    show: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Time every choice at each number of ``rows`` a product (two clips' worth a token with guidance)."""
    results = []
    config = transformer.config
    for count in rows:
        groups: dict[str, tuple[int, Ways]] = {
            "gate and up": _gate(config["dim"], config["ffn_hidden"], count, dtype),
            "down": _linear(config["dim"], config["ffn_hidden"], count, dtype),
            "norm": _norm(config["dim"], count, dtype),
            "attention": _attention(transformer, max(1, count // 2), dtype),
            "draw": _draw(transformer.codebook_size, max(1, count // 2)),
        }
        for name, (calls, ways) in groups.items():
            best = _time(ways, clock, repeats)
            times = {way: 1e6 * seconds / calls for way, seconds in best.items()}
            results.append({"what": name, "rows": count, "microseconds": times})
            shown = ", ".join(f"{way} {time:.1f}" for way, time in times.items())
            show(f"{'kernel':<14}{name}, {count} rows: {shown} us")
    return results


def _time(ways: Ways, clock: Clock, repeats: int) -> dict[str, float]:
    now = CLOCKS[clock]
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats + 1):
        for way, function in ways.items():
            start = now()
            function()
            best[way] = min(best[way], now() - start)
    return best


def _weights(out: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    count = min(max(2, COPIES_BYTES // (out * width * dtype.itemsize)), MOST_COPIES)
    return [torch.randn(out, width, dtype=dtype) for _ in range(count)]


def _linear(out: int, width: int, rows: int, dtype: torch.dtype) -> tuple[int, Ways]:
    weights, x = _weights(out, width, dtype), torch.randn(rows, width, dtype=dtype)
    kinds = {"plain": [DecodeLinear(weight, packed=False) for weight in weights]}
    if packing_obstacle(weights[0]) is None:
        kinds["packed"] = [DecodeLinear(weight, True, large_pages=False) for weight in weights]
        kinds["packed in large pages"] = [DecodeLinear(weight, True) for weight in weights]
    return len(weights), {kind: _all(layers, x) for kind, layers in kinds.items()}


def _gate(width: int, hidden: int, rows: int, dtype: torch.dtype) -> tuple[int, Ways]:
    gates, ups = _weights(hidden, width, dtype), _weights(hidden, width, dtype)
    x, packed = torch.randn(rows, width, dtype=dtype), packing_obstacle(gates[0]) is None
    pairs = list(zip(gates, ups, strict=True))
    one = [GatedLinear(gate, up, packed) for gate, up in pairs]
    two = [(DecodeLinear(gate, packed).weight, DecodeLinear(up, packed).weight) for gate, up in pairs]
    ways: Ways = {"one product, then silu": _all(one, x)}
    if packed:
        product = torch.ops.mkldnn._linear_pointwise

        def fused() -> Tensor:
            for gate, up in two:
                out: Tensor = product.binary(x, product(x, gate, None, "swish", [], ""), up, None, "mul")
            return out

        ways["two, silu inside"] = fused
    return len(pairs), ways


def _all(layers: list[Any], x: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        for layer in layers:
            out: Tensor = layer(x)
        return out

    return call


def _norm(dim: int, rows: int, dtype: torch.dtype) -> tuple[int, Ways]:
    x, gain, length = torch.randn(rows, dim, dtype=dtype), torch.ones(dim, dtype=dtype), torch.tensor(0.1)

    def many(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            for _ in range(25):
                out = function()
            return out

        return call

    return 25, {
        "rms_norm": many(lambda: F.rms_norm(x, (dim,), gain, 1e-5)),
        "gain folded": many(lambda: normalize(x, length)),
    }


def _attention(transformer: VideoTransformer, queries: int, dtype: torch.dtype) -> tuple[int, Ways]:
    """Two clips' worth of heads attending over half of the sequence."""
    config = transformer.config
    heads, d = config["num_heads"], config["dim"] // config["num_heads"]
    length = math.prod(transformer.grid) // 2
    shape = (2, 2, heads, math.prod(transformer.grid), d)
    caches = [torch.randn(shape, dtype=dtype) for _ in range(transformer.num_layers)]
    q = torch.randn(2, heads, queries, d, dtype=dtype)
    flat = q.view(2 * heads, queries, d)
    scores = torch.empty(2 * heads, queries, length, dtype=dtype)
    turned, out = scores.view(2 * heads, length, queries), torch.empty_like(flat)
    copy = torch.empty_like(scores)

    def sdpa() -> Tensor:
        for keys, values in (cache[:, :, :, :length].unbind() for cache in caches):
            attended = F.scaled_dot_product_attention(q, keys, values, scale=1.0)
        return attended.flatten(0, 1)

    def products(keys_left: bool) -> Callable[[], Tensor]:
        def call() -> Tensor:
            for cache in caches:
                keys, values = cache.view(2, 2 * heads, -1, d)[:, :, :length].unbind()
                weights = scores
                if keys_left:
                    torch.bmm(keys, flat.transpose(1, 2), out=turned)
                    weights = copy.copy_(turned.transpose(1, 2)) if queries > 1 else scores
                else:
                    torch.bmm(flat, keys.transpose(1, 2), out=scores)
                torch.softmax(weights, dim=-1, out=weights)
                torch.bmm(weights, values, out=out)
            return out

        return call

    return len(caches), {"SDPA": sdpa, "queries left": products(False), "keys left": products(True)}


def _draw(vocabulary: int, rows: int) -> tuple[int, Ways]:
    logits, config = torch.randn(rows, vocabulary), SamplingConfig()
    uniforms, buffer = torch.rand(rows, dtype=torch.float64), torch.empty(rows, vocabulary)
    block = block_size(vocabulary)
    return 1, {
        "multinomial": lambda: torch.multinomial(logits.softmax(-1), 1),
        "sample_tokens": lambda: sample_tokens(logits, uniforms, config),
        "blocks": lambda: draw_tokens(logits, uniforms, config, block, buffer),
    }
