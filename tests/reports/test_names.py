# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Names in a model card: those of the Hub, and no path of anybody's machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.names import clean_value, dataset_names, is_hub_id, without_local_paths
from tests.hub_server import check_card
from tests.reports.results import BASE, CODE, CONFIG, MATH, SEARCHED, cells, code_blocks, section


@pytest.mark.parametrize("named", ["out/kept-model", "/home/me/models/secret", "~/secret", "C:\\models\\secret"])
def test_a_local_model_is_not_named(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    Path("out/kept-model").mkdir(parents=True)
    result = dataclasses.replace(SEARCHED, base_model=named)
    card = create_model_card(result, CONFIG, model_name="out/kept-model")
    assert "This is a local model with" in card.text
    assert named not in str(card) and "secret" not in str(card)
    assert card.data.base_model is None
    assert "base_model_relation" not in card.data.to_dict()
    assert card.text.lstrip().startswith("# kept-model\n")
    assert check_card(str(card)) == []


def test_local_data_are_not_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("corpus/mine").mkdir(parents=True)
    spaced = "/home/me/my data/secret set.jsonl"
    config = CONFIG | {
        "calibration_dataset": f"{spaced}:10,{CODE}:20,corpus/mine:5",
        "search_dataset": "secret.jsonl",
        "columns": {"text": "C:\\secret\\x"},
        "extra": [Path("/home/me/secret"), "see file:///home/me/secret."],
    }
    data = {
        "calibration": {"description": f"{spaced} (10 windows), {CODE} (20 windows) and corpus/mine"},
        "search": {"description": "from ../secret/set, about 1/3 of https://example.com/list.jsonl and '/etc/secret'"},
    }
    card = create_model_card(dataclasses.replace(SEARCHED, data=data), config)
    for leak in ("secret", "/home", "my data", "corpus/mine"):
        assert leak not in str(card)
    assert cells(section(card, "Data"), "calibration")[0] == (
        f"local data (10 windows), {CODE} (20 windows) and local data"
    )
    assert cells(section(card, "Data"), "search")[0] == (
        "from local data, about 1/3 of https:\\//example.com/list.jsonl and 'local data'"
    )
    assert card.data.datasets == [CODE]
    shown = json.loads(code_blocks(card, "json")[0])
    assert shown["calibration_dataset"] == f"local data:10,{CODE}:20,local data:5"
    assert shown["extra"] == ["local data", "see local data."]


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(BASE)
    Path(BASE).mkdir(parents=True)
    assert not is_hub_id(BASE)  # a folder wins, as it does when the model is loaded
    for name in (None, "gpt2", "a/b/c", "data/train.jsonl", "./a", "/a/b", "a b/c", "a/b--c"):
        assert not is_hub_id(name), name
    assert dataset_names(f"{CODE}:10, {MATH}@v1:5,C:\\x.json:3") == [CODE, MATH, "C:\\x.json"]
    assert dataset_names(None) == []
    assert clean_value({"a": [1, True, None, 0.5, "plain / text, ~100"]}) == {
        "a": [1, True, None, 0.5, "plain / text, ~100"]
    }
    assert without_local_paths("key=/srv/x;next") == "key=local data;next"
