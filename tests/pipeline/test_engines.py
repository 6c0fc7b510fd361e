"""Each engine of a pipeline: the same tokens, or a refusal."""

from pathlib import Path

import pytest
import torch

from parvideo.pipeline.video_pipeline import VideoPipeline
from parvideo.sampling import SamplingConfig
from tests.pipeline.cases import LABELS, several_orders


def test_every_engine_generates_the_same_where_it_can(tmp_path: Path) -> None:
    folder = several_orders(tmp_path)
    with pytest.raises(ValueError, match="engine='cuda_graphs' computes on a cuda device, .* lies on cpu"):
        VideoPipeline.from_pretrained(folder, engine="cuda_graphs")
    with pytest.raises(ValueError, match="engine must be one of auto, plain, cpu, cuda_graphs; got 'gpu'"):
        VideoPipeline.from_pretrained(folder, engine="gpu")  # type: ignore[arg-type]
    plain = VideoPipeline.from_pretrained(folder, engine="plain")
    pipeline = VideoPipeline.from_pretrained(folder)
    for engine in ("auto", "cpu", "cuda_graphs"):
        pipeline._steps.engine = engine  # on a CPU graphs are computed operation by operation
        for order in pipeline.orders:
            made = pipeline.generate_tokens(LABELS, order=order)
            assert torch.equal(made, plain.generate_tokens(LABELS, order=order))
        assert type(pipeline._steps.made).__name__ == ("CudaGraphEngine" if "cuda" in engine else "CpuEngine")
    assert plain._steps.made is None


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("engine", ["plain", "cpu", "cuda_graphs"])
def test_tokens_are_shown_as_they_are_drawn(tmp_path: Path, engine: str, window: int | None) -> None:
    """After each call the tokens of the steps that are done are those that come out in the end."""
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    pipeline._steps.engine = engine if window is None else "auto"  # type: ignore[assignment]
    pipeline.window = window
    for order in pipeline.orders:
        seen: list[tuple[torch.Tensor, int]] = []

        def show(tokens: torch.Tensor, steps: int, seen: list[tuple[torch.Tensor, int]] = seen) -> None:
            seen.append((tokens.clone(), steps))

        made = order.flatten(pipeline.generate_tokens(LABELS, order=order, on_tokens=show))
        counts = [steps for _, steps in seen]
        assert counts == sorted(counts)
        assert counts[-1] == order.steps
        if window is None:
            assert counts == list(range(1, order.steps + 1))
        for tokens, steps in seen:
            done = order.group < steps
            assert torch.equal(tokens[:, done], made[:, done])
        assert torch.equal(seen[-1][0], made)


def test_what_an_engine_cannot_do_is_refused_and_not_done_otherwise(tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path), engine="cpu")
    with pytest.raises(ValueError, match="draw by uniform numbers alone"):
        pipeline.generate_tokens(LABELS, config=SamplingConfig(noise="gumbel"))
    pipeline.window = 4
    with pytest.raises(ValueError, match="engine is 'cpu' and window 4"):
        pipeline.generate_tokens(LABELS)
