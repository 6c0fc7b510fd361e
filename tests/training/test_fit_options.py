"""The short help of `parvideo fit`: every setting of a run, with its default, in lines that fit."""

import pytest

from parvideo.training.fit_options import RUN_OPTIONS, help_text


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=lambda option: option.name)
def test_every_setting_is_shown_with_its_default(option: object) -> None:
    words = " ".join(help_text().split())
    assert f"--{option.name} " in words  # type: ignore[attr-defined]
    assert f"{option.help} (default: {option.default})" in words  # type: ignore[attr-defined]


def test_lines_fit() -> None:
    assert max(map(len, help_text().splitlines())) <= 110
    assert len({option.name for option in RUN_OPTIONS}) == len(RUN_OPTIONS)
