"""A video that was cut short is refused; a header that promises too much is not believed."""

import struct
from pathlib import Path

import numpy as np
import pytest

from parvideo.datasets.probing import probe
from parvideo.datasets.video_info import UnreadableVideoError
from tests.video_files import grey, write


def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path) -> None:
    """The file is whole, to its last byte: only one that ends early is cut short."""
    path = write(tmp_path / "a.avi", map(grey, range(30)), "mpeg4")
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 32  # dwLength
    data[at : at + 4] = struct.pack("<I", 9000)
    path.write_bytes(data)
    assert probe(path).frames == 30


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")])
def test_a_file_that_ends_early_is_cut_short(tmp_path: Path, name: str, codec: str) -> None:
    chance = np.random.default_rng(0)
    noise = [chance.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(60)]
    path = write(tmp_path / name, noise, codec)
    whole = path.read_bytes()
    assert probe(path).frames == 60
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableVideoError, match="is cut short: its header promises"):
        probe(path)
