"""UCF-101 on disk: is it all there, can it be read, and a manifest that says so file by file."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from parvideo.datasets.annotations import find_annotations, read_class_index, read_split_list
from parvideo.datasets.folders import ANNOTATIONS, LeftOut
from parvideo.datasets.identity import content_hash
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo
from parvideo.datasets.videos import VideoRecord, load_videos
from parvideo.files import AnyPath, sha256_file, sha256_json, write_json
from parvideo.progress import Progress

NUM_CLASSES, NUM_VIDEOS = 101, 13_320

WHERE_TO_GET_IT = """\
UCF-101 comes from the Center for Research in Computer Vision, https://www.crcv.ucf.edu/data/UCF101.php:
  https://www.crcv.ucf.edu/data/UCF101/UCF101.rar                                      7 GB, the videos
  https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip       the lists
Fetch both, then:
  parvideo data ucf101 --root DIR --unpack UCF101.rar --unpack UCF101TrainTestSplits-RecognitionTask.zip"""


@dataclass(frozen=True)
class VerifiedVideo:
    """A readable video: what it is, its size in bytes and its checksum."""

    info: VideoInfo
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found.

    Attributes:
        class_names: in label order.
        per_class: videos on disk of each class.
        splits: list name, such as ``trainlist01`` -> how many videos it names.
        videos: id -> a readable video.
        unreadable: id -> why not.
        too_short: id -> why no clip of the asked length can be cut from it.
        missing: paths that a list names and that are not on disk.
        unlisted: ids on disk that no list names.
        lists: file name -> checksum of the list.
        is_ucf101: the class index has UCF-101's 101 classes, so that its counts are demanded too.
        left_out: reason -> what lies beside the videos and is not taken, such as files of other kinds.
        annotations: the folder of the lists; :func:`load_videos` takes them again for a folder that has this
            manifest in it.
    """

    class_names: list[str]
    per_class: dict[str, int]
    splits: dict[str, int]
    videos: dict[str, VerifiedVideo]
    unreadable: dict[str, str]
    too_short: dict[str, str]
    missing: list[str]
    unlisted: list[str]
    lists: dict[str, str]
    is_ucf101: bool
    left_out: LeftOut = field(default_factory=dict)
    annotations: str | None = field(default=None, compare=False)

    @property
    def hash(self) -> str:
        """One checksum of all readable videos and all lists: the identity of the data."""
        return sha256_json([self.lists, {name: video.sha256 for name, video in self.videos.items()}])

    @property
    def problems(self) -> list[str]:
        """What keeps this from being the whole, readable data set; clips too short are no problem."""
        found = []
        empty = [name for name in self.class_names if not self.per_class.get(name)]
        total = sum(self.per_class.values())
        if empty:
            found.append(f"{len(empty)} classes have no videos: {_some(empty)}")
        if self.is_ucf101 and total != NUM_VIDEOS:
            found.append(f"{total} videos are there, UCF-101 has {NUM_VIDEOS}")
        if self.missing:
            found.append(f"{len(self.missing)} listed videos are missing: {_some(self.missing)}")
        if self.unreadable:
            reasons = [f"{name} {reason}" for name, reason in self.unreadable.items()]
            found.append(f"{len(reasons)} videos cannot be read: {_some(reasons)}")
        if self.unlisted:
            found.append(f"{len(self.unlisted)} videos are in no list: {_some(self.unlisted)}")
        return found


