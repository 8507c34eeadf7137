# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A small Hugging Face Hub on 127.0.0.1, so that the real client can push, pull and fail without the internet.

It keeps model repositories with branches, commits and large files in memory and answers the requests that
`huggingface_hub` 1.x and 2.x send for them. The client reads `HF_ENDPOINT` when it is imported, so what talks to the
server belongs in a process of its own, with `HubServer.environment`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml


USER = "tester"
TOKEN = "hf_token_of_the_tests"
RELATIONS = ("adapter", "finetune", "merge", "quantized")
LARGE_SUFFIXES = (".safetensors", ".bin", ".parquet")
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class HubError(Exception):
    """An answer other than 200, with the header that the client tells the cases apart by."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Commit:
    oid: str
    message: str
    description: str
    files: dict[str, bytes]


@dataclass
class Repository:
    name: str
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    pull_requests: int = 0

    def commit(self, revision: str) -> Commit:
        if revision in self.branches:
            return self.branches[revision][-1]
        for branch in self.branches.values():
            for commit in branch:
                if commit.oid == revision:
                    return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(self, branch: str, message: str, files: dict[str, bytes], description: str = "") -> Commit:
        history = self.branches.setdefault(branch, [])
        content = "".join(f"{path} {git_oid(data)}\n" for path, data in sorted(files.items()))
        oid = hashlib.sha1(f"{self.name} {branch} {len(history)} {message}\n{content}".encode()).hexdigest()
        history.append(Commit(oid, message, description, files))
        return history[-1]


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith(LARGE_SUFFIXES)


def file_oid(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if is_large(path) else git_oid(data)


def check_card(content: str) -> list[str]:
    """What is wrong with the metadata of a README.md."""
    match = re.match(r"---\s*\n(.*?)\n---\s*\n", content, re.DOTALL)
    if match is None:
        return ["there is no metadata"]
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"the metadata is not YAML: {error}"]
    problems = []
    for name in ("base_model", "datasets"):
        listed = data.get(name) or []
        for repo_id in [listed] if isinstance(listed, str) else listed:
            if not isinstance(repo_id, str) or not REPO_ID.fullmatch(repo_id):
                problems.append(f"{name}: {repo_id!r} is not a repository id")
    if data.get("base_model_relation", "finetune") not in RELATIONS:
        problems.append(f"base_model_relation must be one of {', '.join(RELATIONS)}")
    if data.get("license") == "other" and not data.get("license_name"):
        problems.append("license_name is needed with license: other")
    if not all(isinstance(tag, str) for tag in data.get("tags", [])):
        problems.append("tags must be strings")
    return problems


class HubServer:
    """The server: `with HubServer() as hub: ...`.

    Attributes:
        endpoint: Its address, for `HF_ENDPOINT`.
        repositories: Everything pushed, by repository id.
        objects: Content of the large files, by SHA-256.
        requests: `"METHOD /path"` of every request, in order.
    """

    def __init__(self) -> None:
        self.token, self.user = TOKEN, USER
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.hub = self  # type: ignore[attr-defined]
        self.endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def environment(self, home: str | Path, token: str | None = TOKEN) -> dict[str, str]:
        """The environment for a process that takes this server for the Hub; `token=None`: nobody is logged in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSF"))}
        kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
        root = str(Path(__file__).resolve().parents[1])
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        kept |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",  # the server has no Xet storage
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "DISABLE_SAFETENSORS_CONVERSION": "1",
        }
        return kept | ({"HF_TOKEN": token} if token is not None else {})

    def add_repository(self, repo_id: str, files: dict[str, bytes] | None = None, private: bool = False) -> Repository:
        """A repository with its first commit, as `create_repo` leaves it, or with `files` in a second one."""
        repository = self.repositories[repo_id] = Repository(repo_id, private)
        repository.add_commit("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        if files is not None:
            repository.add_commit("main", "files of the test", repository.commit("main").files | files)
        return repository

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision, without the `.gitattributes` that every repository starts with."""
        files = self.repositories[repo_id].commit(revision).files
        return {path: data for path, data in files.items() if path != ".gitattributes"}

    def pushed_commits(self, repo_id: str, branch: str = "main") -> list[Commit]:
        """The commits of a branch after the initial one."""
        return self.repositories[repo_id].branches[branch][1:]

    def writes(self) -> list[str]:
        """The requests that create or upload something."""
        return [line for line in self.requests if line.startswith(("PUT", "POST")) and "validate-yaml" not in line]

    # Each method below answers one kind of request with a JSON value.

    def create_repo(self, body: dict[str, Any]) -> dict[str, Any]:
        repo_id = f"{body.get('organization') or self.user}/{body['name']}"
        url = {"url": f"{self.endpoint}/{repo_id}", "name": repo_id}
        if repo_id in self.repositories:
            raise HubError(409, json.dumps(url | {"error": "You already created this model repo"}))
        self.add_repository(repo_id, private=body.get("visibility") == "private" or body.get("private") is True)
        return url

    def create_branch(self, repository: Repository, branch: str, body: dict[str, Any]) -> dict[str, Any]:
        if branch.startswith("refs/"):
            raise HubError(400, f"{branch} is not the name of a branch")
        if branch in repository.branches:
            raise HubError(409, "Reference already exists")
        repository.branches[branch] = [repository.commit(body.get("startingPoint", "main"))]
        return {}

    def model_info(self, repository: Repository, revision: str) -> dict[str, Any]:
        commit = repository.commit(revision)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        names = {"_id": "0", "id": repository.name, "modelId": repository.name, "author": self.user}
        return names | {"sha": commit.oid, "private": repository.private, "tags": [], "siblings": siblings}

    def tree(self, repository: Repository, revision: str, folder: str, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        files = repository.commit(revision).files
        found = {path: data for path, data in files.items() if path.startswith(prefix)}
        if prefix and not found:
            raise HubError(404, f"{folder} does not exist", "EntryNotFound")
        entries: list[dict[str, Any]] = []
        folders = {path[: path.index("/", len(prefix))] for path in found if "/" in path[len(prefix) :]}
        entries += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        for path, data in sorted(found.items()):
            if recursive or "/" not in path[len(prefix) :]:
                entry = {"type": "file", "path": path, "oid": git_oid(data), "size": len(data)}
                if is_large(path):
                    entry["lfs"] = {"oid": file_oid(path, data), "size": len(data), "pointerSize": 134}
                entries.append(entry)
        return entries

    def preupload(self, repository: Repository, revision: str, body: dict[str, Any]) -> dict[str, Any]:
        present = repository.commit(revision).files
        answers = []
        for item in body["files"]:
            path = item["path"]
            answer = {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False}
            if path in present:
                answer["oid"] = file_oid(path, present[path])
            answers.append(answer)
        return {"files": answers}

    def lfs_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        answers = []
        for item in body["objects"]:
            answer = {"oid": item["oid"], "size": item["size"], "authenticated": True}
            if item["oid"] not in self.objects:
                upload = {"href": f"{self.endpoint}/lfs/{item['oid']}", "header": {}}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{self.endpoint}/lfs/verify"}}
            answers.append(answer)
        return {"transfer": "basic", "objects": answers}

    def lfs_upload(self, oid: str, data: bytes) -> dict[str, Any]:
        if hashlib.sha256(data).hexdigest() != oid:
            raise HubError(400, "the content does not have the SHA-256 that was announced")
        self.objects[oid] = data
        return {}

    def lfs_verify(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(self.objects.get(body["oid"], b"")) != body["size"]:
            raise HubError(400, "the object is missing or has another size")
        return {}

    def commit(self, repository: Repository, revision: str, lines: bytes, create_pr: bool) -> dict[str, Any]:
        parent = repository.commit(revision)
        files, header = dict(parent.files), {}
        for operation in map(json.loads, lines.splitlines()):
            key, value = operation["key"], operation["value"]
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                self.lfs_verify(value)
                files[value["path"]] = self.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise HubError(400, f"unknown operation {key}")
        branch, answer = revision, {"success": True}
        if create_pr:
            repository.pull_requests += 1
            branch = f"refs/pr/{repository.pull_requests}"
            repository.branches[branch] = [parent]
            answer["pullRequestUrl"] = f"{self.endpoint}/{repository.name}/discussions/{repository.pull_requests}"
        commit = repository.add_commit(branch, header["summary"], files, header.get("description", ""))
        return answer | {
            "commitOid": commit.oid,
            "commitUrl": f"{self.endpoint}/{repository.name}/commit/{commit.oid}",
        }


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, finds the method of [`HubServer`] that answers it, and writes the answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Quiet; `HubServer.requests` has the log."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    @property
    def hub(self) -> HubServer:
        return self.server.hub  # type: ignore[attr-defined]

    def _answer(self) -> None:
        body = self._read_body()
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.hub.requests.append(f"{self.command} {self.path}")
        try:
            with self.hub.lock:
                if self.command in ("GET", "HEAD") and "resolve" in parts:
                    self._send_file(parts)
                else:
                    self._send(200, json.dumps(self._route(parts, query, body)).encode())
        except HubError as error:
            headers = {"X-Error-Message": str(error).splitlines()[0]}
            headers |= {"X-Error-Code": error.code} if error.code else {}
            text = str(error)
            self._send(error.status, (text if text.startswith("{") else json.dumps({"error": text})).encode(), headers)

    def _read_body(self) -> bytes:
        data = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _route(self, parts: list[str], query: dict[str, str], body: bytes) -> Any:
        command, hub = self.command, self.hub
        if (command, parts[0]) == ("PUT", "lfs"):
            return hub.lfs_upload(parts[1], body)  # a signed address: no token, as on the Hub
        if (command, parts) == ("POST", ["api", "validate-yaml"]):
            if problems := check_card(json.loads(body)["content"]):
                raise HubError(400, json.dumps({"errors": [{"message": problem} for problem in problems]}))
            return {"errors": [], "warnings": []}
        if (command, parts) == ("GET", ["api", "whoami-v2"]):
            self._need_token()
            return {"name": hub.user, "type": "user", "orgs": []}
        if command == "POST":
            self._need_token()
            if parts == ["api", "repos", "create"]:
                return hub.create_repo(json.loads(body))
            if parts == ["lfs", "verify"]:
                return hub.lfs_verify(json.loads(body))
            if parts[2:] == ["info", "lfs", "objects", "batch"]:
                self._repository(f"{parts[0]}/{parts[1].removesuffix('.git')}")
                return hub.lfs_batch(json.loads(body))
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self._route_model(self._repository("/".join(parts[2:4])), parts[4:], query, body)
        raise HubError(404, f"{command} {self.path} is not a request that this server knows")

    def _route_model(self, repository: Repository, rest: list[str], query: dict[str, str], body: bytes) -> Any:
        hub, action = self.hub, rest[0] if rest else "revision"
        revision = rest[1] if len(rest) > 1 else "main"
        if self.command == "POST" and action == "branch":
            return hub.create_branch(repository, revision, json.loads(body or b"{}"))
        if self.command == "POST" and action == "preupload":
            return hub.preupload(repository, revision, json.loads(body))
        if self.command == "POST" and action == "commit":
            return hub.commit(repository, revision, body, create_pr="create_pr" in query)
        if self.command == "GET" and action == "revision":
            return hub.model_info(repository, revision)
        if self.command == "GET" and action == "tree":
            recursive = query.get("recursive", "").lower() in ("1", "true")
            return hub.tree(repository, revision, "/".join(rest[2:]), recursive)
        raise HubError(404, f"{self.command} {self.path} is not a request that this server knows")

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _need_token(self) -> None:
        if self._token() != self.hub.token:
            raise HubError(401, "Invalid username or password.")

    def _repository(self, repo_id: str) -> Repository:
        repository = self.hub.repositories.get(repo_id)
        # The Hub does not tell a private repository from none.
        if repository is None or (repository.private and self._token() != self.hub.token):
            raise HubError(401 if self._token() is None else 404, "Repository not found", "RepoNotFound")
        return repository

    def _send_file(self, parts: list[str]) -> None:
        place = parts.index("resolve")
        repository = self._repository("/".join(parts[:place]))
        commit = repository.commit(parts[place + 1])
        path = "/".join(parts[place + 2 :])
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._send(404, b"Entry not found", headers)
        data = commit.files[path]
        headers["ETag"] = f'"{file_oid(path, data)}"'
        if is_large(path):
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(data))}
        self._send(200, data, headers | {"Content-Disposition": f"inline; filename*=UTF-8''{quote(path)}"})
        return None

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
