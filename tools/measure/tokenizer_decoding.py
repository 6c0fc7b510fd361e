"""Measure decoding: float32 and bf16, memory formats, torch.compile, whole clips and long streams."""

from jsonargparse import auto_cli

from parvideo.benchmark.decoders import DecodeForm, measure_decode
from parvideo.benchmark.timing import Clock

FORMS = [
    DecodeForm(),
    DecodeForm(channels_last=True),
    DecodeForm(bf16=True),
    DecodeForm(bf16=True, channels_last=True),
    DecodeForm(bf16=True, channels_last=True, latent_frames=1),
    DecodeForm(bf16=True, channels_last=True, latent_frames=2),
    DecodeForm(compiled=True),
    DecodeForm(bf16=True, channels_last=True, compiled=True),
]


def forms(
    preset: str = "base",
    frames: int = 17,
    size: int = 128,
    threads: int = 1,
    repeats: int = 2,
    clock: Clock = "cpu",
    compiled: bool = True,
) -> None:
    """Decode one clip in every form and print the table.

    Args:
        preset: of the tokenizer.
        frames: of the clip.
        size: of a frame.
        threads: of the processor.
        repeats: of which the best counts.
        clock: seconds that passed, or that one thread computed.
        compiled: measure torch.compile too.
    """
    print(f"{preset}, {frames}x{size}x{size}, {threads} thread, {clock} time")
    print("| form | seconds | against float32 | peak beside weights, MiB |\n|---|---|---|---|")
    first = 0.0
    for form in FORMS:
        if compiled or not form.compiled:
            row = measure_decode(preset, form, (frames, size, size), repeats, threads, clock)
            first = first or row.seconds
            print(
                f"| {row.form} | {row.seconds:.2f} | {first / row.seconds:.2f} x"
                f" | {row.peak_bytes / 2**20:.0f} |",
                flush=True,
            )


def streams(
    preset: str = "tiny",
    lengths: tuple[int, ...] = (17, 65, 257),
    size: int = 128,
    latent_frames: int = 1,
    threads: int = 1,
) -> None:
    """Decode clips of several lengths whole and as streams, and print the memory each peaks at.

    Args:
        preset: of the tokenizer.
        lengths: frames of the clips.
        size: of a frame.
        latent_frames: of a chunk.
        threads: of the processor.
    """
    print("| frames | whole: peak beside weights, MiB | streamed |\n|---|---|---|")
    for frames in lengths:
        peaks = [
            measure_decode(
                preset, DecodeForm(latent_frames=chunk), (frames, size, size), 1, threads
            ).peak_bytes
            for chunk in (0, latent_frames)
        ]
        print(f"| {frames} | {peaks[0] / 2**20:.0f} | {peaks[1] / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    auto_cli([forms, streams], prog="python -m tools.measure.tokenizer_decoding")
