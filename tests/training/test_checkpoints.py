"""Checkpoints: atomic, checked, and the newest good one is found."""

from pathlib import Path

import pytest
import torch

from parvideo.training.checkpoints import FOLDER, AtomicCheckpointIO, find_checkpoint


def write(run: Path, step: int) -> Path:
    path = run / FOLDER / f"step-{step:08d}.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.arange(1000)}, path)
    return path


def test_newest_is_found(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    write(tmp_path, 5)
    newest = write(tmp_path, 12)
    write(tmp_path, 9)
    assert find_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    good, bad = write(tmp_path, 5), write(tmp_path, 12)
    content = bytearray(bad.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[content.index(torch.arange(100, 104).numpy().tobytes())] ^= 0xFF
    else:
        content.clear()
    bad.write_bytes(content)
    assert find_checkpoint(tmp_path) == good


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"broken": lambda: None}, tmp_path / "step-1.ckpt")
    assert list(tmp_path.iterdir()) == []
