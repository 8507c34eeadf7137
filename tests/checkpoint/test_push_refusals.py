# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Pushes that are refused, before anything is sent where that can be."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.checkpoint.pushing import PUSH, REPO, push
from tests.hub_process import run
from tests.hub_server import TOKEN


def test_private_is_refused_for_a_public_repository(hub_server, tmp_path, small):
    hub_server.add_repository(REPO)
    answer = push(hub_server, tmp_path / "home", small, private=True)
    assert answer["error"] == "ValueError"
    assert "public" in answer["message"]
    assert hub_server.pushed_commits(REPO) == []
    assert hub_server.objects == {}


def test_an_invalid_card_stops_the_push_before_the_weights(hub_server, tmp_path, small):
    (small / "README.md").write_text("---\nbase_model: /home/me/model\n---\n# A card\n")
    answer = push(hub_server, tmp_path / "home", small)
    assert answer["error"] == "ValueError"
    assert "base_model" in answer["message"]
    assert hub_server.objects == {}
    assert hub_server.pushed_commits(REPO) == []


@pytest.mark.parametrize("login, token", [(None, None), (None, True), (TOKEN, False)])
def test_without_a_token_nothing_is_sent(hub_server, tmp_path, small, login, token):
    answer = push(hub_server, tmp_path / "home", small, login=login, token=token)
    assert answer["error"] == "LocalTokenNotFoundError"
    assert "hf auth login" in answer["message"]
    assert "token=" in answer["message"]
    assert hub_server.requests == []


def test_a_token_that_is_passed_is_used(hub_server, tmp_path, small):
    push(hub_server, tmp_path / "home", small, login=None, token=TOKEN)
    assert len(hub_server.pushed_commits(REPO)) == 1
    wrong = push(hub_server, tmp_path / "home", small, repo_id="tester/other", token="hf_wrong")
    assert "401" in wrong["message"]
    assert "tester/other" not in hub_server.repositories


def test_mistakes_are_named_before_anything_is_sent(hub_server, tmp_path, small):
    (tmp_path / "empty").mkdir()
    shutil.copy(small / "config.json", tmp_path / "file")
    cases = [
        ({"folder": "missing"}, "FileNotFoundError", "missing"),
        ({"folder": "file"}, "FileNotFoundError", "file"),
        ({"folder": "empty"}, "FileNotFoundError", "config.json"),
        ({"repo_id": "too/many/parts"}, "ValueError", "too/many/parts"),
        ({"repo_id": "tester/with space"}, "ValueError", "with space"),
        ({"repo_id": None}, "ValueError", "repo_id=None"),
        ({"create_pr": True, "revision": "dev"}, "ValueError", "create_pr"),
    ]
    calls = [{"folder": "small", "repo_id": REPO} | change for change, _, _ in cases]
    calls = [call | {"folder": str(tmp_path / call["folder"])} for call in calls]
    answers = run(hub_server, tmp_path / "home", PUSH, json.dumps(calls))
    for answer, (change, error, words) in zip(answers, cases):
        assert answer.get("error") == error, change
        assert words in answer["message"], change
    assert hub_server.requests == []
