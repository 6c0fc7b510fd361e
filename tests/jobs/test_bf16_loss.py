"""The loss through bfloat16 is the difference of two PSNRs that are measured by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from parvideo.datasets.clip_format import ClipFormat
from parvideo.jobs.bf16_loss import measure_bf16_loss, state_bf16_loss
from parvideo.pipeline.decoding import BF16_NOTE
from parvideo.pixels import to_float
from parvideo.pretrained.folder import fingerprint, load_clip_format, load_extra, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from tests.world import make_tokenizer


def tokenizer() -> CausalVideoTokenizer:
    made = make_tokenizer((2,), (2,)).eval()
    for layer in made.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return made


def clips() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for size in (2, 1):
        yield torch.randint(256, (size, 3, 8, 8, 3), generator=generator, dtype=torch.uint8)


@torch.inference_mode()
def psnr(encoder: CausalVideoTokenizer, decoder: CausalVideoTokenizer) -> float:
    originals = to_float(torch.cat(list(clips())))
    error = (decoder.decode(encoder.encode(originals)) - originals).square().mean()
    return float(10 * torch.log10(4 / error))


def test_it_is_the_difference_of_two_psnrs() -> None:
    exact = tokenizer()
    found = measure_bf16_loss(exact, clips())
    assert found is not None
    expected = psnr(exact, exact), psnr(exact, exact.with_bf16_decoder())
    assert expected[0] != expected[1]
    assert found["clips"] == 3
    assert (found["psnr"], found["psnr_bf16"]) == pytest.approx(expected, abs=1e-3)
    assert found["loss_db"] == pytest.approx(expected[0] - expected[1], abs=1e-3)


def test_it_is_stated_once_and_the_model_stays_the_same(tmp_path: Path) -> None:
    network = tokenizer()
    save_tokenizer(tmp_path, network, clip_format=ClipFormat(frames=3), extra={"why": "a test"})
    before = fingerprint(tmp_path)
    state_bf16_loss(tmp_path, network, clips())
    notes = load_extra(tmp_path)
    assert notes[BF16_NOTE] == measure_bf16_loss(network, clips())
    assert load_clip_format(tmp_path).frames == 3
    assert (notes["why"], fingerprint(tmp_path)) == ("a test", before)

    def unread() -> Iterator[Tensor]:
        raise AssertionError("measured a second time")
        yield

    state_bf16_loss(tmp_path, network, unread())
    assert load_extra(tmp_path) == notes
