"""End to end: sums, shares and ratios follow from what was measured; no test asserts a time."""

from typing import Any

import pytest
import torch

from parvideo.benchmark import end_to_end as module
from parvideo.benchmark.end_to_end import decode_forms, end_to_end, time_decoders

SLOW, FAST = 8.0, 2.0


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_and_a_lighter_decoder_are_measured_beside(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "multiplies_bf16", lambda device: able)
    dtypes = ["float32", "bfloat16"] if able else ["float32"]
    assert decode_forms("base") == [(name, dtype) for name in ("base", "light") for dtype in dtypes]
    assert decode_forms("tiny") == [("tiny", dtype) for dtype in dtypes]


def test_every_form_decodes_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, decode = [], module.Decoder.decode

    def spy(decoder: Any, tokens: torch.Tensor, pixels: int, batch: int) -> torch.Tensor:
        clips = decode(decoder, tokens, pixels, batch)
        seen.append((decoder.dtype(tokens.device), tuple(clips.shape)))
        return clips

    monkeypatch.setattr(module.Decoder, "decode", spy)
    forms = [("tiny", "float32"), ("tiny", "bfloat16")]
    seconds, shape = time_decoders(forms, 2, (3, 4, 4), "wall")
    assert shape == (9, 16, 16)
    assert list(seconds) == forms
    assert all(0 < value < 60 for value in seconds.values())
    assert seen == [(dtype, (2, 9, 16, 16, 3)) for _ in range(module.ROUNDS) for _, dtype in forms]


def test_sums_shares_and_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {("base", "float32"): SLOW, ("light", "float32"): FAST}
    monkeypatch.setattr(module, "time_decoders", lambda *given: (times, (17, 128, 128)))
    shown: list[str] = []
    report = end_to_end("base", 1, (5, 16, 16), "cpu", {"1x": 22.0, "16x": 2.0}, shown.append)
    assert (report["preset"], report["decode_seconds"]) == ("base", SLOW)
    assert report["end_to_end_seconds"] == {"1x": 30.0, "16x": 10.0}
    rows = {(row["preset"], row["order"]): row for row in report["decoders"]}
    assert rows["base", "16x"]["decoder_share"] == 0.8
    assert rows["base", "16x"]["speed_up"] == 3.0
    assert rows["light", "16x"]["decoder_share"] == 0.5
    assert rows["light", "16x"]["speed_up"] == 6.0
    assert {row["speed_up"] for row in report["decoders"] if row["order"] == "1x"} == {1.0}
    assert rows["light", "16x"]["transformer_seconds"] == 2.0
    text = "\n".join(shown)
    assert "light decodes 1 x 17 x 128 x 128 pixels in 2.00 s (float32" in text
    assert "80%" in text
    assert "6.00x" in text
