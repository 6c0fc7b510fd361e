"""Feature stores go on where they were, mix nothing, and references are used only where they belong."""

import json
from pathlib import Path

import numpy as np
import pytest

from parvideo.evaluation.feature_store import FeatureSet, FeatureStore, load_reference, save_reference

HEADER = {"protocol": "p", "extractor": "e", "dataset": "d"}


def some(ids: list[int]) -> FeatureSet:
    keys = np.array(ids, np.int64)
    return FeatureSet(keys[:, None] * np.ones((1, 3), np.float32), keys, keys // 2, keys % 5)


def equal(a: FeatureSet, b: FeatureSet) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("features", "ids", "groups", "labels"))


def test_shards_join_sorted_without_repeats(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "s", HEADER)
    assert store.done().tolist() == []
    with pytest.raises(ValueError, match="no features"):
        store.load()
    for part in ([7, 3, 5], [0, 2], [3, 4]):
        store.append(some(part))
    store.append(some([]))
    again = FeatureStore(tmp_path / "s", HEADER)
    assert again.done().tolist() == [0, 2, 3, 4, 5, 7]
    assert equal(again.load(), some([0, 2, 3, 4, 5, 7]))
    assert again.load().classes == 4


def test_interleaved_writers_do_not_collide(tmp_path: Path) -> None:
    for rank in range(3):
        FeatureStore(tmp_path / "s", HEADER).append(some(list(range(rank, 30, 3))))
    assert FeatureStore(tmp_path / "s", HEADER).done().tolist() == list(range(30))


@pytest.mark.parametrize("name", HEADER)
def test_another_header_is_refused(tmp_path: Path, name: str) -> None:
    FeatureStore(tmp_path / "s", HEADER).append(some([1]))
    with pytest.raises(ValueError, match=f"holds features made with another {name}"):
        FeatureStore(tmp_path / "s", {**HEADER, name: "x"})


def test_what_is_refused_before_its_first_features_claims_no_folder(tmp_path: Path) -> None:
    FeatureStore(tmp_path / "s", HEADER)
    assert not (tmp_path / "s").exists()
    FeatureStore(tmp_path / "s", {**HEADER, "dataset": "x"}).append(some([1]))
    (tmp_path / "s/header.json").unlink()
    with pytest.raises(ValueError, match="no header.json that says of what"):
        FeatureStore(tmp_path / "s", HEADER)


def test_reference_round_trip_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "ref.npz"
    save_reference(path, [(some([1, 2, 9]), HEADER)])
    found, header = load_reference(path, HEADER)
    assert equal(found, some([1, 2, 9]))
    assert header == HEADER
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)


def test_each_repeat_has_features_and_a_data_set_of_its_own(tmp_path: Path) -> None:
    headers = [HEADER, {**HEADER, "dataset": "d again"}]
    sets = [some([1, 2, 9]), some([4, 5])]
    save_reference(str(tmp_path / "ref.npz"), list(zip(sets, headers, strict=True)))
    for repeat in range(2):
        found, header = load_reference(str(tmp_path / "ref.npz"), headers[repeat], repeat)
        assert equal(found, sets[repeat])
        assert header == headers[repeat]
    with pytest.raises(ValueError, match="another dataset"):
        load_reference(tmp_path / "ref.npz", headers[0], 1)
    with pytest.raises(ValueError, match="holds 2 repeats, and repeat number 3 is wanted"):
        load_reference(tmp_path / "ref.npz", HEADER, 2)


def test_a_reference_of_one_repeat_written_before_there_were_several_loads(tmp_path: Path) -> None:
    text = json.dumps({"format": "parvideo-features-1", **HEADER})
    one = some([1, 2])
    arrays = {name: getattr(one, name) for name in ("features", "ids", "groups", "labels")}
    np.savez(tmp_path / "ref.npz", header=np.frombuffer(text.encode(), np.uint8), **arrays)
    assert equal(load_reference(tmp_path / "ref.npz", HEADER)[0], one)


@pytest.mark.parametrize("name", HEADER)
def test_mismatched_reference_is_refused(tmp_path: Path, name: str) -> None:
    save_reference(tmp_path / "ref.npz", [(some([1, 2]), HEADER)])
    with pytest.raises(ValueError, match=f"another {name}"):
        load_reference(tmp_path / "ref.npz", {**HEADER, name: "x"})


def test_damaged_references_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ref.npz"
    save_reference(path, [(some([1, 2]), HEADER)])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="no reference statistics"):
        load_reference(path, HEADER)
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match="no reference statistics"):
        load_reference(tmp_path / "other.npz", HEADER)
    np.savez(tmp_path / "object.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="no reference statistics"):
        load_reference(tmp_path / "object.npz", HEADER)
    with pytest.raises(FileNotFoundError):
        load_reference(tmp_path / "absent.npz", HEADER)
    with pytest.raises(ValueError, match=r"\.npz"):
        save_reference(tmp_path / "ref.bin", [(some([1]), HEADER)])


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "s", HEADER)
    store.append(some([1, 2]))
    (shard,) = (tmp_path / "s").glob("shard-*")
    shard.write_bytes(shard.read_bytes()[:300])
    for read in (store.done, store.load):
        with pytest.raises(ValueError, match=shard.name):
            read()


def test_refuses_columns_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="groups must be int64"):
        FeatureSet(np.zeros((2, 3), np.float32), np.arange(2), np.arange(3), np.arange(2))
