"""The self-test: weights that give the known answers pass, others do not."""

from pathlib import Path

import pytest
import torch

from parvideo.jobs.self_test import self_test
from parvideo.metrics import known_clips
from parvideo.metrics.extractors.inception_i3d import InceptionI3d


def test_without_weights_the_command_that_fetches_them_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="parvideo weights i3d"):
        self_test(None, "cpu", print)


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (1.0, False)])
def test_weights_that_answer_otherwise_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float, passes: bool
) -> None:
    wanted = known_clips.expected()
    torch.save(InceptionI3d().state_dict(), tmp_path / "other.pt")
    known = known_clips.from_logits(wanted.logits + shift)
    monkeypatch.setattr(known_clips, "measure", lambda extractor: known)
    said: list[str] = []
    if passes:
        found = self_test(tmp_path / "other.pt", "cpu", said.append)
        assert (found["fvd"], found["logits_difference"]) == pytest.approx((wanted.fvd, 0.0))
        assert "the known answers are met on cpu" in said[-1]
    else:
        with pytest.raises(ValueError, match="does not give the known answers"):
            self_test(tmp_path / "other.pt", "cpu", said.append)
        assert len(said) == 1  # the table, from which one sees by how much
