"""A hub on loopback that answers the calls of huggingface_hub's client: repositories, commits, LFS and downloads."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_anna"


class Hub:
    """What the hub holds: `private` repositories, their `commits`, oldest first, as oid -> name -> content; uploads."""

    def __init__(self) -> None:
        self.url = ""
        self.private: dict[str, bool] = {}
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.status = 0
        """Answer to every call, if not 0."""

    def commit(self, repo: str, changes: dict[str, bytes]) -> str:
        """Add a commit, and return its oid."""
        commits = self.commits.setdefault(repo, {})
        files = {**(list(commits.values())[-1] if commits else {}), **changes}
        oid = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()
        commits[oid] = files
        return oid

    def at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return oid and files of a revision; None if there is none."""
        commits = self.commits.get(repo) or {}
        oid = list(commits)[-1] if revision == "main" and commits else revision
        return (oid, commits[oid]) if oid in commits else None


class Handler(BaseHTTPRequestHandler):
    """Answers for `server.hub`."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.handle_call()

    def do_HEAD(self) -> None:
        self.handle_call()

    def do_POST(self) -> None:
        self.handle_call()

    def do_PUT(self) -> None:
        self.handle_call()

    def handle_call(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.calls.append(f"{self.command} {path}")
        if self.hub.status:
            return self.answer(self.hub.status, {"error": "as the test wants it"})
        writes = self.command == "POST" and "validate-yaml" not in path
        if writes and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return getattr(self, method)(body, *found.groups())
        return self.answer(404, {"error": "no such call"})

    def answer(self, status: int, value: Any = None, content: bytes = b"", **headers: str) -> None:
        if value is not None:
            content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        new = repo not in self.hub.private
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.hub.private.setdefault(repo, private)
        self.answer(
            200 if new else 409, {"url": f"{self.hub.url}/{repo}", "name": repo, "error": "You already have it"}
        )

    def validate(self, _: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, *_: str) -> None:
        files = [
            {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular"}
            for each in json.loads(body)["files"]
        ]
        self.answer(200, {"files": [{**each, "shouldIgnore": False} for each in files]})

    def batch(self, body: bytes, _: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{each['oid']}"}}}
            for each in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self.answer(200)

    def add_commit(self, body: bytes, repo: str) -> None:
        changes = {}
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                changes[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                changes[line["value"]["path"]] = self.hub.blobs[line["value"]["oid"]]
        oid = self.hub.commit(repo, changes)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def missing(self, repo: str, revision: str) -> bool:
        """Answer and return True if there is no such repository for this caller, or no such revision."""
        hidden = self.hub.private.get(repo, True) and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if hidden or repo not in self.hub.commits:
            self.answer(401 if hidden else 404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        elif self.hub.at(repo, revision) is None:
            self.answer(404, {"error": "not found"}, X_Error_Code="RevisionNotFound")
        else:
            return False
        return True

    def info(self, _: bytes, repo: str, revision: str | None) -> None:
        if self.missing(repo, revision or "main"):
            return
        oid, files = self.hub.at(repo, revision or "main") or ("", {})
        siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
        self.answer(200, {"id": repo, "sha": oid, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def resolve(self, _: bytes, repo: str, revision: str, name: str) -> None:
        if self.missing(repo, revision):
            return
        oid, files = self.hub.at(repo, revision) or ("", {})
        content = files[name]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.answer(200, content=content, ETag=etag, X_Repo_Commit=oid)


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("POST /api/repos/create", "create"),
    ("POST /api/validate-yaml", "validate"),
    (f"POST /api/models/{REPO}/preupload/main", "preupload"),
    (rf"POST /{REPO}\.git/info/lfs/objects/batch", "batch"),
    ("PUT /blobs/([0-9a-f]+)", "upload"),
    (f"POST /api/models/{REPO}/commit/main", "add_commit"),
    (f"GET /api/models/{REPO}(?:/revision/(.+))?", "info"),
    (f"(?:GET|HEAD) /{REPO}/resolve/([^/]+)/(.+)", "resolve"),
]


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """Yield an empty hub that answers at its `url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = hub = Hub()  # type: ignore[attr-defined]
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
