# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model card: metadata that the Hub takes, those of the base model, and its title."""

from __future__ import annotations

import dataclasses

from huggingface_hub import ModelCard

from optimum_evoesap.reports.card import create_model_card
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
