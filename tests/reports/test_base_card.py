# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Metadata of the base model's card, in which others may have written anything."""

from __future__ import annotations

import json
import socketserver
import threading
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.reports.base_card import CARRIED_OVER, base_card_metadata
from optimum_evoesap.reports.card import create_model_card
from tests.hub_process import run
from tests.hub_server import check_card
from tests.reports.results import CONFIG, SEARCHED


def test_base_card_of_a_local_folder(tmp_path, caplog):
    assert base_card_metadata(None) == {}
    with caplog.at_level("INFO", logger="optimum_evoesap"):
        assert base_card_metadata(str(tmp_path)) == {}
    assert str(tmp_path) in caplog.text

    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\nlanguage: [en]\ntags: [x]\nlicense_link: LICENSE\nwidget: []\n---\n# Base\n")
    assert base_card_metadata(str(tmp_path)) == {"license": "mit", "language": ["en"], "license_link": "LICENSE"}
    card.write_text("# No metadata\n")
    assert base_card_metadata(str(tmp_path)) == {}
    for broken in ("---\nlicense: [mit\n---\n", "---\n- a list\n---\n"):
        card.write_text(broken)
        assert base_card_metadata(str(tmp_path)) == {}


BASE_CARDS = """
import json, sys
from optimum_evoesap.reports.base_card import base_card_metadata

print(json.dumps([base_card_metadata(*each) for each in json.loads(sys.argv[1])]))
"""


def test_base_card_of_a_model_on_the_hub(hub_server, tmp_path):
    card = (
        b"---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE.md\ndatasets: [a/b]\nlanguage: en\n---\n# Base"
    )
    hub_server.add_repository("org/base", {"README.md": card})
    hub_server.add_repository("org/gated", {"README.md": b"---\nlicense: mit\n---\n"}, private=True)
    hub_server.add_repository("org/bare")
    hub_server.add_repository("org/broken", {"README.md": b"---\nlicense: [mit\n---\n"})
    names = [
        *(("org/base", None), ("org/gated", None), ("org/gated", hub_server.token)),
        *(("org/bare", None), ("org/broken", None), ("org/missing", None), ("not/a/name", None)),
    ]
    found = run(hub_server, tmp_path / "home", BASE_CARDS, json.dumps(names), token=None)
    full = {"license": "other", "license_name": "own", "datasets": ["a/b"], "language": "en"}
    full["license_link"] = "https://huggingface.co/org/base/blob/main/LICENSE.md"
    assert found == [full, {}, {"license": "mit"}, {}, {}, {}, {}]


def test_base_card_without_a_connection(hub_server, tmp_path):
    # The client tries a broken connection several times; nobody needs to wait for that here.
    code = f"import time; time.sleep = lambda seconds: None\n{BASE_CARDS}"
    names = json.dumps([("org/base", None)])
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as hangs_up:
        threading.Thread(target=hangs_up.serve_forever, daemon=True).start()
        cut = {"HF_ENDPOINT": f"http://127.0.0.1:{hangs_up.server_address[1]}"}
        assert run(hub_server, tmp_path / "dropped", code, names, **cut) == [{}]
        hangs_up.shutdown()
    assert run(hub_server, tmp_path / "refused", code, names, **cut) == [{}]
    assert run(hub_server, tmp_path / "offline", code, names, HF_HUB_OFFLINE="1") == [{}]


def test_base_card_of_the_revision_that_was_loaded(hub_server, tmp_path):
    old = hub_server.add_repository("org/base", {"README.md": b"---\nlicense: mit\nlicense_link: LICENSE\n---\n"})
    loaded = old.commit("main").oid
    old.add_commit("main", "another license", {"README.md": b"---\nlicense: other\n---\n"})
    asked = json.dumps([("org/base", None, loaded), ("org/base", None), ("org/base", None, "no-such-branch")])
    found = run(hub_server, tmp_path / "home", BASE_CARDS, asked, token=None)
    link = f"https://huggingface.co/org/base/blob/{loaded}/LICENSE"
    assert found == [{"license": "mit", "license_link": link}, {"license": "other"}, {}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*CARRIED_OVER, "tags", "base_model", "model-index", "eval_results"]), VALUES))
def test_whatever_stands_in_it_a_card_comes_of_it(base, metadata):
    (base / "README.md").write_text(f"---\n{yaml.safe_dump(metadata)}---\n# Base\n")
    carried = base_card_metadata(str(base))
    assert carried.keys() <= set(CARRIED_OVER)
    card = create_model_card(SEARCHED, CONFIG, base_card_data=carried)
    assert ModelCard(str(card)).data.to_dict()["tags"] == card.data.tags
    assert not [each for each in check_card(str(card)) if "license_name" not in each and "datasets" not in each]


@pytest.mark.parametrize(
    "text",
    [
        "datasets: 5",
        "tags: 5",
        "license: {a: b}",
        "language: no",
        "model-index: 3",
        "license: mit\nlicense: apache",
        "a: &a [3, *a]\ndatasets: *a",
        "datasets: " + 1000 * "[" + 1000 * "]",
        'license: !!python/object/apply:os.system ["touch ran"]',
        "a: &a [x, x, x, x]\n"
        + "".join(f"b{i}: &b{i} [{', '.join(8 * [f'*b{i - 1}' if i else '*a'])}]\n" for i in range(9))
        + "datasets: *b8",
        "license: mit\x00",
    ],
)
def test_metadata_that_ended_runs(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(f"---\n{text}\n---\n# Base\n")
    found = base_card_metadata(str(tmp_path))
    assert found in ({}, {"language": "no"}, {"license": "apache"}), found
    assert check_card(str(create_model_card(SEARCHED, CONFIG, base_card_data=found))) == []
    assert [path.name for path in Path().iterdir()] == ["README.md"]


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n")
    assert base_card_metadata(str(tmp_path)) == {}
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert base_card_metadata(str(tmp_path)) == {}
