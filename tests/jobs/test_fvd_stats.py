"""Reference statistics: what was computed once gives the same report again, and no other."""

from pathlib import Path

import pytest

from tests.jobs.cases import keep_statistics, score


def test_cached_reference_gives_the_same_and_is_refused_elsewhere(world: Path, tmp_path: Path) -> None:
    keep_statistics(world, tmp_path / "ref.npz")
    cached = score(world, tmp_path / "r.json", reference=tmp_path / "ref.npz")
    assert not (tmp_path / "r-features/real-0").exists()
    assert cached["fvd"] == pytest.approx(score(world, tmp_path / "s.json")["fvd"], rel=1e-6)
    with pytest.raises(ValueError, match="another protocol"):
        score(world, tmp_path / "t.json", reference=tmp_path / "ref.npz", stride=1)


def test_a_reference_serves_a_protocol_of_several_repeats(world: Path, tmp_path: Path) -> None:
    several = {"repeats": 2, "clip_policy": "random", "label_policy": "uniform"}
    keep_statistics(world, tmp_path / "ref.npz", **several)
    options = {"model": world / "model", "fake_count": 6, **several}
    cached = score(world, tmp_path / "r.json", reference=tmp_path / "ref.npz", **options)
    plain = score(world, tmp_path / "s.json", **options)
    assert [row["fvd"] for row in cached["repeats"]] == pytest.approx(
        [row["fvd"] for row in plain["repeats"]], rel=1e-6
    )
    assert len({row["fvd"] for row in cached["repeats"]}) == 2
    # Saved clips are one repeat; the file serves them too.
    assert score(world, tmp_path / "t.json", reference=tmp_path / "ref.npz", **several)["fvd"] > 0


@pytest.mark.parametrize("protocol", ["magvit-10k", "videogpt-256"])
def test_the_statistics_of_a_protocol_have_its_repeats(world: Path, tmp_path: Path, protocol: str) -> None:
    small = {"protocol": protocol, "split": "train", "stride": None, "real_count": 4}
    keep_statistics(world, tmp_path / "ref.npz", **small)
    report = score(world, tmp_path / "r.json", reference=tmp_path / "ref.npz", **small)
    assert report["protocol"]["repeats"] == 4
