# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Pushes that are refused, before anything is sent where that can be."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from optimum_evoesap import EvoESAPConfig
from tests.checkpoint.pushing import PUSH, REPO, push
from tests.hub_process import run
from tests.hub_server import TOKEN
from tests.reports.results import SEARCHED


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


CHECK = """
import json, sys
from optimum_evoesap.checkpoint.push_checks import check_hub, plan_push

answers = []
for arguments in json.loads(sys.argv[1]):
    try:
        check_hub(**plan_push(True, arguments.pop("repo_id"), None, **arguments))
        answers.append(None)
    except (ValueError, OSError) as error:
        answers.append(f"{type(error).__name__}: {error}")
print(json.dumps(answers))
"""


def test_a_push_that_cannot_succeed_is_known_before_the_work(hub_server, tmp_path):
    hub_server.add_repository(REPO)
    hub_server.add_repository("tester/secret", private=True)
    cases = [
        ({}, None),
        ({"repo_id": "tester/new", "private": True}, None),
        ({"repo_id": "tester/secret", "private": True}, None),
        ({"token": "hf_wrong"}, "ValueError: The Hub does not take the access token"),
        ({"private": True}, "ValueError: private=True, but the repository"),
        ({"repo_id": "olmoe-pruned", "private": True}, "ValueError: private=True, but the repository"),
        ({"token": "hf_canary\nX"}, "ValueError: The access token holds a blank, a line break"),
        ({"token": "hf_canäry"}, "ValueError: The access token holds a blank, a line break"),
        ({"token": " hf_canary"}, "ValueError: The access token holds a blank, a line break"),
        ({"token": ""}, "ValueError: The access token holds a blank, a line break"),
    ]
    arguments = json.dumps([{"repo_id": REPO} | change for change, _ in cases])
    answers = run(hub_server, tmp_path / "home", CHECK, arguments)
    for answer, (change, expected) in zip(answers, cases):
        assert (answer or "").startswith(expected or "") and (answer is None) == (expected is None), (change, answer)
        assert "canary" not in (answer or "")
    assert hub_server.writes() == []


def test_a_hub_that_cannot_be_reached_is_known_before_the_work(hub_server, tmp_path):
    arguments = json.dumps([{"repo_id": REPO}])
    (answer,) = run(hub_server, tmp_path / "home", CHECK, arguments, HF_HUB_OFFLINE="1")
    assert "offline" in answer.lower()
    code = f"import time; time.sleep = lambda seconds: None\n{CHECK}"
    (answer,) = run(hub_server, tmp_path / "home", code, arguments, HF_ENDPOINT="http://127.0.0.1:9")
    assert answer.startswith("ConnectionError: The Hub cannot be reached")


def test_only_what_is_of_the_checkpoint_is_pushed(hub_server, tmp_path):
    private = (".env", "notes.txt", "runs/log", "secret.jsonl", "training_args.bin", "more/chat_template.jinja")
    for name, files in (("listed", ["config.json", "model.safetensors", "tokenizer.json"]), ("unlisted", [])):
        folder = tmp_path / name
        for each in ("config.json", "model.safetensors", "tokenizer.json", *private):
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            (folder / each).write_text("{}")
        data = {"calibration": {"description": "/home/me/secret.jsonl (4)"}}
        dataclasses.replace(SEARCHED, base_model="/home/me/model", files=files, data=data).save(folder)
        EvoESAPConfig(calibration_dataset="/home/me/secret.jsonl").save_pretrained(folder)
        push(hub_server, tmp_path / "home", folder, repo_id=f"tester/{name}")
        pushed = hub_server.files(f"tester/{name}")
        config = {"evoesap_config.json"} if name == "unlisted" else set()
        assert set(pushed) == {"config.json", "model.safetensors", "tokenizer.json", "evoesap_result.json", *config}
        assert not [each for each, content in pushed.items() if b"/home/me" in content or b"secret" in content]
        assert "/home/me/model" in (folder / "evoesap_result.json").read_text()
