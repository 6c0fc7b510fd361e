"""The page's clips are those of the pipeline and of the command line; mistakes come back as sentences."""

import shlex
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.app.playing import EMPTY, Studio, TokenColours
from parvideo.cli import main
from parvideo.pixels import to_uint8
from parvideo.sampling import SamplingConfig
from tests.pipeline.cases import several_orders


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(several_orders(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("order", [0, -1])
def test_the_clip_is_the_pipeline_s_and_the_printed_command_makes_it_too(
    studio: Studio, order: int, window: int | None, tmp_path: Path
) -> None:
    chosen = studio.orders[order]
    asked = studio.pipeline.class_names[1]
    last = list(studio.play(asked, " 5 ", 1.5, chosen.name, window))[-1]
    studio.pipeline.window = None
    config = SamplingConfig(guidance_scale=1.5)
    expected = studio.pipeline.generate([asked], seed=5, config=config, order=chosen).numpy()
    mp4, npz = last.files
    assert mp4.stat().st_size > 0
    assert last.shown is not None
    assert np.array_equal(np.load(npz)["clips"], expected)
    words = shlex.split(last.command)
    assert words[0] == "parvideo"
    assert ("--window" in words) == (window is not None)
    words[-1] = str(tmp_path)
    assert main([*words[1:], "--accelerator", "cpu"]) == 0
    assert np.array_equal(np.load(tmp_path / "clips-00000.npz")["clips"], expected)


def test_tokens_fill_in_and_the_line_says_how_far_it_is(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = studio.orders[0]
    views = list(studio.play(studio.pipeline.class_names[0], "0", 1, order.name))
    empty = [int((view.tokens == EMPTY).all(axis=-1).sum()) for view in views if view.tokens is not None]
    assert empty == sorted(empty, reverse=True)
    assert empty[-1] == 0
    assert all(view.shown is None for view in views[:-1])
    assert f"{order.num_tokens} tokens in {order.steps} calls and " in views[-1].line


def test_a_picture_shows_the_tokens_of_the_steps_that_are_done_where_they_lie(studio: Studio) -> None:
    for order in studio.orders:
        tokens = torch.arange(order.num_tokens) % 9
        for steps in (1, order.steps // 2, order.steps):
            picture = studio.picture(tokens, order, steps)
            assert picture.shape == (*order.grid, 3)
            filled = ~(picture == EMPTY).all(axis=-1)
            done = order.unflatten((order.group < steps)[None])[0].numpy()
            assert np.array_equal(filled, done)


def test_a_token_s_colour_is_the_mean_of_what_it_decodes_to(studio: Studio) -> None:
    tokenizer = studio.pipeline.tokenizer
    colours = TokenColours(tokenizer)
    found = colours.of(torch.tensor([3, 0, 3]))
    assert torch.equal(found[0], found[2])
    with torch.inference_mode():
        clip = to_uint8(tokenizer.decode(torch.full((1, 1, 3, 3), 3)))
    assert torch.allclose(found[0].float(), clip.float().mean(dim=(0, 1, 2, 3)), atol=0.6)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"seed": "x"}, "seed is 'x'; it must be a whole number"),
        ({"seed": ""}, "seed is ''; it must be a whole number"),
        ({"seed": "1.5"}, "seed is '1.5'"),
        ({"seed": "-1"}, "seed is -1; it must be 0 or more"),
        ({"seed": str(2**64)}, "it must be 18446744073709551615 or less"),
        ({"class_name": "Nothing"}, "there is no class 'Nothing'"),
        ({"order": "9x9x9"}, "this model was trained in"),
        ({"window": 0}, "window is 0; it must be 1 or more"),
        ({"guidance": float("nan")}, "guidance_scale must be a finite number"),
    ],
)
def test_mistakes_are_sentences(studio: Studio, changed: dict[str, object], sentence: str) -> None:
    asked = {"class_name": studio.pipeline.class_names[0], "seed": "0", "guidance": 1.0}
    views = list(studio.play(**{**asked, "order": studio.orders[0].name, **changed}))  # type: ignore[arg-type]
    assert [view.failed for view in views] == [True]
    assert sentence in views[0].line


def test_stop_ends_a_clip_after_the_step_under_way(studio: Studio) -> None:
    order = studio.orders[1]
    playing = studio.play(studio.pipeline.class_names[0], "0", 1, order.name)
    real, steps = studio.pipeline._steps.generate, 0

    def generate(*asked: Any, on_tokens: Any, **more: Any) -> Any:
        def first_stops(tokens: torch.Tensor, done: int) -> None:
            nonlocal steps
            steps = done
            on_tokens(tokens, done)
            studio.stop()

        return real(*asked, on_tokens=first_stops, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio.pipeline._steps, "generate", generate)
        last = list(playing)[-1]
    assert steps == 2 < order.steps
    assert last.line.startswith("stopped after 1 of")
    assert last.shown is None
    assert not last.failed
    assert list(studio.play(studio.pipeline.class_names[0], "0", 1, order.name))[-1].shown is not None


def test_who_leaves_stops_the_work(studio: Studio) -> None:
    before = threading.active_count()
    playing = studio.play(studio.pipeline.class_names[0], "0", 1, studio.orders[0].name)
    next(playing)
    playing.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
