# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Short reprs: what they tell at each stage, that they stay short, that they never fail, and that HTML is escaped."""

from __future__ import annotations

import dataclasses
import traceback
from html.parser import HTMLParser

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics
from tests.model_matrix import make_model, random_tokens
from tests.reports.results import SEARCHED


SMALL = {
    "sparsity": 0.5,
    "generations": 2,
    "population_size": 4,
    "num_elites": 1,
    "sequence_length": 16,
    "calibration_samples": 6,
    "search_samples": 4,
    "batch_size": 2,
}


def rows(seed=0):
    return [{"input_ids": tokens} for tokens in random_tokens(12, 16, seed)]


def make_pruner(**options):
    return MoEPruner(make_model("olmoe"), EvoESAPConfig(**SMALL | options))


class Cells(HTMLParser):
    """Reads a table; fails at any tag that has no business in one."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in ("table", "caption", "tr", "th", "td") and not attributes
        self.open.append(tag)
        if tag in ("th", "td"):
            self.found.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.found[-1] += data


def facts(shown):
    """Name to value in the HTML, which are in the text too; checks what holds of every repr."""
    text, cells = repr(shown), Cells(shown._repr_html_()).found
    assert type(shown).__name__ in text and type(shown).__name__ in shown._repr_html_()
    assert len(text) <= 300 and text.count("\n") <= 3
    found = dict(zip(cells[::2], cells[1::2]))
    assert all(f"{name}: {value}" in text for name, value in found.items())
    return found


def test_a_pruner_tells_its_stage():
    pruner = make_pruner()
    sizes = {"model": "OlmoeForCausalLM", "sparse layers": "3 x 8 experts", "budget": "12 of 24 experts (50.0%)"}
    assert facts(pruner) == sizes | {"stage": "not calibrated yet"}
    stages = {
        "calibrated": lambda: pruner.calibrate(rows()),
        "ranked": pruner.rank,
        "searched": lambda: pruner.search(rows(seed=1)),
        "pruned": pruner.apply,
    }
    for stage, run in stages.items():
        run()
        assert facts(pruner) == sizes | {"stage": stage}
    assert facts(pruner.statistics)["tokens"] == "96"
    told = facts(pruner.result)
    assert told["base model"] == "made in memory" and told["criterion"] == "esap"
    assert told["removed"] == "12 of 24 experts (50.0%)"
    assert told["esap on search data"].startswith(f"{pruner.scores['best']:.4f} (")
    assert "beat" in told["verdict"]


def test_a_stage_that_runs_again_takes_later_ones_back():
    pruner = make_pruner(allocation="uniform")
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search()
    assert facts(pruner)["stage"] == "searched"
    pruner.rank()
    assert facts(pruner)["stage"] == "ranked"
    pruner.apply([6, 0, 1])
    assert facts(pruner)["budget"] == "7 of 24 experts (29.2%)", "the allocation that was applied, not the config's"
    assert facts(pruner.result)["scores"] == "none"


def test_a_pruner_whose_apply_failed_says_so(monkeypatch):
    pruner = make_pruner(allocation="uniform")
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search()
    monkeypatch.setattr(pruner.sparse_model, "remove", lambda kept: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pruner.apply()
    assert facts(pruner)["stage"] == "half pruned: apply did not finish"


def test_layers_of_different_size():
    pruner = make_pruner(allocation="uniform")
    pruner.prune(None, rows())
    pruner.sparse_model.remove({0: [0, 1]})
    again = MoEPruner(pruner.sparse_model, EvoESAPConfig(sparsity=0.25, allocation="uniform"))
    assert facts(again)["sparse layers"] == "3 x 2 to 4 experts"


def test_statistics_tell_how_many_experts_were_never_used():
    layers = {index: LayerStatistics.zeros(8) for index in (1, 3)}
    layers[1].routed_tokens[:4] = 5
    assert facts(ExpertStatistics(layers, 123456)) == {
        "sparse layers": "2",
        "experts": "16",
        "tokens": "123,456",
        "experts never used": "12 (75.0%)",
    }
    assert facts(ExpertStatistics({}, 0))["experts never used"] == "0"


@pytest.mark.parametrize(
    "changes, verdict",
    [
        ({}, "beats the uniform allocation"),
        ({"beats_uniform": False}, "does not beat the uniform allocation"),
        ({"is_guarded": True, "beats_uniform": False}, "uniform, as nothing found beats it"),
        ({"beats_uniform": None}, "not compared"),
        ({"beats_uniform": None, "not_compared_because": "holdout_fraction=0"}, "not compared, holdout_fraction=0"),
        ({"scores": {}}, None),
    ],
)
def test_the_verdict_of_a_result(changes, verdict):
    assert facts(dataclasses.replace(SEARCHED, **changes)).get("verdict") == verdict


def test_html_is_escaped():
    name = '<script src="x">alert(1)</script> & more'
    result = dataclasses.replace(SEARCHED, base_model=name, criterion="<b>", fitness="<i>")
    told = facts(result)
    assert told["base model"] == name and told["criterion"] == "<b>" and "<i> on search data" in told
    assert "<script" not in result._repr_html_()
    assert "<script" not in EvoESAPConfig(search_dataset="<script>")._repr_html_()


def test_long_names_are_cut_in_the_text_alone():
    path = f"/{'long/' * 200}end\nof it"
    result = dataclasses.replace(SEARCHED, base_model=path, not_compared_because="x " * 500, beats_uniform=None)
    assert len(repr(result)) <= 350 and "end of it" in repr(result)
    assert repr(result).count("\n") <= 3
    assert path in result._repr_html_()


@pytest.mark.parametrize(
    "options, code",
    [
        ({}, ""),
        ({"criterion": "ean", "sparsity": 0.5}, "sparsity=0.5, criterion='ean'"),
        ({"sparsity": 0.25, "packing": True}, ""),
        ({"packing": False, "columns": {"text": "it's"}}, """packing=False, columns={'text': "it's"}"""),
        ({"calibration_dataset": None}, "calibration_dataset=None"),
        ({"allocation": [1, 0, 2]}, "sparsity=None, allocation=[1, 0, 2]"),
        ({"allocation": {"3": 2}}, "sparsity=None, allocation={3: 2}"),
    ],
)
def test_a_configuration_shows_the_code_that_makes_it(options, code):
    config = EvoESAPConfig(**options)
    assert repr(config) == str(config) == f"EvoESAPConfig({code})"
    made = eval(repr(config))
    assert made == config and made.to_dict() == config.to_dict()
    assert made != config.replace(seed=7)
    cells = Cells(config._repr_html_()).found
    assert cells == ["all fields", "default"] if not code else cells[1::2]
    assert all(f"{name}={value}" in code for name, value in zip(cells[::2], cells[1::2]) if code)


def test_a_configuration_that_was_saved_shows_the_same(tmp_path):
    config = EvoESAPConfig(**SMALL, columns={"text": "body"})
    config.save_pretrained(tmp_path)
    assert repr(EvoESAPConfig.from_pretrained(tmp_path)) == repr(config)
    assert len(repr(config)) <= 300


@pytest.mark.parametrize("kind", [MoEPruner, EvoESAPConfig, PruningResult, ExpertStatistics])
def test_an_object_without_anything_has_a_repr(kind):
    empty = kind.__new__(kind)
    assert kind.__name__ in repr(empty)
    Cells(empty._repr_html_())


def test_objects_whose_making_failed_have_a_repr():
    for wrong in ({"sparsity": 5}, {"allocation": [0]}, {"columns": object()}):
        with pytest.raises(ValueError) as error:
            EvoESAPConfig(**wrong)
        shown = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
        assert "self = EvoESAPConfig(" in shown and "repr() failed" not in shown
    with pytest.raises(ValueError) as error:
        make_pruner(sparsity=0.99)
    shown = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
    assert "self = <MoEPruner state: incomplete>" in shown


@pytest.mark.parametrize(
    "changes",
    [{"num_experts": None}, {"sparsity": "a lot"}, {"scores": {"best": None}}, {"scores": None}, {"base_model": 5}],
)
def test_wrong_values_are_no_obstacle(changes):
    result = dataclasses.replace(SEARCHED, **changes)
    assert "PruningResult" in repr(result)
    Cells(result._repr_html_())


def test_statistics_without_data_have_a_repr():
    nowhere = ExpertStatistics({0: LayerStatistics.zeros(8, torch.device("meta"))}, 5)
    assert repr(nowhere) == "<ExpertStatistics state: incomplete>"
