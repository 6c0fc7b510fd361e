"""Reading of 600 mutated video files: no crash, no hang, and every file that cannot be read named."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.video_info import UnreadableVideoError
from parvideo.datasets.writing import write_avi, write_mp4
from parvideo.synthetic.shapes import ShapesSettings, SyntheticVideo, render_shapes_clip

FILES = 600
KINDS = ("truncated", "bits", "bytes", "hole", "header", "empty", "suffix", "tail")


def mutate(whole: bytes, kind: str, rng: random.Random) -> bytes:
    content = bytearray(whole)
    if kind == "truncated":
        return bytes(content[: rng.randrange(len(content))])
    if kind == "empty":
        return b""
    if kind == "tail":
        return bytes(content[rng.randrange(1, len(content)) :])
    if kind == "hole":
        start = rng.randrange(len(content))
        length = len(content[start : start + rng.randrange(1, 5000)])
        content[start : start + length] = bytes(length)
    elif kind == "header":
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(min(600, len(content)))] = rng.randrange(256)
    elif kind == "bits":
        for _ in range(rng.choice([1, 10, 100, 1000])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(rng.choice([1, 10, 100, 1000])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def write_ten_bit(path: Path, clip: torch.Tensor) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = clip.shape[1], clip.shape[2], "yuv420p10le"
        for frame in clip.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    clip = render_shapes_clip(ShapesSettings(frames=40), SyntheticVideo(2, 1, 1))
    write_avi(folder / "a.avi", clip, 25)
    write_mp4(folder / "a.mp4", clip, 25)
    write_ten_bit(folder / "ten.mp4", clip)
    write_ten_bit(folder / "ten.mkv", clip)
    return sorted(folder.iterdir())


def read_like_a_data_set(path: Path) -> str:
    """What became of a file: "read", or the reason why not; any other exception goes up."""
    try:
        info = probe(path)
        read_frames(path, range(0, min(info.frames, 60), 5))
    except UnreadableVideoError as error:
        named = error
    else:
        return "read"
    assert str(path) in str(named)
    assert named.reason
    return named.reason


@pytest.mark.slow
def test_mutated_files_are_read_or_named(sources: list[Path], tmp_path: Path) -> None:
    """In a process of its own, with a time limit: a crash or a hang of a decoder would end this one."""
    for number in range(FILES):
        rng = random.Random(number)
        source, kind = sources[number % len(sources)], KINDS[number // len(sources) % len(KINDS)]
        suffix = rng.choice([".mkv", ".txt", ".avi"]) if kind == "suffix" else source.suffix
        (tmp_path / f"{number:04d}-{kind}{suffix}").write_bytes(mutate(source.read_bytes(), kind, rng))
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, f"ended after {run.stdout.splitlines()[-1:]}: {run.stderr[-2000:]}"
    results = dict(line.split("\t", 1) for line in run.stdout.splitlines())
    assert len(results) == FILES
    for name, outcome in results.items():
        if "-empty" in name:
            assert outcome != "read", name
        if "-suffix" in name:  # the content counts and not the name
            assert outcome == "read", name
    assert 100 < sum(outcome != "read" for outcome in results.values()) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_of_each_kind(sources: list[Path], tmp_path: Path, kind: str) -> None:
    for number, source in enumerate(sources):
        path = tmp_path / f"{number}{source.suffix}"
        path.write_bytes(mutate(source.read_bytes(), kind, random.Random(number)))
        outcome = read_like_a_data_set(path)
        assert (outcome == "read") or kind != "suffix"
        assert (outcome != "read") or kind != "empty"


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).iterdir()):
        sys.stdout.write(f"{file.name}\t{read_like_a_data_set(file)}\n")
        sys.stdout.flush()
