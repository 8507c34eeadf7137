# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Pushes to the local Hub, with the real client in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hub_process import run
from tests.hub_server import TOKEN, HubServer


REPO = "tester/olmoe-pruned"

PUSH = """
import json, sys
from optimum_evoesap.checkpoint.push import push_folder

answers = []
for arguments in json.loads(sys.argv[1]):
    try:
        info = push_folder(**arguments)
        answers.append({"oid": info.oid, "url": info.commit_url, "pr_url": info.pr_url})
    except (ValueError, OSError) as error:
        answers.append({"error": type(error).__name__, "message": str(error)})
print(json.dumps(answers))
"""


def push(hub: HubServer, home: Path, folder: Path, repo_id: str = REPO, **options):
    token = options.pop("login", TOKEN)
    environment = options.pop("environment", {})
    arguments = json.dumps([{"folder": str(folder), "repo_id": repo_id, **options}])
    return run(hub, home, PUSH, arguments, token=token, **environment)[0]


def local_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
