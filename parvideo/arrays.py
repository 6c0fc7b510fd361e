"""Arrays on disk, ``.npy`` and ``.npz``: read without running anything in them, and named when broken."""

import contextlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parvideo.files import AnyPath, check_file

NPY, NPZ = b"\x93NUMPY", b"PK"


def read_npy(path: AnyPath, mapped: bool = False) -> NDArray[Any]:
    """The array of a ``.npy`` file, in this machine's byte order.

    Args:
        path: the file; its content counts, not its name.
        mapped: map it from the file, which must stay as it is meanwhile, where it need not be converted.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is no such file, cut short, or holds Python objects.
    """
    path = check_file(path)
    with naming_arrays(path, "a .npy file"):
        with path.open("rb") as file:
            if file.read(len(NPY)) != NPY:
                raise ValueError("it does not begin as one")
        return _native(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))


def read_npz(path: AnyPath, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Some arrays of a ``.npz`` file, in this machine's byte order; the others are not read.

    Args:
        path: the file; its content counts, not its name.
        names: of arrays that must be there.
        optional: of arrays that may be there.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is no such file, cut short or damaged, lacks one of ``names``, or one of the arrays
            holds Python objects.
    """
    path = check_file(path)
    with naming_arrays(path, "a .npz file"):
        with path.open("rb") as file:
            if file.read(len(NPZ)) != NPZ:
                raise ValueError("it does not begin as one")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise ValueError(
                    f"it has no array `{missing[0]}`; it has {', '.join(archive.files) or 'nothing'}"
                )
            found: dict[str, NDArray[Any]] = {}
            for name in (*names, *(name for name in optional if name in archive)):
                array = archive[name]
                if not isinstance(array, np.ndarray):  # numpy gives the bytes of what is not .npy
                    raise ValueError(f"its `{name}` is no array")
                found[name] = _native(array)
            return found


def npz_header(path: AnyPath, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array of a ``.npz`` file, of which no more than the beginning is decompressed.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is no such file, cut short or damaged, or has no such array.
    """
    path = check_file(path)
    with naming_arrays(path, "a .npz file"), zipfile.ZipFile(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if name not in names:
            raise ValueError(f"it has no array `{name}`; it has {', '.join(names) or 'nothing'}")
        with archive.open(f"{name}.npy") as member:
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[np.lib.format.read_magic(member)]
            shape, _, dtype = read(member)
            return shape, dtype


@contextlib.contextmanager
def naming_arrays(path: Path, what: str) -> Iterator[None]:
    """Turn whatever numpy and zip raise on a damaged file into one ValueError that names it."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no whole {what[2:]}; is it cut short? ({error})") from error
    except (EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path} is cut short or damaged: {error}") from error
    except (tokenize.TokenError, SyntaxError) as error:  # numpy reads a header as Python's literals
        raise ValueError(f"{path} is not {what} as it should be: its header is damaged") from error
    except MemoryError as error:  # a damaged header promises more than there is memory
        raise ValueError(f"{path} does not fit into memory, or its header is damaged: {error}") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError) as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path} holds Python objects, not numbers; they are not loaded") from error
        raise ValueError(f"{path} is not {what} as it should be: {error}") from error


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
