"""Stages are done once, go on after an interruption, and refuse to mix settings."""

from pathlib import Path

import pytest

from parvideo.jobs.stages import Stages


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    done: list[int] = []
    for _ in range(2):
        stages = Stages(tmp_path, 1)
        assert stages.run("a", "A", {"seed": 0}, lambda: done.append(1) or {"x": 1}) == {"x": 1}
    assert done == [1]


def test_an_interrupted_stage_is_done_again(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, 1).run("a", "A", {}, interrupt)
    assert Stages(tmp_path, 1).run("a", "A", {}, lambda: 5) == 5


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(tmp_path: Path, finished: bool) -> None:
    def work() -> None:
        if not finished:
            raise RuntimeError

    if finished:
        Stages(tmp_path, 1).run("a", "A", {"seed": 0, "size": 1}, work)
    else:
        with pytest.raises(RuntimeError):
            Stages(tmp_path, 1).run("a", "A", {"seed": 0, "size": 1}, work)
    with pytest.raises(ValueError, match="another seed .*another --out"):
        Stages(tmp_path, 1).run("a", "A", {"seed": 1, "size": 1}, work)
