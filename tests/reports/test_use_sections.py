# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card that tell how to use the model."""

from __future__ import annotations

import ast
import dataclasses
import json

from optimum_evoesap.reports.card import create_model_card
from tests.reports.results import BASE, CONFIG, SEARCHED, UNIFORM, code_blocks, section


def test_loading_asks_for_the_package_only_where_it_is_needed():
    plain = section(create_model_card(UNIFORM, CONFIG, repo_id="me/olmoe-25"), "Loading")
    assert 'AutoModelForCausalLM.from_pretrained("me/olmoe-25"' in plain
    assert "optimum_evoesap" not in plain and "pip install" not in plain

    layered = section(create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25"), "Loading")
    assert "pip install optimum-evoesap" in layered
    assert layered.index("import optimum_evoesap\n") < layered.index("from transformers import")
    assert "EvoESAPModelForCausalLM" in layered

    # The number of experts that stay decides: a model that had different numbers may end with equal ones.
    levelled = dataclasses.replace(SEARCHED, num_experts=[8, 6, 4], allocation=[4, 2, 0])
    assert "optimum_evoesap" not in section(create_model_card(levelled, CONFIG), "Loading")


def test_code_in_the_card_is_code():
    card = create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25")
    blocks = code_blocks(card, "python")
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
    (shown,) = code_blocks(card, "json")
    assert json.loads(shown) == CONFIG
    assert f'MoEPruner.from_pretrained("{BASE}"' in blocks[1]
    assert 'EvoESAPConfig.from_pretrained("me/olmoe-25")' in blocks[1]
