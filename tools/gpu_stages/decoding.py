"""Stages about decoding: which recipe of static steps is fastest, and what the engine gains with it."""

import math
from typing import Any

import torch

from parvideo.benchmark.cuda import (
    DTYPES,
    bench_generation,
    check_device,
    measure_ceilings,
    seconds,
)
from parvideo.benchmark.timing import Ceilings
from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import DEFAULT, RECIPES, GraphRecipe
from parvideo.engine.self_test import graph_engine_obstacle
from parvideo.order import GenerationOrder, regions
from parvideo.sampling import SamplingConfig
from parvideo.transformer import VideoTransformer, transformer_size
from tools.gpu_stages.record import Record, in_a_line

GUIDANCE = 2.0
CUTS = ((1, 1, 1), (1, 2, 2), (1, 4, 4))
MODELS = {"343m": ("L", 16384), "792m": ("video-792M", 64000)}
"""Name -> the size, and the vocabulary with which it has so many parameters."""
ROOFLINE = {"343m": 0.3, "792m": 0.4}
SPEEDUPS = {"4x": 3.5, "16x": 10.0}
"""Over 1x, at batch 1; step counts allow 3.96 and 13.5."""


def orders(tiny: bool) -> list[GenerationOrder]:
    """1x, 4x and 16x on the paper's grid, or on a small one."""
    return [regions((2, 4, 4) if tiny else (5, 16, 16), cut) for cut in CUTS]


def build(name: str, device: torch.device, tiny: bool) -> VideoTransformer:
    """A model of random weights that serves those orders."""
    torch.manual_seed(0)
    size, vocabulary = MODELS[name]
    of, grid = transformer_size(size), orders(tiny)[0].grid
    shape = (32, 2, 4) if tiny else (of.dim, of.num_layers, of.num_heads)
    with device:
        model = VideoTransformer(grid, 64 if tiny else vocabulary, 101, *shape, num_transitions=15)
    return model.eval()


def known_ceilings(record: Record) -> dict[str, Ceilings]:
    """What the stage ceilings has found; measured here if it has found nothing."""
    earlier, device = record.earlier("ceilings"), check_device(record.device)
    return {
        name: Ceilings(**earlier[name]) if name in earlier else measure_ceilings(device, dtype, record.tiny)
        for name, dtype in DTYPES.items()
    }


def recipes(record: Record) -> str:
    """Time every recipe at 343M, 4x, batch 1, bfloat16, and find its tokens right on a small model."""
    device = check_device(record.device)
    model = build("343m", device, record.tiny).to(torch.bfloat16)
    order = orders(record.tiny)[1]
    record.show(f"{'recipe':<24}{'seconds':>9}{'first':>9}  tokens on a small model")
    times: dict[str, float] = {}
    found: dict[str, Any] = {}
    tried = RECIPES
    if record.tiny:  # Inductor takes minutes on a CPU
        tried = (*(recipe for recipe in RECIPES if recipe.compiled is None), GraphRecipe("aot_eager"))
    for recipe in tried:
        found[recipe.name] = entry = _try(recipe, model, order, device)
        record.note(recipes=found)
        if "seconds" in entry and entry["obstacle"] is None:
            times[recipe.name] = entry["seconds"]
        shown = "".join(f"{entry.get(key, math.nan):>9.3f}" for key in ("seconds", "first"))
        record.show(f"{recipe.name:<24}{shown}  {entry['obstacle'] or 'equal'}")
    record.check("the default recipe works", DEFAULT.name in times)
    if not times:
        return "no recipe works"
    fastest = min(times, key=lambda name: times[name])
    record.note(fastest=found[fastest]["recipe"])
    gain = times.get(DEFAULT.name, float("nan")) / times[fastest]
    return f"fastest: {fastest}, {gain:.2f}x of the default (DEFAULT in parvideo/engine/graph_recipe.py)"


def _try(
    recipe: GraphRecipe, model: VideoTransformer, order: GenerationOrder, device: torch.device
) -> dict[str, Any]:
    """A recipe's obstacle and its seconds, the first batch's (in which it compiles and captures) apart."""
    labels, config = torch.zeros(1, dtype=torch.int64, device=device), SamplingConfig(guidance_scale=GUIDANCE)
    entry: dict[str, Any] = {"recipe": vars(recipe)}
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        entry["obstacle"] = graph_engine_obstacle(model, dtype, recipe)
        engine = CudaGraphEngine(model, recipe=recipe)

        def run() -> None:
            engine.generate(order, labels, config)

        entry["first"] = seconds(device, run)
        entry["seconds"] = min(seconds(device, run) for _ in range(3))
    except Exception as error:  # one recipe that fails says nothing of the others
        entry["obstacle"] = in_a_line(error)
    return entry


def decode_343m(record: Record) -> str:
    """343M: see `_decode`."""
    return _decode(record, "343m")


def decode_792m(record: Record) -> str:
    """792M: see `_decode`."""
    return _decode(record, "792m")


def _decode(record: Record, name: str) -> str:
    """Engine against plain loop in every order: speed in bfloat16, the same tokens in float32."""
    device = check_device(record.device)
    fastest = record.earlier("recipes").get("fastest")
    recipe = GraphRecipe(**fastest) if fastest else DEFAULT
    model, all_orders, limits = build(name, device, record.tiny), orders(record.tiny), known_ceilings(record)
    record.note(recipe=vars(recipe), parameters=sum(p.numel() for p in model.parameters()))
    record.show(f"recipe {recipe.name}")
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        record.note(rows=rows)

    rest = (device, record.show, GUIDANCE)
    bench_generation(model, all_orders, [1], ["bfloat16"], *rest, 3, True, recipe, limits, keep)
    speed = {row["order"]: row for row in rows}
    for order, row in speed.items():
        record.floor(f"{order}, part of the roofline", row["roofline"], least=ROOFLINE[name])
    for order, least in SPEEDUPS.items():
        record.floor(f"{order} over 1x", speed[order]["speedup_over_longest"], least=least)
    for order, row in speed.items():
        record.floor(f"{order}, engine over plain loop", row["engine_speedup"], least=1.0)
    # Three clips: a token whose uniform number lies on a boundary may differ, and then its clip does.
    exact = bench_generation(model, all_orders[1:], [3], ["float32"], *rest, 1, True, recipe, limits, keep)
    for row in exact:
        record.check(f"{row['order']}, clips equal in float32", row["equal_clips"], least=0.6)
    bench_generation(model, all_orders[1:], [8], ["bfloat16"], *rest, 2, False, recipe, limits, keep)
    ways = ", ".join(
        f"{order} {row['seconds']:.3f} s ({row['roofline']:.2f})" for order, row in speed.items()
    )
    return f"batch 1, bfloat16: {ways}"
