"""Native kernels: right, trusted only if they are this user's and whole, and dispensable."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from parvideo.engine import native
from parvideo.engine.native import NativeKernels, native_kernels

DTYPES = [torch.float32, torch.bfloat16]


def kernels_of(dtype: torch.dtype) -> NativeKernels:
    kernels, reason = native_kernels(dtype)
    if kernels is None:
        pytest.skip(reason)
    return kernels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("outputs", "width"), [(1, 1), (33, 70), (64, 129)])
def test_products_of_any_shape_are_right(dtype: torch.dtype, outputs: int, width: int) -> None:
    kernels = kernels_of(dtype)
    gate, up = torch.randn(outputs, width).to(dtype), torch.randn(outputs, width).to(dtype)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    single, both = kernels.pack(gate), kernels.pack(gate, up)
    for rows in (1, 2, 6, 12, 13, 40):
        x, residual = torch.randn(rows, width).to(dtype), torch.randn(rows, outputs).to(dtype)
        plain = x.float() @ gate.float().T
        made = kernels.product(x, single, outputs, residual)
        torch.testing.assert_close(made.float(), plain + residual.float(), **close)
        length = (x.float().square().sum(-1, keepdim=True) + 3.0).sqrt()
        gated = F.silu(plain / length) * (x.float() @ up.float().T / length)
        made = kernels.product(x, both, outputs, floor=3.0, gated=True)
        torch.testing.assert_close(made.float(), gated, **close)
    for packed, parts in ((single, [gate]), (both, [gate, up])):
        unpacked = kernels.unpack(packed, (outputs, width), len(parts))
        assert all(torch.equal(a, b) for a, b in zip(unpacked, parts, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_gives_the_same_whatever_its_neighbours_and_the_threads(dtype: torch.dtype) -> None:
    kernels = kernels_of(dtype)
    packed, x = kernels.pack(torch.randn(96, 64).to(dtype)), torch.randn(30, 64).to(dtype)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([kernels.product(row, packed, 96) for row in x.split(1)])
        torch.set_num_threads(2)
        assert torch.equal(kernels.product(x, packed, 96), alone)
    finally:
        torch.set_num_threads(threads)


def test_broken_numbers_stay_broken() -> None:
    """So that drawing finds them."""
    for dtype in DTYPES:
        kernels = kernels_of(dtype)
        x = torch.full((2, 32), torch.nan, dtype=dtype)
        assert kernels.product(x, kernels.pack(torch.randn(32, 32).to(dtype)), 32).isnan().all()
        heads, cache = (
            torch.full((1, 1, 3, 32), torch.nan, dtype=dtype),
            torch.zeros(2, 1, 1, 4, 32, dtype=dtype),
        )
        turns = torch.ones(1, 3, 16, dtype=torch.complex64)
        assert kernels.attend(heads, turns, cache[0], cache[1], 2, False).isnan().all()


def test_without_a_compiler_there_are_none_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native_kernels.__wrapped__(torch.float32) == (None, "no C compiler found (cc, gcc, clang)")


def test_what_does_not_compile_or_computes_wrongly_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels_of(torch.float32)
    source, included = native.SOURCE.read_text(), native.SOURCE.with_name(native.INCLUDED).read_text()
    for change, reason in (
        (("void product(", "void product( broken"), "cannot compile"),
        (("scale;", "scale + 1;"), "wrongly"),
    ):
        changed = tmp_path / "kernels.c"
        changed.write_text(source.replace(*change))
        (tmp_path / native.INCLUDED).write_text(included)
        assert changed.read_text() != source
        monkeypatch.setattr(native, "SOURCE", changed)
        kernels, why = native_kernels.__wrapped__(torch.float32)
        assert kernels is None
        assert reason in why


def test_kept_libraries_are_trusted_only_if_whole_and_ones_own(tmp_path: Path) -> None:
    library = tmp_path / "a.so"
    assert not native._trusted(library)
    library.write_bytes(b"content")
    library.chmod(0o700)
    assert not native._trusted(library)  # nothing says what it should be
    native._digest(library).write_text(native.sha256_file(library))
    native._digest(library).chmod(0o600)
    assert native._trusted(library)
    library.chmod(0o722)
    assert not native._trusted(library)  # others may have written it
    library.chmod(0o700)
    library.write_bytes(b"damaged")
    assert not native._trusted(library)
    library.unlink()
    library.symlink_to(tmp_path / "elsewhere")
    assert not native._trusted(library)
