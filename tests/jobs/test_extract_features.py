"""Features of a source's clips: each once, in any number of runs, and only of clips that fit."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Fabric
from torch import Tensor

from parvideo.evaluation.feature_store import FeatureStore
from parvideo.evaluation.sources import ClipSource, ScoredClips
from parvideo.jobs import extract_features as job
from parvideo.jobs.extract_features import extract_features


class Numbers(ClipSource):
    """Clip number i has all its pixels at i; notes what it was asked for."""

    def __init__(self, count: int, frames: int = 4, size: int = 8, fails_at: int | None = None) -> None:
        self.ids, self.frames, self.size, self.fails_at = list(range(count)), frames, size, fails_at
        self.asked: list[int] = []

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        for start in range(0, len(ids), batch_size):
            part = list(ids[start : start + batch_size])
            if self.fails_at in part:
                raise KeyboardInterrupt
            self.asked += part
            keys = torch.tensor(part)
            clips = keys.to(torch.uint8)[:, None, None, None, None]
            clips = clips.expand(-1, self.frames, self.size, self.size, 3)
            yield ScoredClips(clips, keys, keys, keys % 2)


class Mean:
    """A clip's mean: what it is."""

    dim, fingerprint = 1, "mean"

    def __call__(self, clips: Tensor) -> Tensor:
        return clips.float().mean(dim=(1, 2, 3, 4))[:, None]


def run(source: ClipSource, folder: Path, network: Any = None, frames: int = 4) -> tuple[Any, list[str]]:
    store = FeatureStore(folder, {"source": "numbers"})
    fabric = Fabric(accelerator="cpu", devices=1)
    warnings = extract_features(source, store, network or Mean(), fabric, frames, 8, 3, "generated")
    return store.load(), warnings


def test_every_clip_has_its_own_features(tmp_path: Path) -> None:
    found, warnings = run(Numbers(10), tmp_path / "s")
    assert found.ids.tolist() == found.features[:, 0].tolist() == list(range(10))
    assert found.labels.tolist() == [0, 1] * 5
    assert warnings == []


def test_a_stopped_run_goes_on_in_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_SHARD", 2)
    with pytest.raises(KeyboardInterrupt):
        run(Numbers(10, fails_at=7), tmp_path / "s")
    again = Numbers(10)
    found, _ = run(again, tmp_path / "s")
    assert again.asked == [6, 7, 8, 9]
    np.testing.assert_array_equal(found.features, run(Numbers(10), tmp_path / "whole")[0].features)


def test_clips_that_do_not_fit_are_refused_and_cut_ones_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"have 3 frames.*pass --frames 3"):
        run(Numbers(2, frames=3), tmp_path / "short")
    with pytest.raises(ValueError, match=r"are 16x16.*pass --size 16"):
        run(Numbers(2, size=16), tmp_path / "large")
    assert not (tmp_path / "short").exists()
    _, warnings = run(Numbers(2, frames=6), tmp_path / "long")
    assert warnings == ["generated clips have 6 frames; only the first 4 were scored"]


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    class Broken(Mean):
        def __call__(self, clips: Tensor) -> Tensor:
            return super().__call__(clips) / 0

    with pytest.raises(ValueError, match="NaN or infinity"):
        run(Numbers(2), tmp_path / "s", Broken())