def verify(
    root: AnyPath,
    annotations: AnyPath | None = None,
    frames: int = 17,
    fps: float = 8.0,
    decode: bool = False,
    workers: int = 4,
    show_progress: bool = False,
) -> Verification:
    """Look into every file of a data set in UCF-101's layout.

    Args:
        root: the folder of class folders.
        annotations: the folder of the lists; by default found as :func:`load_videos` does.
        frames: a clip's frames, and
        fps: its frames a second, that a video should be long enough for.
        decode: decode every frame too, which finds damage inside a file (about fifty times slower).
        workers: files looked into at once.
        show_progress: show a progress bar.

    Raises:
        ValueError: if there are no videos or no lists, or a list contradicts itself, naming file and line.
    """
    root = Path(root)
    # Found by looking, whatever a manifest says: this is what a manifest is made of.
    lists = find_annotations(root, recorded=False) if annotations is None else Path(annotations)
    if lists is None:
        raise ValueError(
            f"{root} has no {ANNOTATIONS}/ in it or beside it; unpack the lists there, or give their folder "
            "as `annotations` (the repository has split 1 in data/ucf101/ucfTrainTestlist)"
        )
    class_names = read_class_index(lists / "classInd.txt")
    listed = {
        path.stem: read_split_list(path, class_names) for path in sorted(lists.glob("t*list[0-9][0-9].txt"))
    }
    named = {name for names in listed.values() for name in names}
    listing = load_videos(root, "all", annotations=lists, recorded=False)
    records = listing.records
    there = {record.path.relative_to(root).as_posix(): record for record in records}

    def look(record: VideoRecord) -> VerifiedVideo | str:
        try:
            info = probe(record.path)
            if decode:
                read_frames(record.path, range(info.frames - 1, info.frames), "pyav")
        except UnreadableVideoError as error:
            return error.reason
        return VerifiedVideo(info, record.path.stat().st_size, content_hash(record.path))

    with ThreadPoolExecutor(workers) as pool:  # decoders and checksums work outside Python's lock
        seen, count = pool.map(look, records), len(records)
        bar = Progress(seen, title="verifying", unit="video", total=count, hidden=not show_progress)
        results = dict(zip([record.id for record in records], bar, strict=True))
    videos = {name: result for name, result in results.items() if isinstance(result, VerifiedVideo)}
    takes = (frames - 1) / fps
    return Verification(
        class_names=class_names,
        per_class=dict(Counter(class_names[record.label] for record in records)),
        splits={name: len(names) for name, names in listed.items()},
        videos=videos,
        unreadable={name: result for name, result in results.items() if isinstance(result, str)},
        too_short={
            name: f"has {video.info.frames} frames at {video.info.fps:g}, a clip takes {takes:.2f} s"
            for name, video in videos.items()
            if not video.info.starts(0, video.info.frames, frames, fps, None)
        },
        missing=sorted(named - there.keys()),
        unlisted=sorted(record.id for path, record in there.items() if named and path not in named),
        lists={path.name: sha256_file(path) for path in sorted(lists.glob("*.txt"))},
        left_out=listing.left_out,
        annotations=os.path.abspath(lists),
        is_ucf101=len(class_names) == NUM_CLASSES and class_names[0] == "ApplyEyeMakeup",
    )


def write_manifest(path: AnyPath, found: Verification) -> None:
    """Write what :func:`verify` found as JSON, with the ``hash`` and the ``problems``."""
    write_json(path, {"format": 1, "hash": found.hash, "problems": found.problems, **asdict(found)})


def unpack(archive: AnyPath, root: AnyPath) -> None:
    """Unpack UCF-101's videos (``.rar``) or lists (``.zip``) to where :func:`verify` finds them.

    The folder ``UCF-101`` of an archive becomes ``root``, ``ucfTrainTestlist`` lies in it. Files appear only
    when the whole archive could be unpacked; a folder that is there already is not touched.

    Raises:
        ValueError: if the archive is missing, broken or of another kind, no program for ``.rar`` is there, or
            what it holds is there already.
    """
    archive, root = Path(archive), Path(root)
    if not archive.is_file():
        raise ValueError(f"{archive} is no file.\n{WHERE_TO_GET_IT}")
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        _unpack(archive, root)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # what is refused leaves no folder behind
                root.rmdir()
        raise


def _unpack(archive: Path, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as name:
        temporary = Path(name)
        if archive.suffix == ".zip":
            try:
                with zipfile.ZipFile(archive) as file:
                    file.extractall(temporary)
            except (zipfile.BadZipFile, OSError) as error:
                raise ValueError(f"{archive} cannot be unpacked: {error}") from error
        elif archive.suffix == ".rar":
            _unpack_rar(archive, temporary)
        else:
            raise ValueError(f"{archive} must end in .rar or .zip")
        for folder in _contents(archive, temporary):
            if (root / folder.name).exists():
                raise ValueError(
                    f"{root / folder.name} is there already; remove it to unpack {archive} again"
                )
            folder.rename(root / folder.name)


def _contents(archive: Path, temporary: Path) -> list[Path]:
    """The folders to move: the class folders in ``UCF-101``, or the folder of lists."""
    inner = temporary / "UCF-101"
    if inner.is_dir():
        return sorted(path for path in inner.iterdir() if path.is_dir())
    if (temporary / ANNOTATIONS).is_dir():
        return [temporary / ANNOTATIONS]
    raise ValueError(f"{archive} holds neither UCF-101/ nor {ANNOTATIONS}/; is it UCF-101's archive?")


def _unpack_rar(archive: Path, folder: Path) -> None:
    source, target = str(archive.absolute()), str(folder)
    programs = {
        "unrar": ["unrar", "x", "-idq", source, f"{target}/"],
        "bsdtar": ["bsdtar", "-x", "-f", source, "-C", target],
        "7z": ["7z", "x", "-bso0", f"-o{target}", source],
        "unar": ["unar", "-quiet", "-no-directory", "-output-directory", target, source],
    }
    program = next((name for name in programs if shutil.which(name)), None)
    if program is None:
        raise ValueError(f"no program to unpack {archive} is installed; install one of {', '.join(programs)}")
    done = subprocess.run(programs[program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"{program} cannot unpack {archive}: {(done.stderr or done.stdout).strip()[-500:]}")


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
