# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What an earlier result wrote is gone when another takes its place, and nothing else is."""

from __future__ import annotations

import dataclasses
import json

import pytest
from transformers import AutoTokenizer

from optimum_evoesap import PruningResult
from optimum_evoesap.checkpoint.earlier import earlier_files, listed_in
from optimum_evoesap.checkpoint.exchange import file_names
from tests.checkpoint.checkpoints import TINY_MOE
from tests.checkpoint.pushing import REPO, push
from tests.pruning import make_pruner, rows
from tests.reports.results import SEARCHED


def prune(folder, tokenizer=None):
    pruner = make_pruner(allocation=[1, 2, 3])
    pruner.tokenizer = tokenizer
    pruner.prune(folder, rows())
    return file_names(folder)


def test_the_result_lists_all_files(tmp_path):
    names = prune(tmp_path / "out", AutoTokenizer.from_pretrained(TINY_MOE))
    assert "tokenizer.json" in names and PruningResult.load(tmp_path / "out").files == names


@pytest.mark.parametrize("is_listed", [True, False])
def test_nothing_of_an_earlier_result_stays_beside_another(is_listed, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(TINY_MOE)
    tokenizer.chat_template = {"default": "{{ 1 }}", "tool_use": "{{ 2 }}"}
    before = prune(tmp_path / "out", tokenizer)
    assert "additional_chat_templates/tool_use.jinja" in before
    record = tmp_path / "out" / "evoesap_result.json"
    if not is_listed:  # as releases before this list wrote it
        record.write_text(json.dumps({k: v for k, v in json.loads(record.read_text()).items() if k != "files"}))
    mine = ("notes.txt", "more/chat_template.jinja", "more/processor_config.json")
    (tmp_path / "out" / "more").mkdir()
    for name in mine:
        (tmp_path / "out" / name).write_text("mine")
    after = prune(tmp_path / "out")
    assert sorted(after) == sorted([*PruningResult.load(tmp_path / "out").files, *mine])
    assert not [name for name in after if "token" in name and name not in mine]
    assert not (tmp_path / "out" / "additional_chat_templates").exists()


@pytest.mark.parametrize(
    "files", [["../precious"], ["/etc/passwd"], [5, None, {}], "notes", {"a": 1}, ["link/precious"], ["n*", "[n]otes"]]
)
def test_a_list_of_others_removes_nothing_else(files, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    kept = [tmp_path / "precious", tmp_path / "elsewhere" / "precious", tmp_path / "out" / "notes"]
    for path in kept:
        path.write_text("mine")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "evoesap_result.json").write_text(json.dumps({"files": files}))
    assert listed_in(tmp_path / "out") == []
    assert all(path.is_file() for path in kept)


@pytest.mark.parametrize("text", ["not json", "[]", "5", "[" * 100_000, b"\xff"])
def test_what_is_no_result_names_no_file(text):
    assert earlier_files(text, ["notes", "tokenizer.json", "model.safetensors"]) == ["model.safetensors"]


def test_a_push_removes_what_an_earlier_one_wrote(hub_server, tmp_path, small):
    first = ["config.json", "chat_template.jinja", "evoesap_result.json", "model.safetensors", "more/tool.jinja"]
    (small / "more").mkdir()
    for name in first[1:2] + first[4:]:
        (small / name).write_text("{{ 1 }}")
    dataclasses.replace(SEARCHED, files=first).save(small)
    push(hub_server, tmp_path / "home", small)
    assert set(hub_server.files(REPO)) == {*first}
    files = hub_server.repositories[REPO].commit("main").files
    hub_server.repositories[REPO].add_commit("main", "a file of the user", files | {"notes.md": b"mine"})
    for name in (first[1], first[4]):
        (small / name).unlink()
    dataclasses.replace(SEARCHED, files=[first[0], *first[2:4]]).save(small)
    push(hub_server, tmp_path / "home", small)
    assert len(hub_server.pushed_commits(REPO)) == 3
    assert set(hub_server.files(REPO)) == {"config.json", "evoesap_result.json", "model.safetensors", "notes.md"}
