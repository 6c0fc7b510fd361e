"""The graph engine's self-test: does it draw the plain loop's tokens, on this device with this PyTorch?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.order import GenerationOrder, OrderSpec
from parvideo.sampling import SamplingConfig, generate
from parvideo.transformer.model import VideoTransformer

GRID = (2, 4, 4)
CODES = 1024
"""Of the small model, unless it predicts digits: enough to be drawn in blocks."""
CLIPS = 8
AGREEMENT = 0.5
"""In bfloat16, the least part of the first tokens after given frames that must be those of float32. Later
ones follow from tokens that another rounding may have changed; rubbish agrees in one of a thousand."""


def graph_engine_obstacle(
    transformer: VideoTransformer, dtype: torch.dtype, recipe: GraphRecipe | None = None
) -> str | None:
    """Try the graph engine on a small model of the same layers, on the transformer's device.

    In float32 its tokens must be the plain loop's. In bfloat16, where sums in another order are rounded to
    other tokens, they must be those of the same steps without graphs, and the first after given frames mostly
    those of float32. Every batch is drawn twice, so that the second consists of replayed graphs alone.

    Args:
        transformer: whose widths, heads, norms and device the small one has; it is not changed.
        dtype: that the engine is to compute in, float32 or bfloat16.
        recipe: of the engine; its own if not given.

    Returns:
        What differed, or the error it raised, in words; None if the engine may be trusted.
    """
    labels = torch.arange(CLIPS, device=transformer.head.weight.device) % 3
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # with TF32 two ways to compute the same would differ
    try:
        for order in _orders():
            model = _small(transformer, order)
            exact = CudaGraphEngine(model, torch.float32, recipe=recipe)
            for config in _configs():
                given = generate(model, order, labels, config)[:, :1]
                for prefix in (None, given):
                    where = f"order {order.name}, {config}" + (
                        "" if prefix is None else ", with given frames"
                    )
                    expected = generate(model, order, labels, config, prefix=prefix)
                    for turn in ("captured", "replayed"):
                        made = exact.generate(order, labels, config, prefix=prefix)
                        if (found := _difference(made, expected)) is not None:
                            return f"{found} (float32, {where}, {turn}, against the plain loop)"
            if (
                dtype == torch.bfloat16
                and (found := _half_obstacle(model, order, labels, recipe)) is not None
            ):
                return found
    except Exception as error:  # whatever it is, the plain loop can do without the engine
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
    finally:
        torch.set_float32_matmul_precision(precision)
    return None


def _half_obstacle(
    model: VideoTransformer, order: GenerationOrder, labels: Tensor, recipe: GraphRecipe | None
) -> str | None:
    """`graph_engine_obstacle` in bfloat16, of the small model."""
    engine = CudaGraphEngine(model, torch.bfloat16, recipe=recipe)
    steps = CudaGraphEngine(model, torch.bfloat16, graphs=False, recipe=recipe)
    later = order.target_coords[:, 0] > 0
    first = (later & (order.group == order.group[later].min())).to(labels.device)
    for config in _configs():
        prefix = generate(model, order, labels, config)[:, :1]
        expected = generate(model, order, labels, config, prefix=prefix)
        for turn in ("captured", "replayed"):
            where = f"bfloat16, order {order.name}, {config}, {turn}"
            made = engine.generate(order, labels, config, prefix=prefix)
            found = _difference(made, steps.generate(order, labels, config, prefix=prefix))
            if found is not None:
                return f"{found} ({where}, against the same steps without graphs)"
            equal = order.flatten(made)[:, first] == order.flatten(expected)[:, first]
            agreed = equal.float().mean().item()
            if agreed < AGREEMENT:
                return f"only {agreed:.0%} of the first tokens are those of float32 ({where})"
    return None


def _orders() -> Iterator[GenerationOrder]:
    yield OrderSpec(regions=(1, 2, 2)).build(GRID)
    yield OrderSpec(regions=(1, 2, 2), attention="causal").build(GRID)


def _configs() -> Iterator[SamplingConfig]:
    yield SamplingConfig(guidance_scale=2.0, guidance_interval=(0.0, 0.6), seed=1)
    yield SamplingConfig(top_k=50, top_p=0.9, temperature=0.8, seed=2)


def _small(transformer: VideoTransformer, order: GenerationOrder) -> VideoTransformer:
    """Two layers of the same widths, with weights large enough that every part of them decides tokens."""
    codes = transformer.codebook_size
    codes = codes if transformer.codebook_factors else min(CODES, codes)
    changes = {
        "grid": order.grid,
        "codebook_size": codes,
        "num_classes": 3,
        "num_layers": 2,
        "num_transitions": order.num_transitions,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VideoTransformer.from_config({**transformer.config, **changes})
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2:
                    embeds = "embedding" in name
                    parameter.normal_(std=1.0 if embeds else parameter.shape[1] ** -0.5)
            model.head.weight.mul_(3)
    return model.float().eval().to(transformer.head.weight.device)


def _difference(made: Tensor, expected: Tensor) -> str | None:
    """Where tokens ``[B, t, h, w]`` differ, in words; None if they are equal."""
    wrong = (made != expected).flatten(1)
    if not bool(wrong.any()):
        return None
    clip = int(wrong.any(dim=1).nonzero()[0])
    place = int(wrong[clip].nonzero()[0])
    tokens = f"{int(made.flatten(1)[clip, place])} for {int(expected.flatten(1)[clip, place])}"
    return (
        f"{int(wrong.sum())} of {wrong.numel()} tokens differ, first {tokens} at place {place} of clip {clip}"
    )
