"""Kernels of our own, `kernels.c`, compiled on the machine that runs them.

PyTorch's matrix products are made for many rows; a decode step has few, and is bound by reading the weights.
Where a C compiler (``cc``, ``gcc`` or ``clang``) is at hand, `kernels.c` is compiled once for this
processor, kept in the user's cache folder, and its kernels are among those that the engine chooses from.
Where there is none, they are not, and `native_kernels` says why. Nothing else depends on it.
"""

import ctypes
import functools
import hashlib
import logging
import math
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine.large_pages import aligned_empty, use_large_pages
from parvideo.engine.machine import processor_identity
from parvideo.files import atomic_path, cache_folder, sha256_file, write_text

SOURCE = Path(__file__).with_name("kernels.c")
INCLUDED = "attention.h"
"""Beside it."""
HEAD_DIMS = (32, 64, 128)
"""Widths of a head that `kernels.c` has code for."""
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS: tuple[list[str], ...] = (["-march=native", "-fopenmp"], ["-march=native"], ["-fopenmp"], [])
"""In the order they are tried: not every compiler knows the processor, or has OpenMP."""
_PATIENCE = 300
_LANES, _PANEL = 16, 32  # as in kernels.c

log = logging.getLogger(__name__)


class NativeKernels:
    """The kernels for one dtype.

    Args:
        library: `kernels.c`, compiled for that dtype.
        dtype: float32 or bfloat16.
        parallel: it was compiled with OpenMP; if not, it computes on one thread.
    """

    def __init__(self, library: Path, dtype: torch.dtype, parallel: bool) -> None:
        loaded = ctypes.CDLL(str(library))
        self.dtype, self.parallel = dtype, parallel
        pointer, number, real, whole = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_int
        self._product = loaded.product
        self._product.argtypes = [pointer] * 5 + [number] * 3 + [real, whole, whole]
        self._product.restype = None
        self._attend = loaded.attend
        self._attend.argtypes = [pointer] * 6 + [number] * 7 + [whole, number, whole]
        self._attend.restype = whole

    def pack(self, *matrices: Tensor) -> Tensor:
        """Arrange a weight ``[out, in]``, or the two of a gated layer, as `kernels.c` reads it.

        ``[panels, in / p, 32, p]`` with p = 2 inputs side by side in bfloat16, else 1.
        """
        step = _PANEL // len(matrices)
        outputs, width = matrices[0].shape
        panels, side = math.ceil(outputs / step), 2 if self.dtype == torch.bfloat16 else 1
        padded = math.ceil(width / side)
        packed = aligned_empty(panels, padded, _PANEL, side, dtype=self.dtype)
        for index, matrix in enumerate(matrices):
            whole = F.pad(matrix, (0, padded * side - width, 0, panels * step - outputs))
            into = packed[:, :, index * step : (index + 1) * step]
            into.copy_(whole.view(panels, step, padded, side).transpose(1, 2))
        use_large_pages(
            packed.data_ptr(), packed.nbytes, filled=True
        )  # memory that was used before has others
        return packed

    def unpack(self, packed: Tensor, shape: tuple[int, int], matrices: int) -> list[Tensor]:
        """What `pack` arranged: ``matrices`` of ``[out, in]``."""
        step = _PANEL // matrices
        whole = (
            packed.transpose(1, 2).flatten(2).unflatten(1, (matrices, step))
        )  # [panels, matrices, step, in]
        return [part.reshape(-1, part.shape[-1])[: shape[0], : shape[1]] for part in whole.unbind(1)]

    def product(
        self,
        x: Tensor,
        packed: Tensor,
        outputs: int,
        residual: Tensor | None = None,
        floor: float = -1.0,
        gated: bool = False,
    ) -> Tensor:
        """``[M, in]`` times a packed weight: ``[M, outputs]``, a new tensor.

        Args:
            x: rows.
            packed: the weight, see `pack`.
            outputs: of the weight, of either of its parts if gated.
            residual: ``[M, outputs]``, added.
            floor: if not negative, rows are divided by ``sqrt(|row|² + floor)`` first.
            gated: ``silu(gate) * up``.
        """
        x = x.contiguous()
        rows, width = x.shape
        y = x.new_empty(rows, outputs)
        scratch = torch.empty(rows * (width + 2) + 64)
        added = None if residual is None else residual.contiguous().data_ptr()
        threads = torch.get_num_threads()
        self._product(
            x.data_ptr(), packed.data_ptr(), y.data_ptr(), added, scratch.data_ptr(),
            rows, width, outputs, floor, gated, threads,
        )  # fmt: skip
        return y

    def attend(
        self, heads: Tensor, rotary: Tensor, keys: Tensor, values: Tensor, start: int, causal: bool
    ) -> Tensor:
        """Attention of a step over the cache, to which it adds its own keys and values: ``[R·S, dim]``.

        Args:
            heads: queries, keys and values ``[R, S, heads + 2 · kv_heads, d]``, not turned yet.
            rotary: their turns, complex64 ``[S, heads + 2 · kv_heads, d / 2]``; those of queries carry
            attention's scale.
            keys: cache ``[R, kv_heads, N, d]``.
            values: the same.
            start: the first slot of the step.
            causal: a query sees of its own step what comes before it, and itself; else all.

        Raises:
            ValueError: if there is no code for heads of this width.
        """
        heads = heads.contiguous()
        rows, count, all_heads, d = heads.shape
        kv_heads, slots = keys.shape[1:3]
        query_heads = all_heads - 2 * kv_heads
        out = heads.new_empty(rows * count, query_heads * d)
        threads = torch.get_num_threads()
        space = query_heads // kv_heads * count * d + 16 * (start + count + 32) + 6 * d
        scratch = torch.empty(threads * space)
        failed = self._attend(
            heads.data_ptr(), rotary.data_ptr(), keys.data_ptr(), values.data_ptr(), out.data_ptr(),
            scratch.data_ptr(),
            rows, count, query_heads, kv_heads, d, slots, start, causal, space, threads,
        )  # fmt: skip
        if failed:
            raise ValueError(f"heads of width {d} have no native kernel; those of {HEAD_DIMS} have")
        return out


