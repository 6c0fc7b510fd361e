"""docs/from_zero.md, run as it stands on mixed phone videos, at a small size."""

import re
import shlex
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from parvideo.cli import main
from parvideo.files import config_folder
from tests.video_files import Picture, write

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "from_zero.md"
SMALL = ("--trainer.max_steps=3", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu")


def pictures(height: int, width: int, frames: int, hue: int) -> list[Picture]:
    """A bright square that moves over a dark ground."""
    found = []
    for number in range(frames):
        picture = np.full((height, width, 3), 30, np.uint8)
        left = (5 * number) % (width - height // 3)
        picture[height // 3 : 2 * height // 3, left : left + height // 3, hue] = 230
        found.append(picture)
    return found


def test_the_four_commands_on_phone_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    thirty = Fraction(1, 30)
    for hue, name in enumerate(("cat", "dog")):
        folder = tmp_path / "my_videos" / name
        folder.mkdir(parents=True)
        write(folder / "IMG_0012.MOV", pictures(90, 160, 60, hue), time_base=thirty)
        write(folder / "upright.mp4", pictures(160, 90, 60, hue), time_base=thirty)
        write(folder / "walk.webm", pictures(64, 64, 50, hue), codec="libvpx-vp9")
        write(folder / "old.avi", pictures(72, 96, 50, hue), codec="mpeg4")
        write(folder / "short.mp4", pictures(72, 96, 8, hue))
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("parvideo ")]
    assert [line.split()[1] for line in commands[:4]] == ["fit", "tokenize", "fit", "sample"]
    for line in commands[
        :4
    ]:  # what follows needs the network, and is parsed by tests/properties/test_docs.py
        words = shlex.split(line)[1:]
        words = [
            str(config_folder().parent / word) if word.startswith("configs/") else word for word in words
        ]
        assert main([*words, *(SMALL if words[0] == "fit" else ("--accelerator", "cpu"))]) == 0, line
    said = capsys.readouterr()
    assert "left out: 2 videos too short" in said.err + said.out
    with np.load(next((tmp_path / "runs" / "samples").rglob("*.npz"))) as made:
        assert made["clips"].shape == (8, 17, 64, 64, 3)
