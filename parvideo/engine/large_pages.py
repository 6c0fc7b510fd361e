"""Large memory pages for what every decode step reads: weights, keys and values.

A processor's prefetcher stops at the end of a page, so streaming through pages of 2 MiB is faster than
through those of 4 KiB. Linux gives them on request; elsewhere, or where it refuses, ordinary pages do.
"""

import ctypes
import math
import sys

import torch
from torch import Tensor

_PAGE = 1 << 21
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # <linux/mman.h>


def aligned_empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor that, if it is larger than a large page, begins with one, and asks for them."""
    count = math.prod(shape)
    if count * dtype.itemsize < _PAGE:
        return torch.empty(shape, dtype=dtype)
    whole = torch.empty(count + _PAGE // dtype.itemsize, dtype=dtype)  # what is never touched takes no memory
    start = -whole.data_ptr() % _PAGE // dtype.itemsize
    made = whole[start : start + count].view(shape)
    use_large_pages(made.data_ptr(), made.nbytes, filled=False)
    return made


def use_large_pages(address: int, nbytes: int, filled: bool) -> bool:
    """Ask for large pages under the part of a memory block that fills whole ones.

    Args:
        address: start of the block.
        nbytes: its size.
        filled: the block was written already, so its pages have to be collected into large ones, not merely
            marked.

    Returns:
        Whether the system agreed; its contents are the same either way.
    """
    start = -(-address // _PAGE) * _PAGE
    stop = (address + nbytes) // _PAGE * _PAGE
    if not sys.platform.startswith("linux") or stop <= start:
        return False
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    agreed: bool = advise(start, stop - start, _MADV_COLLAPSE if filled else _MADV_HUGEPAGE) == 0
    return agreed
