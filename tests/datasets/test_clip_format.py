"""What is given counts, what is not comes from what is recorded, and a rate is one thing."""

import json
from pathlib import Path
from typing import Any

import pytest

from parvideo.datasets.clip_format import ClipFormat
from parvideo.pretrained.folder import CONFIG, load_clip_format, load_extra, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer


def test_given_numbers_win_and_a_rate_is_never_mixed() -> None:
    recorded = ClipFormat(17, 128, fps=8.0)
    assert ClipFormat(5).filled_from(recorded) == ClipFormat(5, 128, fps=8.0)
    assert ClipFormat(stride=2).filled_from(recorded) == ClipFormat(17, 128, stride=2)
    assert ClipFormat(17, 128, stride=2).is_complete
    assert ClipFormat(17, 128).shape == (17, 128, 128)
    with pytest.raises(ValueError, match="does not say how many frames"):
        _ = ClipFormat(size=8).shape
    assert not any(part.is_complete for part in (ClipFormat(17, 128), ClipFormat(size=8, fps=1.0)))


def test_formats_differ_in_what_both_know() -> None:
    known = ClipFormat(17, 128, fps=8.0)
    assert known.differences(ClipFormat()) == known.differences(ClipFormat(17, 128, 8.0)) == []
    assert known.differences(ClipFormat(9, fps=8.0)) == ["frames"]
    assert known.differences(ClipFormat(stride=3)) == ["fps", "stride"]
    assert ClipFormat(stride=3).differences(ClipFormat(stride=2)) == ["stride"]


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"size": -1}, {"stride": 0}, {"fps": 0.0}])
def test_a_number_that_is_not_positive_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        ClipFormat(**wrong)
    with pytest.raises(ValueError, match="fps is 8 and stride 2; give one of the two"):
        ClipFormat(fps=8, stride=2)


def test_model_folders_state_it_as_a_field_of_its_own_and_older_ones_among_others(tmp_path: Path) -> None:
    tokenizer = CausalVideoTokenizer.from_preset("tiny")
    save_tokenizer(tmp_path, tokenizer, clip_format=ClipFormat(5, 16, 12.5), extra={"weights": "raw"})
    document = json.loads((tmp_path / CONFIG).read_text())
    assert document["clip_format"] == {"frames": 5, "size": 16, "fps": 12.5, "stride": None}
    assert document["extra"] == {"weights": "raw"}
    assert load_clip_format(tmp_path) == ClipFormat(5, 16, 12.5)
    for older in (1, 2):
        extra = {"frames": 5, "size": 16, "fps": 12.5, "stride": None, "weights": "raw"}
        text = json.dumps({**document, "format": older, "extra": extra, "clip_format": {}})
        (tmp_path / CONFIG).write_text(text)
        assert load_clip_format(tmp_path) == ClipFormat(5, 16, 12.5)
        assert load_extra(tmp_path) == {"weights": "raw"}
    for wrong in ({"frames": 0}, {"frames": "five"}, ["frames"]):
        (tmp_path / CONFIG).write_text(json.dumps({**document, "clip_format": wrong}))
        with pytest.raises(ValueError, match="config.json"):
            load_clip_format(tmp_path)
