"""Files on disk: atomic writes, checks of what is read, checksums, and where configs and cache lie.

Whatever ordinary thing is wrong with a file or folder is raised as an OSError that carries its name, or as a
ValueError that states it; the command line shows either as one line.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]
"""What Python callers may give for a path."""

_LONGEST_SUFFIX = 16
_RANDOM = len(".-") + 8
"""Bytes that a temporary name has more than its target's: mkstemp draws eight letters."""
_SHORT_STEM = 20
_SHOWN = 24
"""Characters of a setting's value, at most, where a message shows it: a number or a word, and no hash."""

_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""What goes wrong while bytes are written; such an error carries no name."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


_MAKE_ROOM = "Make room, and run the same command again to go on from what is finished"

_ADVICE = {
    errno.EISDIR: "this is a folder; give a file",
    errno.ENOTDIR: "this, or a part of it, is a file where a folder is expected",
    errno.EROFS: "write to another folder, or mount this one writable",
    errno.EACCES: "see who owns it, and its mode",
    errno.EPERM: "see who owns it, and its mode and attributes",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
    errno.ENOSPC: f"the disk is full. {_MAKE_ROOM}",
    errno.EDQUOT: f"your share of the disk is full. {_MAKE_ROOM}",
    errno.EMFILE: "too many files are open at once; `ulimit -n 65536` allows more",
}
"""What to do about what the system reports."""


def check_file(path: AnyPath) -> Path:
    """The path of a file that may be opened to read, links followed.

    Raises:
        OSError: if there is none (`FileNotFoundError`), it is a folder (`IsADirectoryError`), a part of the
            path is a file (`NotADirectoryError`), or it cannot be looked at; ``filename`` is the path.
        ValueError: if it is a pipe, a socket or a device, on which reading could wait for ever.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if not path.is_symlink():
            raise
        message = f"a link to {os.readlink(path)}, which is not there"
        raise FileNotFoundError(errno.ENOENT, message, str(path)) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{path} is {kind}, not a file; copy what it gives into a file first")
    return path


def make_folder(folder: AnyPath) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises:
        NotADirectoryError: if it, or one above it, is a file.
        OSError: if it cannot be made; ``filename`` says which.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # a file of that name, or a link that leads nowhere
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    return folder


@contextlib.contextmanager
def atomic_path(target: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it becomes ``target`` in one step.

    A reader sees the old file or the whole new one, never a part, whenever the writer is killed. The
    temporary name keeps the suffix, so that writers which choose a format by it still work, and is no longer
    than the target's where that is long.

    Raises:
        IsADirectoryError: if the target is a folder.
        OSError: if it cannot be written; ``filename`` is the target, never the temporary path.
    """
    target = Path(target)
    temporary = _temporary(target)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(PermissionError):  # FAT and some network mounts keep modes of their own
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        named = error.filename == str(temporary) or (error.filename is None and error.errno in _WRITING)
        if not named:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(target: AnyPath) -> None:
    """Make sure that a file can be written, before the work whose result it is to hold.

    Raises:
        OSError: as `atomic_path`.
    """
    _temporary(Path(target)).unlink()


