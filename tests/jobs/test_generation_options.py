"""The options of generating: each reaches the sampler, and what cannot be is refused at once."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from parvideo.jobs.generation_options import PLAIN, GenerationOptions
from parvideo.pipeline.choices import EngineChoice
from parvideo.pipeline.decoding import Decoder
from parvideo.sampling import SamplingConfig


def test_plain_options_are_the_plain_sampler() -> None:
    assert PLAIN.config() == SamplingConfig()
    assert PLAIN.cut is None


def test_every_setting_of_the_sampler_is_an_option_that_reaches_it() -> None:
    given: dict[str, Any] = {
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.25,
        "guidance_scale": 3.0,
        "guidance_schedule": "cosine",
        "guidance_interval": "0.25,0.5",
        "seed": 11,
        "noise": "gumbel",
    }
    config = GenerationOptions(**given).config()
    assert {field.name for field in dataclasses.fields(SamplingConfig)} == set(given)
    for name, value in given.items():
        expected = (0.25, 0.5) if name == "guidance_interval" else value
        assert getattr(config, name) == expected, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent_frames": 0}, "latent_frames is 0"),
        ({"overlap": 0}, "overlap is 0"),
        ({"window": 0}, "window is 0"),
        ({"unconditional": True, "guidance_scale": 2.0}, "guidance_scale is 2.0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GenerationOptions(**options)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "", "1,2,3,4"])
def test_regions_are_three_numbers(text: str) -> None:
    assert GenerationOptions(regions="1,4,4").cut == (1, 4, 4)
    with pytest.raises(ValueError, match="regions is"):
        _ = GenerationOptions(regions=text).cut


def test_a_pipeline_is_set_to_what_is_asked_for() -> None:
    seen: dict[str, Any] = {}

    class Pipeline:
        window: int | None = None
        decoder = Decoder(torch.nn.Identity())  # type: ignore[arg-type]

        def check_length(self, *asked: Any) -> None:
            seen["length"] = asked

        def find_order(self, *asked: Any) -> str:
            seen["order"] = asked
            return "the order"

    pipeline: Any = Pipeline()
    options = GenerationOptions(
        regions="1,2,2", latent_frames=7, overlap=2, window=5, decoder_dtype="float32"
    )
    pipeline.decoder.loss_db = 0.0
    assert options.prepare(pipeline, 3) == "the order"
    assert pipeline.decoder.dtype(torch.device("cpu")) == "float32"
    assert (pipeline.window, seen) == (5, {"length": (7, 2, 3), "order": (None, (1, 2, 2))})


def test_engine_and_dtype_reach_the_pipeline(generator_folder: Path) -> None:
    pipeline = GenerationOptions(engine="plain", dtype="bfloat16").load(generator_folder, torch.device("cpu"))
    assert (pipeline.engine, pipeline.dtype) == ("plain", torch.bfloat16)
    pipeline = PLAIN.load(generator_folder, torch.device("cpu"))
    assert (pipeline.engine, pipeline.dtype) == ("auto", torch.float32)
    with pytest.raises(ValueError, match="engine='cuda_graphs' computes on a cuda device"):
        GenerationOptions(engine="cuda_graphs").load(generator_folder, torch.device("cpu"))


def test_the_engines_are_those_of_the_pipeline() -> None:
    fields = {field.name: field.type for field in dataclasses.fields(GenerationOptions)}
    assert fields["engine"] == EngineChoice
