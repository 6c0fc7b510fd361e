"""Each engine of a pipeline: the same tokens, or a refusal."""

import warnings
from pathlib import Path

import pytest
import torch

from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.pipeline import engines
from parvideo.pipeline.choices import EngineChoice
from parvideo.pipeline.engines import Steps
from parvideo.pipeline.video_pipeline import VideoPipeline
from parvideo.sampling import SamplingConfig, generate
from tests.engine import cases as graph_cases
from tests.pipeline.cases import LABELS, several_orders


def test_every_engine_generates_the_same_where_it_can(tmp_path: Path) -> None:
    folder = several_orders(tmp_path)
    with pytest.raises(ValueError, match="engine='cuda_graphs' computes on a cuda device, .* lies on cpu"):
        VideoPipeline.from_pretrained(folder, engine="cuda_graphs")
    with pytest.raises(
        ValueError, match="engine must be one of auto, .*, cpu_native, cuda_graphs; got 'gpu'"
    ):
        VideoPipeline.from_pretrained(folder, engine="gpu")  # type: ignore[arg-type]
    plain = VideoPipeline.from_pretrained(folder, engine="plain")
    pipeline = VideoPipeline.from_pretrained(folder)
    for engine in ("auto", "cpu", "cpu_packed", "cuda_graphs"):
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


@pytest.mark.parametrize("engine", ["auto", "plain"])
def test_a_dtype_is_what_every_way_computes_in(tmp_path: Path, engine: EngineChoice) -> None:
    folder = several_orders(tmp_path)
    pipeline = VideoPipeline.from_pretrained(folder, engine=engine, dtype=torch.bfloat16)
    assert pipeline.dtype_setting == {"dtype": "bfloat16"}
    seen: list[torch.dtype] = []
    half = pipeline._steps._plain
    half.head.register_forward_hook(lambda module, given, made: seen.append(made.dtype))
    pipeline.generate_tokens(LABELS)
    assert pipeline.transformer.head.weight.dtype == torch.float32  # what is saved is as it was
    if engine == "plain":
        assert set(seen) == {torch.bfloat16}
    else:
        assert pipeline._steps.made is not None
        assert pipeline._steps.made.dtype == torch.bfloat16
    pipeline.window = 4
    seen.clear()
    pipeline.generate_tokens(LABELS)
    assert set(seen) <= {torch.bfloat16}
    assert VideoPipeline.from_pretrained(folder).dtype_setting == {}
    with pytest.raises(ValueError, match="dtype must be torch.float32 or torch.bfloat16, got torch.float16"):
        VideoPipeline.from_pretrained(folder, dtype=torch.float16)


class OnCuda(Steps):
    """Steps that take the CPU they run on for a GPU."""

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda")


def test_on_cuda_the_engine_computes_once_it_has_passed_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    model, order = graph_cases.make(), graph_cases.ORDER
    steps, config = OnCuda(model), SamplingConfig()
    expected = generate(model, order, graph_cases.LABELS, config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(steps.generate(order, graph_cases.LABELS, config, [0, 1, 2]), expected)
    assert isinstance(steps.made, CudaGraphEngine)
    assert steps.chosen(SamplingConfig(noise="gumbel")) == "plain"
    asked: list[int] = []
    monkeypatch.setattr(engines, "graph_engine_obstacle", lambda *_: asked.append(1) or "7 tokens differ")
    steps = OnCuda(model)
    with pytest.warns(UserWarning, match="failed its self-test on cuda, .* plain loop, .*: 7 tokens differ"):
        assert torch.equal(steps.generate(order, graph_cases.LABELS, config, [0, 1, 2]), expected)
    assert steps.made is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps.generate(order, graph_cases.LABELS, config, [0, 1, 2])  # it is tried, and said, once
    assert asked == [1]
    steps.to("cpu")
    with pytest.warns(UserWarning, match="failed its self-test"):  # another device, another test
        steps.generate(order, graph_cases.LABELS, config, [0, 1, 2])


def test_what_an_engine_cannot_do_is_refused_and_not_done_otherwise(tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path), engine="cpu")
    with pytest.raises(ValueError, match="draw by uniform numbers alone"):
        pipeline.generate_tokens(LABELS, config=SamplingConfig(noise="gumbel"))
    pipeline.window = 4
    with pytest.raises(ValueError, match="engine is 'cpu' and window 4"):
        pipeline.generate_tokens(LABELS)
