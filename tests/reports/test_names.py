# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Names in a model card: those of the Hub, and no path of anybody's machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.checkpoint.public_files import write_public_files
from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.names import clean_value, dataset_names, is_hub_id, without_local_paths
from optimum_evoesap.reports.public import public_result
from tests.hub_server import check_card
from tests.model_matrix import make_model
from tests.pruning import SMALL
from tests.reports.results import BASE, CODE, CONFIG, MATH, SEARCHED, cells, code_blocks, section


try:
    from markdown_it import MarkdownIt

    markdown_it_html = MarkdownIt("commonmark", {"html": True}).enable("table").render
except ImportError:  # it comes with other packages only
    markdown_it_html = None


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


HOSTILE = [
    "a\nb.jsonl",
    "<img src=x onerror=alert(1)>.jsonl",
    "</td></tr></table><script>x</script>",
    "![x](https://evil.example/x.png)",
    "[click](javascript:x)",
    "a | b | c",
    "```\n# heading\n```",
    "`code` ``two`` *bold* _it_ ~~gone~~",
    "---\nbase_model: evil/model\n---",
    "\x1b[31mred\x07\u202egnp.exe\ud800",
    "\\<b>\\| &lt;b&gt; https://evil.example www.evil.example",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_of_others_cannot_break_the_card(name):
    data = {"calibration": {"description": name, "fingerprint": name}, name: {"description": name}}
    domain = {"best": 0.9, "uniform": 0.8, "interval": [0.0, 0.2]}
    result = dataclasses.replace(
        SEARCHED, data=data, criterion=name, fitness=name, domains={name: domain, "other": domain}, model_type=name,
        not_compared_because=name, beats_uniform=None, versions={name: name},
        criterion_scores={name: 0.5, "reap": 0.4}, base_model=name,
    )  # fmt: skip
    config = CONFIG | {
        "calibration_dataset": name,
        "search_dataset": name,
        "columns": {name: name},
        "allocation": name,
    }
    card = create_model_card(result, config, base_card_data={"license": "mit"})
    text = str(card)
    text.encode()  # a file can hold it
    assert check_card(text) == [] and "evil" not in text.split("---")[1]
    # As many lines as with plain names: no row, heading, fence or paragraph is added.
    plain = create_model_card(
        dataclasses.replace(
            result, data={"calibration": {"description": "x", "fingerprint": "x"}, "x": {"description": "x"}},
            criterion="x", fitness="x", domains={"x": domain, "other": domain}, model_type="x", base_model=None,
            not_compared_because="x", versions={"x": "x"}, criterion_scores={"x": 0.5, "reap": 0.4},
        ),
        CONFIG | {"calibration_dataset": "x", "search_dataset": "x", "columns": {"x": "x"}, "allocation": "x"},
        base_card_data={"license": "mit"},
    )  # fmt: skip
    assert len(text.splitlines()) == len(str(plain).splitlines())
    for line, other in zip(text.splitlines(), str(plain).splitlines()):
        assert line.startswith("|") == other.startswith("|"), line
    rendered = markdown_it_html(text) if markdown_it_html else ""
    for tag in ("<img", "<script", "<b>", 'javascript:x"', "<h1>heading", '<a href="https://evil', "<strong>bold"):
        assert tag not in rendered, tag


def test_what_is_of_the_hub_is_decided_when_it_is_loaded(tmp_path, monkeypatch):
    """Relative names that look like ids of the Hub, and one that is both a file and, elsewhere, a data set."""
    home = tmp_path / "home"
    (home / "me").mkdir(parents=True)
    monkeypatch.chdir(home)
    make_model("olmoe").save_pretrained(home / "me" / "secret-model")
    line = json.dumps({"input_ids": list(range(1, 33))}) + "\n"
    for name in ("me/secret-data", "secret, and more.jsonl"):
        Path(name).with_suffix(".jsonl").write_text(line * 12)
    Path("me/secret-data.jsonl").rename("me/secret-data.json")
    data = {"calibration_dataset": "me/secret-data.json:4", "search_dataset": "secret, and more.jsonl"}
    pruner = MoEPruner.from_pretrained("me/secret-model", EvoESAPConfig(**SMALL | data))
    pruner.calibrate()
    pruner.rank()
    pruner.search()
    monkeypatch.chdir(tmp_path)
    pruner.apply()
    assert pruner.result.base_model == str(home / "me" / "secret-model")
    pruner.save_pretrained("out")
    card = Path("out/README.md").read_text()
    write_public_files(tmp_path, PruningResult.load("out"), EvoESAPConfig.from_pretrained("out"))
    public = card + (tmp_path / "evoesap_result.json").read_text() + (tmp_path / "evoesap_config.json").read_text()
    assert "secret" not in public and str(home) not in public and "local data" in public
    assert json.loads((tmp_path / "evoesap_config.json").read_text())["calibration_dataset"] == "local data:4"


def test_domains_of_local_files_keep_apart():
    domain = {"best": 0.9, "uniform": 0.8, "interval": None}
    names = {"a secret.jsonl": "local data (1)", "b secret.jsonl": "local data (2)", CODE: CODE}
    public = {"description": "local data (4) + local data (4)", "dataset": f"local data:4,{CODE}:4", "domains": names}
    data = {"search": {"description": "a secret.jsonl", "public": public}}
    result = dataclasses.replace(SEARCHED, domains=dict.fromkeys(names, domain), data=data)
    shown = public_result(result)
    assert list(shown.domains) == list(names.values())
    assert shown.data == {"search": {"description": public["description"]}}
    assert create_model_card(result, CONFIG).data.datasets == [CODE]
    assert "secret" not in str(create_model_card(result, CONFIG))
