"""Every recipe of the graph engine draws the plain loop's tokens."""

import pytest
import torch

from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import DEFAULT, RECIPES, GraphRecipe
from parvideo.sampling import generate
from tests.engine.cases import GRAPH_CONFIGS, LABELS, ORDER, make


def test_the_default_is_among_those_that_are_timed() -> None:
    assert DEFAULT in RECIPES
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.compiled is None], ids=lambda r: r.name)
@pytest.mark.parametrize("bucket", [7, 128])
def test_recipes_and_buckets_change_no_token(recipe: GraphRecipe, bucket: int) -> None:
    model, config = make(num_kv_heads=2), GRAPH_CONFIGS["interval"]
    engine = CudaGraphEngine(model, recipe=GraphRecipe(None, recipe.attention, bucket))
    assert torch.equal(engine.generate(ORDER, LABELS, config), generate(model, ORDER, LABELS, config))


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="attention must be one of sdpa, split, flex; got 'flash'"):
        GraphRecipe(attention="flash")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bucket must be positive, got 0"):
        GraphRecipe(bucket=0)
