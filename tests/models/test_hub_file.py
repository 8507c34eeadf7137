# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A file by its path, its folder, or its repository on a local Hub."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap.models.hub_file import FoundFile, find_file
from tests.hub_process import run


FIND = """
import json, sys
from optimum_evoesap.models.hub_file import find_file

answers = []
for arguments in json.loads(sys.argv[1]):
    try:
        found = find_file(arguments.pop("place"), "some.json", **arguments)
        answers.append([found.path.read_text(), found.commit, str(found.path)])
    except (OSError, ValueError) as error:
        answers.append([type(error).__name__, str(error)])
print(json.dumps(answers))
"""


def test_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds some.json"):
        find_file(tmp_path, "some.json")
    file = tmp_path / "some.json"
    file.write_text("{}")
    assert find_file(tmp_path, "some.json") == FoundFile(file, str(tmp_path))
    assert find_file(str(file), "some.json") == FoundFile(file, str(file))
    for missing in (tmp_path / "not" / "there", "./not_there", "other.json", "~/not_there"):
        with pytest.raises(FileNotFoundError, match="There is no"):
            find_file(missing, "some.json")


def test_repositories(hub_server, tmp_path):
    hub_server.add_repository("me/public", {"some.json": b"public"})
    hub_server.add_repository("me/private", {"some.json": b"private"}, private=True)
    hub_server.add_repository("me/bare", {"README.md": b""})
    asked = [
        {"place": "me/public"},
        {"place": "me/public", "cache_dir": str(tmp_path / "cache")},
        {"place": "me/private"},
        {"place": "me/private", "token": hub_server.token},
        {"place": "me/bare", "revision": "main"},
        {"place": "me/public", "revision": "nothing"},
        {"place": "me/missing"},
    ]
    found = run(hub_server, tmp_path / "home", FIND, json.dumps(asked), token=None)
    commit = hub_server.repositories["me/public"].commit("main").oid
    assert found[0][:2] == ["public", commit] and found[1][:2] == ["public", commit]
    assert found[1][2].startswith(str(tmp_path / "cache"))
    assert found[2][0] == "RepositoryNotFoundError" and found[3][0] == "private"
    assert found[4] == [
        "FileNotFoundError",
        "me/bare (revision main) on the Hub holds no some.json; was it made with optimum-evoesap?",
    ]
    assert found[5][0] == "RevisionNotFoundError" and found[6][0] == "RepositoryNotFoundError"
