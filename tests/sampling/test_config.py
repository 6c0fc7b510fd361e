"""Settings of sampling: the guidance scale over the steps, and what is refused."""

import math

import pytest

from parvideo.sampling import SamplingConfig


def test_guidance_schedules() -> None:
    steps = 100
    for schedule in ("constant", "linear", "cosine"):
        scales = [
            SamplingConfig(guidance_scale=3, guidance_schedule=schedule).guidance_at(s, steps)
            for s in range(steps)
        ]  # type: ignore[arg-type]
        assert scales == sorted(scales)
        assert scales[-1] == pytest.approx(3)
    part = SamplingConfig(guidance_scale=3, guidance_interval=(0.25, 0.5))
    assert [s for s in range(steps) if part.guidance_at(s, steps) == 3] == list(range(25, 50))
    assert {part.guidance_at(s, steps) for s in range(steps)} == {1.0, 3.0}
    assert not SamplingConfig().guided(steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -1}, "temperature must be 0 .* got -1"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\]"),
        ({"top_k": -5}, "top_k is -5"),
        ({"guidance_schedule": "step"}, "guidance_schedule must be one of constant, linear, cosine"),
        ({"guidance_interval": (0.5, 0.5)}, "guidance_interval"),
        ({"guidance_scale": math.nan}, "guidance_scale must be a finite number"),
        ({"top_k": 5.5}, "top_k is 5.5; it must be a whole number"),
        ({"temperature": math.nan}, "temperature .* got nan"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"seed": 2**64}, "seed is 18446744073709551616; it must be 18446744073709551615 or less"),
        ({"seed": 1.0}, "seed is 1.0; it must be a whole number"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**changes)  # type: ignore[arg-type]
