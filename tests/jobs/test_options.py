"""The options of the jobs: what contradicts itself or lies outside its range is refused before any work."""

from pathlib import Path
from typing import Any

import pytest

from parvideo.cli import main
from parvideo.cli.arguments import parse_arguments
from parvideo.cli.evaluate import evaluate
from parvideo.jobs.clip_format_options import ClipFormatOptions
from parvideo.jobs.generation_options import GenerationOptions
from parvideo.jobs.options import (
    EvaluateOptions,
    ExtractionOptions,
    FvdStatsOptions,
    MeasureOptions,
    SampleOptions,
    TokenizeOptions,
)
from parvideo.jobs.protocol_options import ProtocolOptions

HERE = Path("x")


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (SampleOptions, {"num": 0}, "num is 0"),
        (SampleOptions, {"fps": -5.0}, "fps is -5.0"),
        (SampleOptions, {"previews": -1}, "previews is -1"),
        (SampleOptions, {"batch_size": 0}, "batch_size is 0"),
        (SampleOptions, {"given_frames": 3}, "given_frames is 3"),
        (SampleOptions, {"class_": ["a"], "generation": GenerationOptions(unconditional=True)}, "no class"),
        (SampleOptions, {"generation": GenerationOptions(top_p=2.0)}, "top_p must lie"),
        (TokenizeOptions, {"data": HERE, "views": 0}, "views is 0"),
        (TokenizeOptions, {"data": HERE, "views": 2, "all_clips": True}, "choose one"),
        (TokenizeOptions, {"data": HERE, "seed": -1}, "seed is -1"),
        (TokenizeOptions, {"data": HERE, "num_workers": -1}, "num_workers is -1"),
        (FvdStatsOptions, {"real": HERE}, "must end in .npz"),
        (EvaluateOptions, {}, "give --real"),
        (EvaluateOptions, {"real": HERE}, "exactly one of"),
        (EvaluateOptions, {"real": HERE, "model": HERE, "clips": HERE}, "exactly one of"),
        (EvaluateOptions, {"real": HERE, "model": HERE}, "must end in .json"),
        (
            EvaluateOptions,
            {"real": HERE, "clips": HERE, "generation": GenerationOptions(seed=3)},
            "^seed are",
        ),
        (ExtractionOptions, {"workers": -1}, "workers is -1"),
        (ExtractionOptions, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(kind: Any, values: dict[str, Any], said: str) -> None:
    places = {"out": HERE, "model": HERE, "tokenizer": HERE}
    fields = kind.__dataclass_fields__
    required = {n: v for n, v in places.items() if n in fields and kind is not EvaluateOptions}
    if "real" in values:
        required["out"] = HERE
    with pytest.raises(ValueError, match=said):
        kind(**required | values)


def test_a_self_test_needs_no_clips() -> None:
    assert EvaluateOptions(self_test=True).real is None


def test_every_group_is_options_of_the_command_line() -> None:
    line = "--real r --out o.json --model m --i3d i --protocol tats-2048 --size 64 --seed 7 --workers 0"
    positional, named = parse_arguments("evaluate", evaluate, line.split())
    protocol = ProtocolOptions("tats-2048", size=64)
    assert positional == []
    assert named == {
        "options": EvaluateOptions(
            Path("r"),
            Path("o.json"),
            Path("m"),
            measure=MeasureOptions(Path("i"), protocol_options=protocol),
            generation=GenerationOptions(7),
            extraction=ExtractionOptions(workers=0),
        )
    }


def test_a_contradiction_is_one_line_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fvd-stats", "--real", "r", "--out", "stats.json"]) == 2
    assert capsys.readouterr().err == "parvideo: error: out is stats.json; it must end in .npz\n"


def test_a_format_is_given_or_as_the_tokenizer_was_trained(tokenizer_folder: Path) -> None:
    built = ClipFormatOptions(frames=9, stride=2).build(tokenizer_folder)
    assert (built.frames, built.size, built.fps, built.stride) == (9, 16, None, 2)
    with pytest.raises(ValueError, match=r"fps is 5.0 and stride 2"):
        ClipFormatOptions(fps=5.0, stride=2).build(tokenizer_folder)
