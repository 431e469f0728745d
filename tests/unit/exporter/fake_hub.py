"""A Hugging Face Hub on 127.0.0.1 that serves directories, so that huggingface_hub's real download code runs.

Endpoints as in https://huggingface.co/docs/hub/api: `/api/models/ID/revision/REV`, `/api/models/ID/tree/REV`, and
`/ID/resolve/REV/FILE` (GET and HEAD), with the hub's X-Error-Code and X-Repo-Commit headers.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_fake_token"


@dataclass
class FakeHub:
    """`repos`: hub id -> directory. `gated` ids need TOKEN. `requests`: "METHOD path" of everything asked so far."""

    repos: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    broken: bool = False  # answers 503 to everything
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def files(self, repo: str) -> dict[str, bytes]:
        root = self.repos[repo]
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def fetched(self) -> set[str]:
        """Names of the files whose contents were downloaded."""
        return {line.split("/resolve/")[1].split("/", 1)[1] for line in self.requests if line.startswith("GET /")
                and "/resolve/" in line}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.broken:
            return self._send(503, b"down")
        if path.startswith("/api/models/"):
            return self._api(path.removeprefix("/api/models/"))
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if self._refused(repo, revision):
            return None
        files = self.hub.files(repo)
        if name not in files:
            return self._send(404, b"", error="EntryNotFound")
        etag = hashlib.sha1(files[name]).hexdigest()
        return self._send(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _api(self, path: str) -> None:
        separator = "/tree/" if "/tree/" in path else "/revision/"
        repo, _, rest = path.partition(separator)
        if self._refused(repo, rest.split("/")[0] or "main", contents=False):
            return None
        names = self.hub.files(repo)
        if separator == "/tree/":
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in names.items()
            ]
            return self._json(rows)
        return self._json({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]})

    def _refused(self, repo: str, revision: str, contents: bool = True) -> bool:
        if repo not in self.hub.repos:
            self._send(401, b"", error="RepoNotFound")
        elif contents and repo in self.hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, b"", error="GatedRepo")
        elif revision not in ("main", "v1", COMMIT):
            self._send(404, b"", error="RevisionNotFound")
        else:
            return False
        return True

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, error: str = "") -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[FakeHub]:
    """Serve `repos` until the block ends."""
    hub = FakeHub(repos)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
