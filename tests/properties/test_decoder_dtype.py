"""From the measured loss to the clips: tokenize and reconstruct state it, sample and evaluate go by it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parvideo.cli import main
from parvideo.evaluation.sources import GeneratedClips
from parvideo.files import read_json
from parvideo.jobs.bf16_loss import measure_bf16_loss
from parvideo.jobs.tokenize import LOSS_CLIPS
from parvideo.pipeline import VideoPipeline, decoding
from parvideo.pipeline.decoding import BF16_NOTE
from parvideo.pretrained.folder import (
    add_note,
    fingerprint,
    load_clip_format,
    load_extra,
    load_tokenizer,
    save_tokenizer,
)
from parvideo.sampling import SamplingConfig


def parvideo(*words: object) -> int:
    return main([str(word) for word in words])


def test_tokens_come_with_the_loss_of_their_tokenizer(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    given = ("--tokenizer", tokenizer_folder, "--data", toy_folder, "--accelerator", "cpu")
    assert parvideo("tokenize", *given, "--out", tmp_path) == 0
    stated = load_extra(tmp_path / "tokenizer")[BF16_NOTE]
    assert stated["clips"] == LOSS_CLIPS
    assert stated["loss_db"] == pytest.approx(stated["psnr"] - stated["psnr_bf16"], abs=2e-4)
    assert BF16_NOTE not in load_extra(tokenizer_folder)  # another's folder is only read
    assert fingerprint(tmp_path / "tokenizer") == fingerprint(tokenizer_folder)


def test_reconstruct_states_the_loss_in_the_tokenizers_folder(
    toy_folder: Path,
    generator_folder: Path,
    tokenizer_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_tokenizer(
        tmp_path / "own", load_tokenizer(tokenizer_folder), clip_format=load_clip_format(tokenizer_folder)
    )
    files = sorted(toy_folder.glob("*/*.avi"))[:2]
    given = (*files, "--tokenizer", tmp_path / "own", "--out", tmp_path / "out")
    assert parvideo("reconstruct", *given) == 0
    assert BF16_NOTE not in load_extra(tmp_path / "own")  # nothing is stated that was not asked for
    assert parvideo("reconstruct", *given, "--bf16") == 0
    stated = load_extra(tmp_path / "own")[BF16_NOTE]
    assert stated["clips"] == 2
    printed = capsys.readouterr().out
    assert f"a loss of {stated['loss_db']:.4f} dB, stated in {tmp_path / 'own'}" in printed
    assert f"{stated['psnr']:.4f} dB in float32, {stated['psnr_bf16']:.4f} dB in bfloat16" in printed
    assert stated["psnr"] == pytest.approx(
        read_json(tmp_path / "out/reconstruct.json")["all"]["psnr"], abs=1e-3
    )
    assert load_clip_format(tmp_path / "own").frames == 5


def clips(folder: Path) -> np.ndarray[Any, Any]:
    made: np.ndarray[Any, Any] = np.load(folder / "clips-00000.npz")["clips"]
    return made


def test_samples_are_decoded_as_their_folder_says(
    generator_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(decoding, "multiplies_bf16", lambda device: True)
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    pipeline.save_pretrained(tmp_path / "model")
    given = ("sample", "--model", tmp_path / "model", "--num", 2, "--previews", 0, "--out")
    assert parvideo(*given, tmp_path / "exact") == 0
    assert "decoder_dtype" not in read_json(tmp_path / "exact" / "sample.json")
    add_note(tmp_path / "model" / "tokenizer", BF16_NOTE, {"loss_db": 0.002})
    assert parvideo(*given, tmp_path / "rough") == 0
    assert read_json(tmp_path / "rough" / "sample.json")["decoder_dtype"] == "bfloat16"
    assert parvideo(*given, tmp_path / "asked", "--decoder-dtype", "float32") == 0
    exact, rough, asked = (clips(tmp_path / name) for name in ("exact", "rough", "asked"))
    assert np.array_equal(exact, asked)
    assert not np.array_equal(exact, rough)
    # A folder never mixes the two.
    capsys.readouterr()
    assert parvideo(*given, tmp_path / "exact") == 2
    assert 'decoder_dtype (null, now "bfloat16")' in capsys.readouterr().err


def test_an_evaluation_is_known_by_its_decoder(
    generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "multiplies_bf16", lambda device: True)
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    source = [GeneratedClips(pipeline, [0, 1], SamplingConfig(), generator_folder)]
    pipeline.decoder.ask("bfloat16")
    source.append(GeneratedClips(pipeline, [0, 1], SamplingConfig(), generator_folder))
    assert source[0].manifest != source[1].manifest
    assert [each.description.get("decoder_dtype") for each in source] == [None, "bfloat16"]


def test_a_tokenizer_that_decodes_in_float32_alone_states_nothing() -> None:
    assert measure_bf16_loss(object(), []) is None  # type: ignore[arg-type]
