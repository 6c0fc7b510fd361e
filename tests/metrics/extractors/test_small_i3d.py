"""The small network learns motion, stays as trained, and says that its FVD compares with nothing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from parvideo.metrics.extractors.small_i3d import SmallI3DExtractor, train_classifier


def moving_bars(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bars that move left (0) or right (1): no single frame tells which, and a flip would swap them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    start = torch.randint(0, 16, (n,), generator=generator)
    frames = torch.arange(9)
    position = (start[:, None] + (2 * labels[:, None] - 1) * frames) % 16  # [n, T]
    bars = (torch.arange(16) - position[..., None]) % 16 < 4  # [n, T, W]
    noise = torch.randint(0, 40, (n, 9, 16, 16, 3), generator=generator)
    return (bars[:, :, None, :, None] * 180 + noise).to(torch.uint8), labels


@pytest.fixture(scope="module")
def extractor() -> SmallI3DExtractor:
    return train_classifier(*moving_bars(64, 0), num_classes=2, steps=40, batch_size=16, width=8, lr=1e-2)


def test_learns_the_direction_of_motion(extractor: SmallI3DExtractor) -> None:
    clips, labels = moving_bars(64, 1)
    accuracy = (extractor.classify(clips).argmax(1) == labels).float().mean()
    assert accuracy > 0.9
    backwards = (extractor.classify(clips.flip(1)).argmax(1) == 1 - labels).float().mean()
    assert backwards > 0.9


def test_training_is_a_function_of_its_seed_and_leaves_global_state_alone() -> None:
    clips, labels = moving_bars(16, 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    losses: list[list[tuple[int, float]]] = [[], [], []]
    prints = [
        train_classifier(
            clips, labels, 2, 3, seed=seed, width=4, on_step=lambda s, x, seen=seen: seen.append((s, x))
        ).fingerprint
        for seed, seen in zip((0, 0, 1), losses, strict=True)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert prints[0] == prints[1] != prints[2]
    assert losses[0] == losses[1] != losses[2]
    assert [step for step, _ in losses[0]] == [1, 2, 3]


def test_saved_and_loaded_it_is_the_same(extractor: SmallI3DExtractor, tmp_path: Path) -> None:
    extractor.save(tmp_path / "features")
    loaded = SmallI3DExtractor.load(tmp_path / "features")
    clips, _ = moving_bars(4, 2)
    assert loaded.fingerprint == extractor.fingerprint
    assert (loaded.dim, loaded.size, loaded.frames) == (32, 16, 9)
    assert torch.equal(loaded(clips), extractor(clips))
    assert torch.equal(loaded.train()(clips), extractor(clips))
    (tmp_path / "features/config.json").write_text("{}")
    with pytest.raises(ValueError, match="does not describe"):
        SmallI3DExtractor.load(tmp_path / "features")


def test_features_do_not_depend_on_the_batch(extractor: SmallI3DExtractor) -> None:
    clips, _ = moving_bars(6, 3)
    together, alone = extractor(clips), torch.cat([extractor(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_says_that_it_is_not_comparable(extractor: SmallI3DExtractor) -> None:
    assert "not comparable with any published FVD" in extractor.comparability


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": torch.zeros(4, 8, 16, 16, 3, dtype=torch.uint8)}, "8 frames"),
        ({"clips": torch.zeros(4, 9, 16, 20, 3, dtype=torch.uint8)}, "square"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, "0..1"),
        ({"labels": torch.zeros(4)}, "int64"),
        ({"steps": 0}, "steps is 0"),
        ({"num_classes": 1, "labels": torch.zeros(4, dtype=torch.int64)}, "at least 2"),
    ],
)
def test_refuses_wrong_input(change: dict, message: str) -> None:
    arguments = {
        "clips": torch.zeros(4, 9, 16, 16, 3, dtype=torch.uint8),
        "labels": torch.tensor([0, 1, 1, 0]),
        "num_classes": 2,
        "steps": 1,
    }
    with pytest.raises(ValueError, match=message):
        train_classifier(**{**arguments, **change})
