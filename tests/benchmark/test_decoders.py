"""Decoding is measured in a process of its own; nothing here asserts a time."""

import pytest
import torch

from parvideo.benchmark import decoders
from parvideo.benchmark.decoders import DecodeForm, measure_decode
from parvideo.tokenizer import CausalVideoTokenizer


def test_decoding_is_measured() -> None:
    figures = measure_decode("tiny", DecodeForm(), clip=(65, 64, 64), repeats=1)
    parameters = sum(p.numel() for p in CausalVideoTokenizer.from_preset("tiny").parameters())
    assert figures.weight_bytes == 4 * parameters
    assert (figures.preset, figures.form, figures.frames) == ("tiny", "float32, whole", 65)
    assert figures.seconds > 0
    assert figures.peak_bytes > 65 * 64 * 64 * 3 * 4  # the clip itself, float32


def test_a_stream_gives_all_frames() -> None:
    """In this process: another takes seconds to start."""
    form, threads = DecodeForm(bf16=True, latent_frames=2), torch.get_num_threads()
    figures = decoders._measure("tiny", form, (13, 32, 32), 1, threads, "wall")
    assert (figures.form, figures.frames) == ("bf16, stream of 2", 13)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="preset must be one of tiny, base, light, nbp; got 'large'"):
        measure_decode("large", DecodeForm())
    with pytest.raises(ValueError, match="got 4"):
        measure_decode("tiny", DecodeForm(), clip=(4, 32, 32))
