"""The estimate of dependency, on sources whose answer is known, and the tool that draws it."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.datasets.tokens import TokenManifest, TokenWriter
from tools.token_dependency import estimate as dependency

STAY_TIME, STAY_SPACE, SYMBOLS = 0.8, 0.6, 8


def markov_rows(clips: int, rows: int = 8, seed: int = 0) -> np.ndarray:
    """Tokens [n, 3, rows, 9]: every row of every clip is an independent Markov field over (t, w).

    The symbol moves by independent steps along t and along w, each step 0 with the probability to stay and
    else uniform, so the information at an offset follows from ``STAY_TIME ** dt * STAY_SPACE ** dw``.
    """
    rng = np.random.default_rng(seed)

    def walk(steps: int, stay: float) -> np.ndarray:
        moves = rng.integers(0, SYMBOLS, (clips, rows, steps)) * (rng.random((clips, rows, steps)) > stay)
        moves[..., 0] = rng.integers(0, SYMBOLS, (clips, rows))
        return moves.cumsum(-1)

    return ((walk(3, STAY_TIME)[..., :, None] + walk(9, STAY_SPACE)[..., None, :]) % SYMBOLS).transpose(
        0, 2, 1, 3
    )


def known_information(dt: int, dw: int) -> float:
    same = STAY_TIME**dt * STAY_SPACE**dw
    equal = same + (1 - same) / SYMBOLS
    other = 1 - equal
    return float(np.log(SYMBOLS) + equal * np.log(equal) + other * np.log(other / (SYMBOLS - 1)))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return markov_rows(400)


@pytest.mark.parametrize(
    ("dt", "dw"), [(0, 1), (0, 2), (0, 4), (1, 0), (2, 0), (1, 1), (2, 3), (0, -1), (-1, 2)]
)
def test_the_known_information_of_a_markov_field_is_found(rows: np.ndarray, dt: int, dw: int) -> None:
    found = dependency.mutual_information(rows, (dt, 0, dw), SYMBOLS)
    expected = known_information(abs(dt), abs(dw))
    assert abs(found.information - expected) < max(4 * found.error, 1e-4)
    assert found.error < 0.05 * expected + 2e-3


@pytest.mark.parametrize("offset", [(0, 1, 0), (0, 3, 1), (1, 2, 0), (2, -1, 3)])
def test_independent_rows_tell_nothing_about_each_other(
    rows: np.ndarray, offset: tuple[int, int, int]
) -> None:
    found = dependency.mutual_information(rows, offset, SYMBOLS)
    assert abs(found.information) < 4 * found.error
    assert found.error < 2e-3


def test_independent_tokens_give_nothing_within_the_error_and_the_error_is_honest() -> None:
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tokens = (rng.random((40, 2, 4, 4)) ** 2 * 12).astype(np.int64)
        found = dependency.mutual_information(tokens, (0, 0, 1), 12, seed=seed)
        assert found.plug_in > 0.03, "the case is meant to be one where the uncorrected estimate is wrong"
        ratios.append(found.information / found.error)
    assert abs(np.mean(ratios)) < 4 / np.sqrt(40)
    assert 0.4 < np.std(ratios) < 2.0


def test_frequencies_that_differ_by_place_are_not_taken_for_dependence() -> None:
    rng = np.random.default_rng(0)
    favourite = np.arange(16).reshape(1, 1, 4, 4) // 4
    tokens = np.where(rng.random((500, 2, 4, 4)) < 0.7, favourite, rng.integers(0, 4, (500, 2, 4, 4)))
    found = dependency.mutual_information(tokens, (0, 0, 1), 4)
    assert found.plug_in > 0.2
    assert abs(found.information) < 4 * found.error


def test_tokens_of_clips_of_a_single_symbol_tell_all_about_each_other() -> None:
    tokens = np.broadcast_to(np.arange(64)[:, None, None, None] % 2, (64, 2, 3, 3)).astype(np.int64)
    found = dependency.mutual_information(tokens, (1, 2, 2), 2)
    assert np.isclose(found.plug_in, np.log(2), rtol=1e-6)


def test_both_directions_of_an_offset_agree(rows: np.ndarray) -> None:
    there = dependency.mutual_information(rows, (1, 0, 2), SYMBOLS)
    back = dependency.mutual_information(rows, (-1, 0, -2), SYMBOLS)
    assert np.isclose(there.plug_in, back.plug_in, rtol=1e-9)
    assert there.pairs == back.pairs == 400 * 2 * 8 * 7


def test_coarse_groups_keep_what_neighbours_tell() -> None:
    """512 ids: a hidden symbol of 8, and 64 ids for each that tell nothing more, under mixed names."""
    rng = np.random.default_rng(1)
    hidden = markov_rows(500)
    names = rng.permutation(512)
    tokens = names[hidden * 64 + rng.integers(0, 64, hidden.shape)]
    groups = dependency.coarsen(tokens[::2], 512, 8)
    found = dependency.mutual_information(groups[tokens[1::2]], (0, 0, 1), 8)
    expected = known_information(0, 1)
    assert 0.95 * expected < found.information < expected + 4 * found.error
    at_random = dependency.mutual_information(tokens[1::2] % 8, (0, 0, 1), 8)
    assert at_random.information < 0.1 * expected
    shares = np.bincount(groups[tokens].reshape(-1), minlength=8) / tokens.size
    assert shares.min() > 0.1


def test_small_codebooks_and_few_seen_ids_are_kept_apart() -> None:
    tokens = np.full((4, 1, 2, 2), 900, dtype=np.int64)
    tokens[0] = 7
    np.testing.assert_array_equal(dependency.coarsen(tokens, 1024, 8)[[7, 900]], [0, 1])
    np.testing.assert_array_equal(dependency.coarsen(tokens % 8, 8, 8), np.arange(8))


def test_entropy_is_that_of_the_symbols(rows: np.ndarray) -> None:
    assert np.isclose(dependency.entropy(rows, SYMBOLS), np.log(SYMBOLS), atol=1e-3)


@pytest.mark.parametrize(
    ("tokens", "offset", "message"),
    [
        (np.zeros((8, 2, 4, 4)), (0, 0, 1), "int64"),
        (np.zeros((8, 4, 4), np.int64), (0, 0, 1), r"\[n, t, h, w\]"),
        (np.full((8, 2, 4, 4), 9), (0, 0, 1), r"0\.\.7"),
        (np.zeros((3, 2, 4, 4), np.int64), (0, 0, 1), "3 clips"),
        (np.zeros((8, 2, 4, 4), np.int64), (2, 0, 0), "leaves no pairs"),
    ],
)
def test_wrong_tokens_are_refused(tokens: np.ndarray, offset: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dependency.mutual_information(tokens, offset, 8)


def test_fewer_than_two_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        dependency.coarsen(np.zeros((4, 1, 2, 2), np.int64), 1024, 1)


def test_groups_fitted_on_noise_find_nothing_in_other_noise() -> None:
    tokens = np.random.default_rng(0).integers(0, 700, (200, 2, 6, 6))
    groups = dependency.coarsen(tokens[::2], 700, 16)
    assert len(np.unique(groups)) == 16
    found = dependency.mutual_information(groups[tokens[1::2]], (0, 0, 1), 16)
    assert abs(found.information) < 4 * found.error


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("tools.token_dependency.__main__")


def test_every_pair_of_tokens_has_one_offset(tool: ModuleType) -> None:
    offsets = tool.half_offsets(1, 2, 3)
    assert len(offsets) == len(set(offsets)) == (5 * 7 - 1) // 2 + 5 * 7
    same_frame = {offset for offset in offsets if offset[0] == 0}
    assert not same_frame & {(0, -dh, -dw) for _, dh, dw in same_frame}


def test_the_tool_writes_the_known_answer_and_a_picture_of_it(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tokens(tmp_path / "tokens", markov_rows(150), 8)
    tool.main(str(folder), str(tmp_path / "out"), max_distance=3, max_frames=1, groups=8)
    report = json.loads((tmp_path / "out" / "dependency.json").read_text())
    assert (report["clips"], report["groups"], report["grid"]) == (150, 8, [3, 8, 9])
    for one in report["offsets"]:
        dt, dh, dw = one["offset"]
        expected = 0.0 if dh else known_information(dt, abs(dw))
        assert abs(one["information"] - expected) < 5 * one["error"], one["offset"]
    image = Image.open(tmp_path / "out" / "dependency.png").convert("RGB")
    assert len(image.getcolors(maxcolors=100_000)) > 100
    found = {tuple(one["offset"]): one["information"] for one in report["offsets"]}
    for dt in (0, 1):
        heat = tool.information_map(report, dt)
        assert heat.shape == (7, 7)
        assert heat[3, 3 + 2] == max(found[dt, 0, 2], 0)
        assert heat[3 + 1, 3 - 1] == max(found[dt, 1, -1], 0)
    assert np.isnan(tool.information_map(report, 0)).sum() == 1  # a token and itself
    curves = tool.draw(report).axes[0].containers
    drawn = dict(curves[1].lines[0].get_xydata().tolist())
    along = {distance: value for distance, value, _ in tool.by_distance(report, 1)}
    assert drawn == along
    assert set(along) == {0, 1, 2, 3}
    assert np.isclose(along[0], known_information(1, 0), atol=0.05)
    assert re.search(r"^1 frame later, by distance in cells: 0: \d", capsys.readouterr().out, re.MULTILINE)


def test_a_large_codebook_is_grouped_on_half_of_the_clips_and_measured_on_the_other(tool: ModuleType) -> None:
    hidden = markov_rows(320)
    tokens = hidden * 64 + np.random.default_rng(0).integers(0, 64, hidden.shape)
    report = tool.measure(tokens, 16, max_distance=1, max_frames=0, shuffles=2, seed=0)
    assert (report["clips"], report["groups"], report["ids_seen"]) == (160, 16, 512)
    found = {tuple(one["offset"]): one for one in report["offsets"]}
    assert found[0, 0, 1]["information"] > 0.9 * known_information(0, 1)
    assert abs(found[0, 1, 0]["information"]) < 4 * found[0, 1, 0]["error"]


def test_one_view_of_every_clip_is_measured(tool: ModuleType) -> None:
    ids = ["b/2 center", "a/1 center", "b/2 flipped", "a/1 flipped"]
    assert tool.one_view(ids, 2) == [1, 0]
    assert tool.one_view(ids[:2], 1) == [1, 0]


def write_tokens(folder: Path, tokens: np.ndarray, codebook_size: int) -> Path:
    clips = len(tokens)
    manifest = TokenManifest(
        tokenizer="t",
        data="d",
        grid=tokens.shape[1:],
        codebook_size=codebook_size,
        class_names=["a"],
        frames=9,
        fps=8.0,
        stride=None,
        views=["center", "center flipped"],
        ids=[f"clip{number:04d}/{view}" for view in ("center", "center flipped") for number in range(clips)],
        labels=[0] * (2 * clips),
        shard_size=2 * clips,
    )
    writer = TokenWriter(folder, manifest)
    writer.write_shard(0, torch.from_numpy(np.concatenate([tokens, tokens[..., ::-1]])))
    writer.finish()
    return folder
