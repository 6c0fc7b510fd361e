"""The format of clips: as the tokenizer was trained, unless another is asked for."""

from pathlib import Path
from typing import Any

import pytest

from parvideo.jobs.clip_format_options import AS_TRAINED, ClipFormatOptions


@pytest.mark.parametrize(
    "form", [{"frames": 0}, {"size": 0}, {"size": -4}, {"stride": 0}, {"fps": 0.0}, {"fps": float("nan")}]
)
def test_zero_is_not_what_the_tokenizer_was_trained_on(tokenizer_folder: Path, form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(form))} is"):
        ClipFormatOptions(**form).build(tokenizer_folder)
    assert AS_TRAINED.build(tokenizer_folder).frames == 5
