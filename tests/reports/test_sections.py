# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card that tell what was done: figures that the record holds, and no others."""

from __future__ import annotations

import dataclasses
import re

from optimum_evoesap.reports.card import create_model_card
from tests.reports.results import CODE, CONFIG, GUARDED, MATH, SEARCHED, UNIFORM, cells, section


def test_method_and_sizes_come_from_the_record():
    card = create_model_card(SEARCHED, CONFIG)
    method = card.text.split("## ")[0]
    assert "6 of its 24 routed experts (25.0%)" in method
    assert "`reap`" in method
    assert "maximises ESAP" in method
    assert "https://arxiv.org/abs/2603.06003" in method
    sizes = section(card, "Size")
    assert cells(sizes, "Parameters") == ["6.92B", "5.31B (-23.3%)"]
    assert cells(sizes, "Size of the weights") == ["13.84 GB", "815.54 MB (-94.1%)"]
    assert cells(sizes, "Routed experts") == ["24", "18 (-25.0%)"]
    assert cells(sizes, "Experts per sparse layer (min / mean / max)") == ["8 / 8.0 / 8", "4 / 6.0 / 8"]


def test_figures_that_the_record_lacks_are_left_out():
    card = create_model_card(dataclasses.replace(UNIFORM, parameters={}, size_in_bytes={}, data={}, versions={}), {})
    sizes = section(card, "Size")
    assert "Parameters" not in sizes and "Size of the weights" not in sizes
    assert "## Data" not in card.text and "## Versions" not in card.text


def test_kept_experts_of_each_layer():
    table = section(create_model_card(SEARCHED, CONFIG), "Experts kept in each layer")
    bars = {1: 12, 2: 18, 5: 24}
    for layer, kept in ((1, 4), (2, 6), (5, 8)):
        count, bar = cells(table, str(layer))
        assert count == f"{kept} of 8"
        assert (bar.count("█"), len(bar.strip("`"))) == (bars[layer], 24)
    unequal = dataclasses.replace(SEARCHED, num_experts=[8, 4, 8], allocation=[4, 2, 0])
    _, bar = cells(section(create_model_card(unequal, CONFIG), "Experts kept in each layer"), "2")
    assert bar.count("█") == 12, "half of its own layer"


def test_scores_and_the_verdict():
    better = section(create_model_card(SEARCHED, CONFIG), "Fitness")
    assert cells(better, "Search data") == ["0.9313", "0.9100"]
    assert cells(better, "Held-out sequences") == ["0.9301", "0.9052"]
    assert "beats the uniform allocation" in better and "does not beat" not in better
    assert "+0.0108 to +0.0390 (95%)" in better

    lost = {"beats_uniform": False, "interval": [-0.02, 0.001]}
    worse = section(create_model_card(dataclasses.replace(SEARCHED, **lost), CONFIG), "Fitness")
    assert "does not beat the uniform allocation on held-out sequences" in worse and "-0.0200 to +0.0010" in worse
    assert "allocation beats" not in worse

    of_an_earlier_release = dataclasses.replace(SEARCHED, interval=None)
    assert "never saw. There is no interval" in section(create_model_card(of_an_earlier_release, CONFIG), "Fitness")

    scores = {"best": 0.9, "uniform": 0.8}
    result = dataclasses.replace(SEARCHED, beats_uniform=None, scores=scores, fitness="kl")
    unknown = section(create_model_card(result, CONFIG), "Fitness")
    assert "Held-out sequences" not in unknown and "was not compared" in unknown
    assert "`kl`" in unknown and "ESAP" not in unknown


def test_where_the_uniform_allocation_was_taken_the_card_tells_what_was_not():
    card = create_model_card(GUARDED, CONFIG)
    fitness = section(card, "Fitness")
    assert cells(fitness, "ESAP") == ["This allocation", "Uniform allocation", "Allocation found, not taken"]
    assert cells(fitness, "Search data") == ["0.9100", "0.9100", "0.9313"]
    assert cells(fitness, "Held-out sequences") == ["0.9052", "0.9052", "0.9101"]
    assert "found does not beat the uniform allocation" in fitness and "-0.0031 to +0.0129 (95%)" in fitness
    assert "this is the uniform one" in fitness
    method = card.text.split("## ")[0]
    assert "loses the same share" in method and "chose how many" not in method


DOMAINS = {
    MATH: {"best": 0.93, "uniform": 0.9, "interval": [0.01, 0.05]},
    "private.jsonl": {"best": 0.91, "uniform": 0.92, "interval": [-0.02, 0.001]},
    "own.jsonl": {"best": 0.8, "uniform": 0.7, "interval": [0.05, 0.15]},
}


def test_the_scores_of_each_domain_and_no_local_names():
    text = section(create_model_card(dataclasses.replace(SEARCHED, domains=DOMAINS, goal="worst"), CONFIG), "Fitness")
    assert cells(text, MATH) == ["0.9300", "0.9000", "+0.0100 to +0.0500 (95%)"]
    assert cells(text, "local data 2") == ["0.9100", "0.9200", "-0.0200 to +0.0010 (95%)"]
    assert cells(text, "local data 3")[0] == "0.8000" and "jsonl" not in text
    assert "difference in the worst domain" in text
    assert "ESAP of the worst domain" in create_model_card(dataclasses.replace(SEARCHED, goal="worst"), CONFIG).text
    assert "Held-out sequences of" not in section(create_model_card(SEARCHED, CONFIG), "Fitness")


def test_nothing_about_a_search_that_did_not_happen():
    given = dataclasses.replace(SEARCHED, fitness=None, scores={}, beats_uniform=None, data=UNIFORM.data)
    for result, how in ((UNIFORM, "keeps the same number of experts"), (given, "was given by the user")):
        card = create_model_card(result, {"sparsity": 0.25})
        assert how in card.text
        assert not re.search(r"search|fitness|held-out|evolution", card.text, re.IGNORECASE)


def test_the_same_share_of_layers_of_different_size_is_called_so():
    pruned_before = dataclasses.replace(UNIFORM, num_experts=[8, 8, 4], allocation=[2, 2, 1])
    method = create_model_card(pruned_before, {"allocation": "uniform"}).text.split("## ")[0]
    assert "loses the same share" in method and "given by the user" not in method


def test_data_and_versions():
    card = create_model_card(SEARCHED, CONFIG)
    data = section(card, "Data")
    row = [f"{CODE} (train), 1024 windows of 4096 tokens", "1,024", "4,194,304", "4,100,000", "`c0ffee`"]
    assert cells(data, "calibration") == row
    assert cells(data, "search") == [f"{MATH}@abc", "64", "262,144", "", "`5eed`"]
    assert cells(section(card, "Versions"), "`torch`") == ["2.13.0"]

    pipe = dataclasses.replace(UNIFORM, data={"calibration": {"description": "one | two\nthree"}})
    assert "| one &#124; two three |" in section(create_model_card(pipe, CONFIG), "Data")
