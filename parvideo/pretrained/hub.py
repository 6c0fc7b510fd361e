"""Models on the Hugging Face Hub: found by owner/name, fetched at one commit, safetensors only.

Only this file talks to the Hub. The library for it, huggingface_hub, is an extra: ``pip install
'parvideo[hub]'``; where it keeps files and which server it asks are its own settings (HF_HOME, HF_ENDPOINT).
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parvideo.files import AnyPath, read_json
from parvideo.version import __version__

INSTALL = "pip install 'parvideo[hub]'"
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".npy", ".npz", ".h5", ".msgpack")
"""Endings of files that hold weights in other ways, most of them ones that run code when they are read."""

_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub.

    Attributes:
        repo: owner/name.
        revision: branch, tag or commit; None for the main branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        """As it is given to ``--model``."""
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def parse(word: AnyPath) -> HubModel | None:
    """The model that ``owner/name`` or ``owner/name@revision`` names; None if it is written otherwise.

    >>> parse("someone/par4x@v1")
    HubModel(repo='someone/par4x', revision='v1')
    >>> parse("runs/par4x/model") is None
    True
    """
    found = _NAME.fullmatch(str(word))
    return None if found is None else HubModel(found["repo"], found["revision"])


@functools.cache
def fetch(model: HubModel, needed: tuple[str, ...], more: tuple[str, ...]) -> Path:
    """The folder of a model's files on this disk, fetched where they are not there yet.

    The revision is resolved to a commit once in a process, so that whatever is read of a model there is of
    one commit (`origin` says which). A commit that is given in full and was fetched before needs no network.

    Args:
        model: on the Hub.
        needed: paths in the repository of what every model has: its configuration, then its weights.
        more: of what some models have; nothing else is ever fetched.

    Raises:
        FileNotFoundError: if the Hub has no such model, or revision, or huggingface_hub is not installed.
        ConnectionError: if the Hub cannot be asked; the message says what works without it.
        ValueError: if what is there is no model of ours, such as weights in a pickle.
    """
    hub = _library(f"there is no folder {model} here")
    here = _fetched(hub, model, needed, more)
    if here is not None:
        return here
    api = hub.HfApi(library_name="parvideo", library_version=__version__)
    try:
        info = api.model_info(model.repo, revision=model.revision, timeout=10)
        there = [sibling.rfilename for sibling in info.siblings or []]
        _check_files(model, there, needed)
        where = {"revision": info.sha, "endpoint": api.endpoint, "library_name": "parvideo"}
        paths = [hub.hf_hub_download(model.repo, name, **where) for name in (*needed, *more) if name in there]
    except ValueError:
        raise
    except Exception as error:
        raise _explained(hub, api.endpoint, model, error) from error
    return Path(paths[0]).parent


def origin(folder: AnyPath) -> str | None:
    """Where a folder's model was fetched from, ``owner/name@commit``; None for a folder of one's own."""
    for part in (Path(folder), *Path(folder).parents):
        repo = _SNAPSHOT.fullmatch(part.parent.parent.name)
        if repo is not None and part.parent.name == "snapshots" and _COMMIT.fullmatch(part.name):
            return f"{repo['owner']}/{repo['name']}@{part.name}"
    return None


def push(files: Mapping[str, Path | bytes], model: HubModel, private: bool, message: str) -> str:
    """Put files into a model's repository, in one commit; the repository is made where there is none.

    Args:
        files: by their path in the repository.
        model: its revision is the branch, which must exist; None for main.
        private: of a repository that is made, whether only its owner sees it.
        message: of the commit.

    Returns:
        owner/name@commit.

    Raises:
        ValueError: if a file is of a kind that can run code when it is read, or the Hub refuses the card.
        ConnectionError: if the Hub cannot be asked.
        PermissionError: if it lets this user write no such repository.
    """
    hub = _library(f"cannot push to {model}")
    refused = [name for name in files if name.endswith(PICKLES)]
    if refused:
        raise ValueError(f"{', '.join(refused)}: only safetensors, JSON and Markdown go to the Hub")
    api = hub.HfApi(library_name="parvideo", library_version=__version__)
    operations = [
        hub.CommitOperationAdd(name, str(data) if isinstance(data, Path) else data)
        for name, data in files.items()
    ]
    try:
        api.create_repo(model.repo, private=private, exist_ok=True)
        done = api.create_commit(model.repo, operations, commit_message=message, revision=model.revision)
    except ValueError:
        raise
    except Exception as error:
        raise _explained(hub, api.endpoint, model, error) from error
    return f"{model.repo}@{done.oid}"


def _library(why: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise FileNotFoundError(
            f"{why}, and the Hub needs huggingface_hub, which is not installed: {INSTALL}"
        ) from None
    return huggingface_hub


def _fetched(hub: Any, model: HubModel, needed: Sequence[str], more: Sequence[str]) -> Path | None:
    """The folder of a commit that is on this disk in full."""
    if model.revision is None or not _COMMIT.fullmatch(model.revision):
        return None
    names = (*needed, *more)
    found = {name: hub.try_to_load_from_cache(model.repo, name, revision=model.revision) for name in names}
    have = {name for name, path in found.items() if isinstance(path, str)}
    if not have.issuperset(needed):
        return None
    config = read_json(found[needed[0]])
    whole = have.issuperset(more) or (isinstance(config, dict) and config.get("kind") == "tokenizer")
    return Path(found[needed[0]]).parent if whole else None


def _check_files(model: HubModel, there: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in there]
    if not missing:
        return
    pickles = [name for name in there if name.endswith(PICKLES)]
    if pickles and needed[-1] in missing:
        raise ValueError(
            f"{model} has its weights as {', '.join(pickles[:3])}, and reading such a file can run whatever "
            f"code its author put there; parvideo reads safetensors only, as `parvideo push` writes them "
            f"({needed[-1]})"
        )
    held = ", ".join(sorted(there)[:6]) or "nothing"
    raise ValueError(
        f"{model} on the Hub is no model of parvideo: it lacks {', '.join(missing)}, and holds {held}"
    )


def _explained(hub: Any, endpoint: str, model: HubModel, error: Exception) -> OSError:
    """What went wrong between us and the Hub, with what would be right."""
    errors, line = hub.errors, " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(
            f"{model} is gated: ask for access on {endpoint}/{model.repo}, then `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileNotFoundError(
            f"{model} is neither a folder here ({Path(str(model)).absolute()}) nor a model on the Hub "
            f"({endpoint}); one that is private needs `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(f"{model.repo} on the Hub has no revision {model.revision}")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return PermissionError(
            f"{endpoint} lets you not do this with {model.repo}: `hf auth login`. It says: {line}"
        )
    if isinstance(error, OSError) and error.errno is not None:  # this disk's
        return error
    if status is not None:
        return ConnectionError(f"{endpoint} answered {status} for {model}: {line}")
    commits = _commits_here(hub, model.repo)
    pinned = f", or a commit that was fetched before: {model.repo}@{commits[0]}" if commits else ""
    return ConnectionError(
        f"{model} is no folder here, and the Hub at {endpoint} cannot be reached ({line}); without it give a "
        f"model folder on this disk, such as runs/NAME{pinned}"
    )


def _commits_here(hub: Any, repo: str) -> list[str]:
    """Commits of which something was fetched, the newest first."""
    snapshots = Path(hub.constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    there = [
        path
        for path in snapshots.glob("*")
        if _COMMIT.fullmatch(path.name) and any(path.glob("*.safetensors"))
    ]
    return [path.name for path in sorted(there, key=lambda path: -path.stat().st_mtime)]
