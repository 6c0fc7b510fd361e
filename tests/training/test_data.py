"""Data modules: resumed at a sample, shared out over devices, and the same whatever the workers."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parvideo.training.data import ClipDataModule, TokenDataModule, split_videos

CLIPS: dict[str, Any] = {"frames": 3, "size": 8, "fps": 12.5, "seed": 5}


def place(module: Any, rank: int, world_size: int, batches: int = 0) -> Any:
    """Put a data module on one device of many, after so many batches."""
    progress = SimpleNamespace(total=SimpleNamespace(ready=batches))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=loop)
    module.setup("fit")
    return module


def ids(batches: Any, count: int | None = None) -> list[list[str]]:
    return [batch["id"] for batch in itertools.islice(batches, count)]


def test_devices_partition_each_batch(tokens_folder: Path) -> None:
    alone = ids(place(TokenDataModule(tokens_folder, batch_size=4), 0, 1).train_dataloader(), 12)
    shares = [
        ids(place(TokenDataModule(tokens_folder, batch_size=2), rank, 2).train_dataloader(), 12)
        for rank in (0, 1)
    ]
    assert [one + two for one, two in zip(*shares, strict=True)] == alone
    assert len({name for batch in alone[:5] for name in batch}) == 20  # of 22: nothing twice in an epoch


@pytest.mark.parametrize("batches", [0, 3, 7])
def test_a_run_goes_on_at_the_sample_it_has_reached(tokens_folder: Path, batches: int) -> None:
    whole = ids(tokens_after(tokens_folder, 0).train_dataloader(), 12)
    resumed = tokens_after(tokens_folder, batches)
    assert resumed.samples_drawn() == 3 * batches
    assert ids(resumed.train_dataloader(), 12 - batches) == whole[batches:]


def tokens_after(folder: Path, batches: int) -> Any:
    return place(TokenDataModule(folder, batch_size=3, seed=1), 0, 1, batches)


def test_a_run_that_was_begun_with_other_batches_counts_samples(tokens_folder: Path) -> None:
    """24 samples in 6 batches of 4, and then batches of 3 on two devices each."""
    module = place(TokenDataModule(tokens_folder, batch_size=3, seed=1), 0, 2, 8)
    module.begun_at = (24, 6)
    assert module.samples_drawn() == 24 + 2 * 3 * 2
    alone = ids(tokens_after(tokens_folder, 0).train_dataloader(), 14)
    assert ids(module.train_dataloader(), 1) == alone[12:13]


def test_held_out_samples_are_validated_once_over_all_devices(tokens_folder: Path) -> None:
    shares = [
        ids(place(TokenDataModule(tokens_folder, val_batch_size=2), rank, 2).val_dataloader())
        for rank in (0, 1)
    ]
    assert len(shares[0]) == len(shares[1])
    seen = [name for share in shares for batch in share for name in batch]
    assert seen == [f"test{index} center" for index in range(5)]


def test_tokens_come_with_their_own_labels(tokens_folder: Path) -> None:
    module = place(TokenDataModule(tokens_folder, batch_size=5), 0, 1)
    assert module.spec.class_names == ["Left", "Right"]
    assert (module.spec.grid, module.spec.codebook_size) == ((2, 2, 2), 9)
    for batch in itertools.islice(module.train_dataloader(), 6):
        assert batch["tokens"].shape == (5, 2, 2, 2)
        # As the folder was made: 4 * label + 0 or 1.
        assert torch.equal(batch["tokens"].flatten(1) // 4, batch["label"][:, None].expand(-1, 8))
        assert [int(name.removeprefix("train").split()[0]) % 2 for name in batch["id"]] == batch[
            "label"
        ].tolist()


def test_each_epoch_cuts_other_clips_and_always_the_same_ones(toy_folder: Path) -> None:
    def draw(**changes: Any) -> list[dict[str, Any]]:
        module = place(ClipDataModule(toy_folder, **{**CLIPS, "batch_size": 8, **changes}), 0, 1)
        return list(itertools.islice(module.train_dataloader(), 2))

    first, again = draw(), draw()
    assert sorted(first[0]["id"]) == sorted(first[1]["id"])  # eight videos, each once an epoch
    for one, other in zip(first, again, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["clip"], other["clip"])
    by_id = [dict(zip(batch["id"], batch["clip"], strict=True)) for batch in first]
    assert any(not torch.equal(by_id[0][name], by_id[1][name]) for name in by_id[0])
    assert [batch["id"] for batch in draw(seed=6)] != [batch["id"] for batch in first]


def test_worker_processes_change_no_clip(toy_folder: Path) -> None:
    drawn = []
    for workers in (0, 2):
        module = place(
            ClipDataModule(toy_folder, **CLIPS, batch_size=3, num_workers=workers, flip=True), 0, 1
        )
        drawn.append(list(itertools.islice(module.train_dataloader(), 4)))
    for one, other in zip(*drawn, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["clip"], other["clip"])


def test_clips_to_validate_are_a_fixed_choice_of_the_test_split(toy_folder: Path) -> None:
    def chosen(count: int | None) -> list[str]:
        module = place(ClipDataModule(toy_folder, **CLIPS, val_clips=count), 0, 1)
        return [name for batch in ids(module.val_dataloader()) for name in batch]

    everything = chosen(None)
    assert len(set(everything)) == 4
    assert chosen(3) == chosen(3)
    assert len(set(chosen(3)) & set(everything)) == 3


def test_drawing_batches_leaves_the_global_generator_alone(tokens_folder: Path) -> None:
    """Else dropout would depend on when a loader starts."""
    before = torch.get_rng_state()
    next(iter(tokens_after(tokens_folder, 0).train_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)


def test_time_that_is_held_out_is_not_trained_on(toy_folder: Path) -> None:
    train, test = (split_videos(toy_folder, split, held_out_time=0.25) for split in ("train", "test"))
    assert [record.id for record in train[0].records] == [record.id for record in test[0].records]
    assert (train[1], test[1]) == ((0.0, 0.75), (0.75, 1.0))
    by_video = [{r.id for r in split_videos(toy_folder, split)[0].records} for split in ("train", "test")]
    assert not by_video[0] & by_video[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": -1}, "num_workers is -1"),
        ({"batch_size": 0}, "batch_size"),
        ({"val_batch_size": 0}, "val_batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_named(tokens_folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenDataModule(tokens_folder, **changes)
