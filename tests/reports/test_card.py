# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model card: metadata that the Hub takes, those of the base model, and its title."""

from __future__ import annotations

import dataclasses
import json
import socketserver
import threading

from huggingface_hub import ModelCard

from optimum_evoesap.reports.card import base_card_metadata, create_model_card
from tests.checkpoint.test_push import run
from tests.hub_server import check_card
from tests.reports.results import BASE, CODE, CONFIG, MATH, SEARCHED, UNIFORM, section


def test_metadata_is_what_the_hub_accepts():
    base = {
        "license": "other",
        "license_name": "some-license",
        "license_link": "https://example.com/license",
        "language": ["en", "no"],
        "datasets": ["allenai/OLMoE-mix-0924", CODE],
        "pipeline_tag": "image-text-to-text",
    }
    card = create_model_card(SEARCHED, CONFIG, base_card_data=base)
    assert check_card(str(card)) == []
    data = ModelCard(str(card)).data.to_dict()
    assert data == base | {
        "base_model": BASE,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "tags": ["evoesap", "optimum-evoesap", "mixture-of-experts", "pruning", "compressed"],
        "datasets": ["allenai/OLMoE-mix-0924", CODE, MATH],
    }


def test_metadata_without_a_card_of_the_base_model():
    data = create_model_card(UNIFORM, CONFIG).data.to_dict()
    assert data["pipeline_tag"] == "text-generation"
    assert data["datasets"] == [CODE]  # nothing was searched, so the search data of the config were not read
    assert not data.keys() & {"license", "language", "license_name", "license_link"}


def test_datasets_that_the_run_did_not_read_are_not_listed():
    data = {"calibration": {"description": "a list of 32 texts"}, "search": {"description": "a list of 8 texts"}}
    card = create_model_card(dataclasses.replace(SEARCHED, data=data), CONFIG)
    assert card.data.datasets is None
    assert "calibration_data=..., search_data=..." in section(card, "Reproducing it")
    assert "_data=..." not in section(create_model_card(SEARCHED, CONFIG), "Reproducing it")


def test_title():
    assert (
        create_model_card(SEARCHED, CONFIG, "OLMoE, a quarter less")
        .text.lstrip()
        .startswith("# OLMoE, a quarter less\n")
    )
    assert create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25").text.lstrip().startswith("# me/olmoe-25\n")
    default = create_model_card(SEARCHED, CONFIG).text.lstrip()
    assert default.startswith("# OLMoE-1B-7B-0125-Instruct, 25% of the experts removed\n")


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
from optimum_evoesap.reports.card import base_card_metadata

print(json.dumps([base_card_metadata(name, token=token) for name, token in json.loads(sys.argv[1])]))
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
