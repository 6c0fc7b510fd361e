"""A Hub on localhost: as much of its API as huggingface_hub asks for when models are fetched and pushed."""

import base64
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from parvideo.pretrained.hub import fetch

Files = dict[str, bytes]


@dataclass
class Hub:
    """What the server holds and what it was asked for.

    Attributes:
        url: of the server, for HF_ENDPOINT.
        commits: of each repository owner/name, in order: the commit's hash and its files.
        tags: of each repository, names of commits.
        stored: large files that were uploaded before the commit that names them, by SHA-256.
        asked: every request, "METHOD /path".
        locked: owners that this user may not write to.
    """

    url: str = ""
    commits: dict[str, list[tuple[str, Files]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    stored: Files = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)

    def use(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """Have huggingface_hub ask this server in this process, and keep what it fetches in ``cache``."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        fetch.cache_clear()

    def commit(self, repo: str, files: Files) -> str:
        """Add a commit that puts ``files`` into a repository; returns its hash."""
        before = self.commits.setdefault(repo, [])
        tree = {**(before[-1][1] if before else {}), **files}
        sha = hashlib.sha1(f"{repo} {len(before)}".encode() + b"".join(tree.values())).hexdigest()
        before.append((sha, tree))
        return sha

    def find(self, repo: str, revision: str) -> tuple[str, Files] | None:
        """A commit of a repository by branch, tag or hash."""
        commits = self.commits[repo]
        if revision == "main":
            return commits[-1] if commits else ("0" * 40, {})
        revision = self.tags.get(repo, {}).get(revision, revision)
        return next((commit for commit in commits if commit[0] == revision), None)


@contextmanager
def serve() -> Iterator[Hub]:
    """A running server with nothing in it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        fetch.cache_clear()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_PUT(self) -> None:
        self._path()
        body = self._body()
        self.hub.stored[hashlib.sha256(body).hexdigest()] = body
        self._answer(200)

    def do_POST(self) -> None:
        body, path = self._body(), self._path()
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            owner = asked.get("organization") or "me"
            if owner in self.hub.locked:
                return self._answer(403, {"X-Error-Message": f"you may not write to {owner}"})
            repo = f"{owner}/{asked['name']}"
            if repo in self.hub.commits:
                return self._json({"url": f"{self.hub.url}/{repo}"}, 409)
            self.hub.commits[repo] = []
            return self._json({"url": f"{self.hub.url}/{repo}"})
        if "/preupload/" in path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/store/{wanted['oid']}"}}}
                for wanted in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if "/commit/" in path:
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            files = {}
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    files[entry["value"]["path"]] = self.hub.stored[entry["value"]["oid"]]
            sha = self.hub.commit(repo, files)
            return self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{sha}", "commitOid": sha})
        return self._answer(404)

    def _get(self) -> None:
        words = self._path().strip("/").split("/")
        api = words[:2] == ["api", "models"]
        repo, rest = "/".join(words[2:4] if api else words[:2]), words[4:] if api else words[2:]
        if repo not in self.hub.commits:
            return self._answer(404, {"X-Error-Code": "RepoNotFound"})
        commit = self.hub.find(repo, rest[1] if rest else "main")
        if commit is None:
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        sha, files = commit
        if api:
            siblings = [{"rfilename": name} for name in files]
            return self._json({"id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []})
        name = "/".join(rest[2:])
        if name not in files:
            return self._answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        etag = hashlib.sha256(files[name]).hexdigest()
        return self._answer(200, {"X-Repo-Commit": sha, "ETag": f'"{etag}"'}, files[name])

    def _path(self) -> str:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
