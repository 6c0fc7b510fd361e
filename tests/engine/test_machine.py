"""What the machine is: facts that choices are kept by."""

from pathlib import Path

import pytest

from parvideo.engine import machine


@pytest.fixture(autouse=True)
def _fresh() -> None:
    machine.processor_fields.cache_clear()
    machine.cache_bytes.cache_clear()


def test_processors_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "model name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: {}\nflags\t\t: {}\n\nmodel name\t: other\n"
    path, seen = tmp_path / "cpuinfo", set()
    monkeypatch.setattr(machine, "_CPUINFO", path)
    for model, flags in ((17, "avx2"), (17, "avx2 avx512f"), (1, "avx2")):
        path.write_text(text.format(model, flags))
        machine.processor_fields.cache_clear()
        assert machine.processor_name() == "AMD EPYC"
        seen.add(machine.processor_identity())
    assert len(seen) == 3


def test_a_system_that_says_nothing_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(machine, "_CACHE", tmp_path)
    assert machine.processor_name()
    assert machine.processor_identity()
    assert machine.cache_bytes() == 32 << 20


@pytest.mark.parametrize(("sizes", "counted"), [(["32K", "1024K", "16M"], 16 << 20), (["300M"], 64 << 20)])
def test_the_largest_cache_counts_up_to_a_limit(
    sizes: list[str], counted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, size in enumerate(sizes):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    monkeypatch.setattr(machine, "_CACHE", tmp_path)
    assert machine.cache_bytes() == counted
