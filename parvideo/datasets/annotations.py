"""UCF-101's lists: the class index, and the videos of each split, as they are and as editors leave them."""

import re
from pathlib import Path, PurePosixPath

from parvideo.datasets.folders import ANNOTATIONS, class_folders
from parvideo.files import read_json, sha256_file

MANIFEST = "manifest.json"
"""What `parvideo data` writes into a data set's folder."""

_LISTED = re.compile(r"(?P<path>.*?\S)(?:\s+(?P<number>\d+))?")


def read_class_index(path: Path) -> list[str]:
    """Read UCF-101's ``classInd.txt``: class names, the one numbered 1 first. A name may hold spaces.

    Raises:
        ValueError: naming file, line and value, unless the numbers run 1, 2, 3, ... with distinct names.
    """
    names: list[str] = []
    for number, line in _lines(path):
        fields = line.split(maxsplit=1)
        if len(fields) != 2 or fields[0] != str(len(names) + 1):
            raise ValueError(f"{path}:{number}: {line!r} should be '{len(names) + 1} ClassName'")
        if fields[1] in names:
            raise ValueError(f"{path}:{number}: class {fields[1]!r} is listed twice")
        names.append(fields[1])
    if not names:
        raise ValueError(f"{path} lists no classes; it should hold lines such as '1 ApplyEyeMakeup'")
    return names


def read_split_list(path: Path, class_names: list[str]) -> list[str]:
    """Read ``trainlistNN.txt`` or ``testlistNN.txt``: paths ``Class/file.avi`` under the root.

    The class is the path's folder; the number behind it, which only training lists have, must agree.
    ``./Class/file.avi`` and ``Class\\file.avi`` are read as ``Class/file.avi``.

    Raises:
        ValueError: naming file, line and value, on an unknown class, a number that is not the class's, a path
            of another form or one that is listed twice.
    """
    labels = {name: label for label, name in enumerate(class_names)}
    paths: dict[str, None] = {}
    for number, line in _lines(path):
        match = _LISTED.fullmatch(line)
        assert match is not None  # a line is not blank
        video = PurePosixPath(match["path"].replace("\\", "/"))
        if len(video.parts) != 2 or video.parts[0] == ".." or not re.fullmatch(r"\.\w+", video.suffix):
            raise ValueError(
                f"{path}:{number}: {line!r} should be 'Class/video.avi', in a training list with its number"
            )
        name = video.parts[0]
        if name not in labels:
            raise ValueError(f"{path}:{number}: class {name!r} is not in the class index")
        if match["number"] is not None and match["number"] != str(labels[name] + 1):
            raise ValueError(
                f"{path}:{number}: label {match['number']!r} for class {name!r}, which the class index "
                f"numbers {labels[name] + 1}"
            )
        if str(video) in paths:
            raise ValueError(f"{path}:{number}: {str(video)!r} is listed twice")
        paths[str(video)] = None
    return list(paths)


def find_annotations(root: Path, notes: list[str] | None = None, recorded: bool = True) -> Path | None:
    """UCF-101's folder of lists: what ``root`` was checked with (if ``recorded``), in ``root``, or beside it.

    Lists beside it count if they name every class folder in ``root``; ``notes`` is told of others.
    """
    manifest = _recorded_lists(root) if recorded else None
    if manifest is not None and manifest[0] is not None and manifest[0].is_dir():
        return manifest[0]
    for place in _places(root):
        if place.parent == root:
            return place
        known = set(read_class_index(place / "classInd.txt"))
        folders = [folder.path.name for folder in class_folders(root, root, {}) if folder.media]
        unknown = [name for name in folders if name not in known]
        if folders and not unknown:
            return place
        if notes is not None and len(unknown) < len(folders):
            notes.append(
                f"the lists in {place} are not used: they do not name the class folders "
                f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}; give `annotations` to "
                "use them"
            )
    return None


def _recorded_lists(root: Path) -> tuple[Path | None, dict[str, str]] | None:
    """The folder and the checksums of the lists that `parvideo data` checked ``root`` with."""
    try:
        manifest = read_json(root / MANIFEST)
    except (OSError, ValueError):
        return None  # none is there, or another program's
    if not isinstance(manifest, dict) or manifest.get("format") != 1:
        return None
    lists, folder = manifest.get("lists"), manifest.get("annotations")
    if not isinstance(lists, dict) or "classInd.txt" not in lists:
        return None
    return (Path(folder) if isinstance(folder, str) else None), lists


def check_recorded(root: Path, lists: Path | None) -> None:
    """Check that a folder is listed by what `parvideo data` checked it with, if it was.

    Raises:
        ValueError: naming the manifest and the list that is missing or another.
    """
    manifest = _recorded_lists(root)
    if manifest is None:
        return
    folder, checksums = manifest
    where = f"{root / MANIFEST} says that it was checked with the lists{f' in {folder}' if folder else ''}"
    if lists is None:
        raise ValueError(
            f"{where}, which are not there; give their folder as `annotations`, or remove the manifest"
        )
    for name in sorted(checksums):
        if (lists / name).is_file() and sha256_file(lists / name) != checksums[name]:
            raise ValueError(
                f"{where}, and {lists / name} is another; run `parvideo data` with the lists that are right"
            )


def _places(root: Path) -> list[Path]:
    """The folders of lists in ``root``, beside it, and beside what it is a link to; those that are there."""
    places = [root / ANNOTATIONS, root.absolute().parent / ANNOTATIONS, root.resolve().parent / ANNOTATIONS]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not blank.

    The official lists end their lines with CR LF. Editors add a mark before the first line (byte order mark)
    or a Ctrl-Z after the last one, which mean nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ValueError(f"{path} is in UTF-16 or no text; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8 (is it Windows-1252?); save the file "
            "as UTF-8"
        ) from error
    text = text.rstrip().rstrip("\x1a")
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    return [(number, line.strip("\ufeff \t")) for number, line in lines if line.strip("\ufeff \t")]