def write_text(target: AnyPath, text: str) -> None:
    """Write text as UTF-8, atomically; what UTF-8 cannot hold (bytes of odd file names) as ``\\udcff``."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(target: AnyPath, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: AnyPath) -> Any:
    """Read a JSON file; a missing or malformed one raises an error that names it.

    Raises:
        OSError: if there is no such file, or it cannot be read (see `check_file`).
        ValueError: if it is not JSON, or no file.
    """
    path = check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin with a BOM
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def claim_folder(
    record: AnyPath, settings: Mapping[str, Any], holds: str, unknown: Collection[str] = ()
) -> None:
    """Begin a folder, or go on with it: a folder belongs to the settings that it was begun with.

    This is the one rule of everything that can be stopped and gone on with, so that no folder ever mixes
    what was made with two settings.

    Args:
        record: the JSON file in the folder that keeps the settings; written where it is missing.
        settings: everything that decides what is put into the folder, JSON-able. None is the same as absent.
        holds: what the folder holds, for the message, such as "clips".
        unknown: names of settings that the record cannot tell, since an earlier parvideo wrote it.

    Raises:
        ValueError: if it was begun with other settings, naming them, or the record is damaged.
    """
    record = Path(record)
    if record.exists():
        check_settings(record.parent, read_json(record), settings, holds, unknown)
    else:
        write_json(record, dict(settings))


def check_settings(
    folder: AnyPath,
    begun: Any,
    settings: Mapping[str, Any],
    holds: str,
    unknown: Collection[str] = (),
    advice: str = "go on with the same, or choose another folder",
) -> None:
    """The rule of `claim_folder` alone, for what keeps settings in a place of its own.

    Args:
        folder: for the message.
        begun: the settings that it was begun with.
        settings: those of now.
        holds: what the folder holds.
        unknown: names that are not compared.
        advice: what would be right.

    Raises:
        ValueError: if one differs, or ``begun`` is no object.
    """
    if not isinstance(begun, dict):
        raise ValueError(f"{folder} holds {holds}, but what says of which is damaged; choose another folder")
    there, here = (json.loads(json.dumps(dict(each))) for each in (begun, settings))  # a tuple is a list
    names = [name for name in {**here, **there} if name not in unknown]
    other = [_difference(name, there.get(name), here.get(name)) for name in names]
    different = ", ".join(line for line in other if line)
    if different:
        raise ValueError(f"{folder} holds {holds} made with another {different}; {advice}")


def _difference(name: str, there: Any, here: Any) -> str:
    """A setting that differs, with its values where they are short; empty if it is the same."""
    if there == here:
        return ""
    shown = [json.dumps(value, ensure_ascii=False) for value in (there, here)]
    return f"{name} ({shown[0]}, now {shown[1]})" if max(map(len, shown)) <= _SHOWN else name


def sha256_file(path: AnyPath) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        OSError: if there is no such file, or it cannot be read (see `check_file`).
        ValueError: if it is no file.
    """
    with check_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value in canonical form (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def config_folder() -> Path:
    """The folder of YAML configs: packaged as ``parvideo/configs``, or the repository's own in a checkout."""
    package = Path(__file__).parent
    packaged = package / "configs"
    return packaged if packaged.is_dir() else package.parent / "configs"


def cache_folder() -> Path:
    """Where fetched weights and checksums are kept: ``$PARVIDEO_CACHE``, or ``parvideo`` in XDG's."""
    if own := os.environ.get("PARVIDEO_CACHE"):
        return Path(own)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "parvideo"


def _temporary(target: Path) -> Path:
    """An empty new file beside the target, in a folder that is made where there is none."""
    make_folder(target.parent)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    stem, suffix = target.stem, target.suffix
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX:  # no format's
        stem, suffix = target.name, ""
    # File systems limit names in bytes, some to fewer than 255.
    longest = max(len(os.fsencode(stem)) - _RANDOM, _SHORT_STEM)
    while len(os.fsencode(stem)) > longest:
        stem = stem[:-1]
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{stem}-", suffix=suffix)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    os.close(handle)
    return Path(name)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def error_line(error: BaseException) -> str:
    """An error as one line: of one of files what is wrong, with which file, and what would be right."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        text = str(error.strerror)
        if error.filename is not None:
            text += f": {_name(error.filename)}"
        if error.filename2 is not None:
            text += f" -> {_name(error.filename2)}"
        if error.errno in _ADVICE:
            text += f" ({_ADVICE[error.errno]})"
    elif "Original Traceback" in text:  # out of a process that reads: its traceback ends with the error
        text = text.strip().splitlines()[-1].partition(": ")[2] or text.strip().splitlines()[-1]
    return " ".join(text.split()) or type(error).__name__


def _name(filename: Any) -> str:
    if isinstance(filename, int):
        return f"file descriptor {filename}"
    return os.fsdecode(filename)
