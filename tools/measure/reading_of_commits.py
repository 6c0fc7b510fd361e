"""CPU time that two commits take to look into and to read whole videos, in turn, on the machine as it is."""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from parvideo.progress import Progress

_HERE = Path(__file__).resolve().parents[2]
_READER = """
import sys, time
from pathlib import Path
import torch
from parvideo.datasets.reading import probe, read_frames
torch.set_num_threads(1)
for line in sys.stdin:
    path = Path(line.rstrip())
    begin = time.process_time()
    info = probe(path)
    looked = time.process_time()
    frames = read_frames(path, range(info.frames), "pyav", info=info)
    print(looked - begin, time.process_time() - looked, len(frames), flush=True)
"""


@dataclass
class _Best:
    """Least CPU seconds of all rounds for one video."""

    looking: float = float("inf")
    reading: float = float("inf")
    frames: int = 0


def compare(commit: str, paths: Sequence[Path], rounds: int) -> None:
    """Print the ratios of this tree to a commit, both with the packages of this Python.

    Args:
        commit: as git knows it in the repository of this file.
        paths: of the videos, each read from its first frame to its last.
        rounds: passes over the videos that count; one before them does not, for imports and the disk's cache.

    Raises:
        subprocess.CalledProcessError: if git knows no such commit.
    """
    archive = subprocess.run(
        ["git", "archive", commit, "parvideo"], cwd=_HERE, check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        trees = {"before": Path(folder), "now": _HERE}
        readers = {name: _start(tree) for name, tree in trees.items()}
        best = {(name, path): _Best() for name in trees for path in paths}
        for round_ in Progress(range(rounds + 1), title="timing", unit="round"):
            for number, path in enumerate(paths):
                names = list(trees) if (round_ + number) % 2 else list(trees)[::-1]
                for name in names:
                    looking, reading, frames = _ask(readers[name], path)
                    if round_:
                        kept = best[name, path]
                        kept.looking, kept.reading = min(kept.looking, looking), min(kept.reading, reading)
                        kept.frames = int(frames)
        for reader in readers.values():
            assert reader.stdin is not None
            reader.stdin.close()
            reader.wait()
    counts = {name: sum(best[name, path].frames for path in paths) for name in trees}
    print(
        f"{len(paths)} videos, {counts['now']} frames (before {counts['before']}); CPU time, best of "
        f"{rounds} rounds for each video, in turn; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for what in ("reading", "looking"):
        seconds = {name: sum(getattr(best[name, path], what) for path in paths) for name in trees}
        print(
            f"{what:<8} now {seconds['now']:.3f} s, {commit} {seconds['before']:.3f} s, "
            f"ratio {seconds['now'] / seconds['before']:.3f}"
        )


def _start(tree: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _READER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
    )


def _ask(reader: "subprocess.Popen[str]", path: Path) -> tuple[float, float, float]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(f"{path.resolve()}\n")
    reader.stdin.flush()
    answer = reader.stdout.readline().split()
    if len(answer) != 3:
        raise RuntimeError(f"{path} cannot be read by one of the two commits")
    looking, reading, frames = (float(word) for word in answer)
    return looking, reading, frames
