"""Clips of another speed, size or list of classes are refused before anything is computed."""

from pathlib import Path
from typing import Any

import pytest

from parvideo.datasets.clip_format import ClipFormat
from parvideo.evaluation.clip_formats import check_class_names, check_format, read_format, write_format
from parvideo.evaluation.protocols import get_protocol

UCF = [25.0, 25.0, 29.97]


@pytest.mark.parametrize(
    ("protocol", "recorded", "message"),
    [
        ("larp-10k", {"fps": 8.0}, r"8 frames a second.* have 25.*--fps 8"),
        ("larp-10k", {"stride": 3}, r"--stride 3"),
        ("nbp-10k", {"fps": 25.0}, r"25 frames a second.* have 8"),
        ("ucf101-six-64", {"fps": 12.5, "size": 128}, "--size 128"),
        ("larp-10k", {"size": 64, "fps": 25.0}, "--size 64"),
    ],
)
def test_another_form_is_refused(protocol: str, recorded: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_format(ClipFormat(**recorded), get_protocol(protocol), UCF, "runs/x")


@pytest.mark.parametrize(
    ("protocol", "recorded"),
    [
        ("larp-10k", {"fps": 25.0, "stride": None, "size": 128}),
        ("larp-10k", {"fps": None, "stride": 1}),
        ("nbp-10k", {"fps": 8.0, "stride": None}),
        ("ucf101-six-64", {"fps": 12.5, "size": 64}),
        ("ucf101-six-64", {"stride": 2}),
    ],
)
def test_the_same_form_passes(protocol: str, recorded: dict[str, Any]) -> None:
    assert check_format(ClipFormat(**recorded), get_protocol(protocol), UCF, "runs/x") == []


def test_an_unknown_rate_is_said() -> None:
    (note,) = check_format(ClipFormat(), get_protocol("larp-10k"), UCF, "samples")
    assert "does not say how many frames a second" in note


def test_class_lists_must_agree_in_order() -> None:
    check_class_names(None, ["a", "b"], "m")
    check_class_names(["a", "b"], ["a", "b"], "m")
    with pytest.raises(ValueError, match="class 0 of m is 'b'"):
        check_class_names(["b", "a"], ["a", "b"], "m")
    with pytest.raises(ValueError, match="m has 1 classes, the real videos 2"):
        check_class_names(["a"], ["a", "b"], "m")


def test_a_folder_of_clips_says_what_they_are(tmp_path: Path) -> None:
    assert read_format(tmp_path) == (ClipFormat(), None)
    write_format(tmp_path, ClipFormat(17, 64, 12.5), ["a"])
    assert read_format(tmp_path) == (ClipFormat(size=64, fps=12.5), ["a"])
    (tmp_path / "clips.json").write_text('{"fps": 12.5, "size": 0}')
    with pytest.raises(ValueError, match=r"clips.json: size is 0"):
        read_format(tmp_path)
    (tmp_path / "clips.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold an object"):
        read_format(tmp_path)