@functools.cache
def native_kernels(dtype: torch.dtype) -> tuple[NativeKernels | None, str]:
    """The native kernels for float32 or bfloat16, and how they were compiled; or None, and why not.

    They are compiled where they were not before (some seconds), loaded, and tried on a small problem.
    """
    if platform.system() == "Windows":
        return None, "not made for Windows"
    compiler = next((found for name in _COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return None, f"no C compiler found ({', '.join(_COMPILERS)})"
    try:
        for flags in _FLAGS:
            library = _library(compiler, [*flags, *(["-DBFLOAT16"] if dtype == torch.bfloat16 else [])])
            if library is not None:
                kernels = NativeKernels(library, dtype, "-fopenmp" in flags)
                if not _right(kernels):
                    return None, f"what {compiler} {' '.join(flags)} made of them computes wrongly"
                return kernels, f"{Path(compiler).name} {' '.join(flags)}"
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{compiler} did not serve: {error}"
    return None, f"{compiler} cannot compile {SOURCE.name}"


def source_text() -> str:
    """What is compiled."""
    return SOURCE.read_text() + SOURCE.with_name(INCLUDED).read_text()


def _library(compiler: str, flags: list[str]) -> Path | None:
    """The compiled library, from the cache if it is whole and this user's own; None if it does not
    compile."""
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=True
    ).stdout
    parts = [source_text(), *flags, compiler, version, processor_identity(), platform.machine()]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    kept = cache_folder() / "kernels" / f"{name}.so"
    if _trusted(kept):
        return kept
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernels.so"
        command = [compiler, "-O3", "-shared", "-fPIC", *flags, "-o", str(made), str(SOURCE), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        if done.returncode != 0:
            log.info("%s: %s", " ".join(command), done.stderr.strip())
            return None
        try:
            with atomic_path(kept) as temporary:
                shutil.copyfile(made, temporary)
            kept.chmod(0o700)
            write_text(_digest(kept), sha256_file(kept))
            _digest(kept).chmod(0o600)
        except OSError as error:
            log.info("compiled kernels are not kept: %s", error)
        else:
            if _trusted(kept):
                return kept
        # Nothing can be kept here: this process alone gets a copy, which goes with it.
        _folders.append(tempfile.TemporaryDirectory(prefix="parvideo-kernels-"))
        return Path(shutil.copyfile(made, Path(_folders[-1].name) / "kernels.so"))


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _digest(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _trusted(library: Path) -> bool:
    """Whether a kept library is whole, and nobody but this user can have written it."""
    try:
        for path in (library, _digest(library)):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
                return False
        return sha256_file(library) == _digest(library).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return False


def _right(kernels: NativeKernels) -> bool:
    """Whether the kernels compute what they should, on a problem with every kind of remainder."""
    generator = torch.Generator().manual_seed(0)
    allowed = 1e-4 if kernels.dtype == torch.float32 else 0.05

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(kernels.dtype)

    def same(made: Tensor, wanted: Tensor) -> bool:
        return bool(torch.allclose(made.float(), wanted, rtol=allowed, atol=allowed))

    gate, up, residual = numbers(41, 37), numbers(41, 37), numbers(14, 41)
    for rows in (1, 14):
        x = numbers(rows, 37)
        plain = x.float() @ gate.float().T / 6
        made = kernels.product(x, kernels.pack(gate / 6), 41, residual[:rows])
        if not same(made, plain + residual[:rows].float()):
            return False
        x = x * 0.5
        norm = x.float() / (x.float().square().sum(-1, keepdim=True) + 2.0).sqrt()
        made = kernels.product(x, kernels.pack(gate, up), 41, None, 2.0, True)
        if not same(made, F.silu(norm @ gate.float().T) * (norm @ up.float().T)):
            return False
    for count in (1, 5):
        heads, cache = numbers(2, count, 4, 32), numbers(2, 2, 1, 40, 32)
        rotary = torch.polar(torch.ones(count, 4, 16), torch.arange(count * 64.0).view(count, 4, 16))
        turned = torch.view_as_real(
            torch.view_as_complex(heads.float().unflatten(-1, (-1, 2))) * rotary
        ).flatten(-2)
        keys, values = cache.float().clone()
        keys[:, 0, 30 : 30 + count] = turned[:, :, 2]
        values[:, 0, 30 : 30 + count] = heads[:, :, 3].float()
        stop = 30 + count
        seen = torch.arange(stop) <= torch.arange(30, stop)[:, None]
        wanted = F.scaled_dot_product_attention(
            turned[:, :, :2].transpose(1, 2), keys[:, :, :stop].expand(-1, 2, -1, -1),
            values[:, :, :stop].expand(-1, 2, -1, -1), seen, scale=1.0,
        )  # fmt: skip
        made = kernels.attend(heads, rotary, cache[0], cache[1], 30, causal=True)
        if not same(made.view(2, count, 64), wanted.transpose(1, 2).flatten(2)):
            return False
    return True
