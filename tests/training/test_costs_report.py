"""The costs printed before a run."""

from pathlib import Path

import pytest

from parvideo.cli import main
from parvideo.files import config_folder
from tests.training.runs import arguments


def test_costs_are_printed_for_the_tokens_there(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *arguments(tokens_folder, tmp_path, "--global_batch=8", "--print-costs")]) == 0
    printed = capsys.readouterr().out
    assert "2x2x2 = 8 a clip, 9 codes, 2 classes: found" in printed
    assert "4 steps of 8 clips" in printed
    assert "8 x 80 GB" in printed
    assert not (tmp_path / "config.yaml").exists()


def test_a_teachers_passes_are_counted(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ['--model.more_orders=[{"regions": [1, 1, 1]}]', "--model.distillation=0.5"]
    more += ['--model.order_weights={"1x2x2": 1, "1x1x1": 3}']
    for given, told in ((more, True), (more[:1], False)):
        assert main(["fit", *arguments(tokens_folder, tmp_path, *given, "--print-costs")]) == 0
        assert ("a forward pass in 1x for 25% of the batches" in capsys.readouterr().out) == told


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        (
            ["generator/ucf101_1x2x2", "generator/orders/1x4x4"],
            ["95 of at most 16 tokens", "3,000 epochs", "512x125"],
        ),
        (["tokenizer/ucf101_128"], ["17x128x128 pixels to 5x16x16 tokens", "300,000 steps of 8 clips"]),
    ],
)
def test_costs_need_neither_data_nor_devices(
    configs: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--config={config_folder() / name}.yaml" for name in (*configs, "trainer/gpus")]
    assert main(["fit", *given, "--print-costs"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in expected)
