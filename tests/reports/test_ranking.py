# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run measured, kept beside its result: another budget without calibration, and no other base."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.reports.ranking import RANKING_NAME, Ranking
from tests.model_matrix import make_model
from tests.pruning import SMALL, make_pruner, rows


@pytest.fixture(scope="module", params=["olmoe", "deepseek_v3"])
def run(request, tmp_path_factory):
    """A run and its folder."""
    folder = tmp_path_factory.mktemp("run")
    pruner = make_pruner(request.param, criterion="ean")
    pruner.prune(folder, rows(), rows(seed=1))
    return request.param, pruner, folder


def test_every_bit_comes_back(run):
    _, pruner, folder = run
    ranking = Ranking.from_pretrained(folder)
    assert ranking.order == pruner.order and ranking.criterion == "ean"
    assert ranking.base_weights == pruner.result.base_weights
    assert ranking.data == pruner.result.data["calibration"]
    for layer, statistics in pruner.statistics.layers.items():
        for each in dataclasses.fields(statistics):
            mine, theirs = (getattr(sums, each.name) for sums in (ranking.statistics.layers[layer], statistics))
            assert mine.dtype == theirs.dtype and torch.equal(mine, theirs)
        assert ranking.scores[layer][ranking.order[layer][0]] == ranking.scores[layer].min()
    assert ranking.statistics.num_tokens == pruner.statistics.num_tokens


@pytest.mark.parametrize("criterion", ["ean", "reap"])
def test_another_budget_needs_no_calibration(run, criterion, tmp_path):
    model_type, _, folder = run
    options = SMALL | {"sparsity": 0.25, "criterion": criterion}
    again = MoEPruner(make_model(model_type), EvoESAPConfig(**options))
    again.calibrate = lambda *_: pytest.fail("nothing is to be calibrated")
    again.prune(tmp_path / "again", search_data=rows(seed=1), ranking=folder)
    whole = MoEPruner(make_model(model_type), EvoESAPConfig(**options))
    whole.prune(tmp_path / "whole", rows(), rows(seed=1))
    assert again.order == whole.order and again.result == whole.result
    for name in ("model.safetensors", RANKING_NAME):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # The seal alone tells by which run it was made.
    results = [json.loads((tmp_path / name / "evoesap_result.json").read_text()) for name in ("again", "whole")]
    assert results[0].pop("seal") != results[1].pop("seal") and results[0] == results[1]
    assert EvoESAPConfig.from_pretrained(tmp_path / "again").calibration_dataset is None


def test_stages(run):
    model_type, pruner, folder = run
    again = make_pruner(model_type, criterion="ean", allocation="uniform")
    assert again.load_ranking(folder / RANKING_NAME) == pruner.order == again.order
    again.search()
    again.apply()
    assert again.result.data == {"calibration": pruner.result.data["calibration"]}
    other = make_pruner(model_type, criterion="ean")
    other.load_ranking(folder)
    other.calibrate(rows(seed=7))
    assert other.order is None and not torch.equal(
        other.statistics.layers[other.sparse_layers[0]].norm_sum,
        again.statistics.layers[other.sparse_layers[0]].norm_sum,
    )


def test_another_base_is_refused(run, tmp_path):
    model_type, _, folder = run
    other_type = "qwen3_moe"
    for model, message in (
        (make_model(model_type, seed=1), rf"a local model \({model_type}.*the weights of a model made in memory"),
        (make_model(model_type).to(torch.bfloat16), "float32.*bfloat16"),
        (make_model(other_type), f"{model_type}.*{other_type}"),
    ):
        pruner = MoEPruner(model, EvoESAPConfig(**SMALL))
        with pytest.raises(ValueError, match=message):
            pruner.prune(tmp_path / "out", search_data=rows(), ranking=folder)
        assert pruner.order is None and not (tmp_path / "out").exists()


def test_what_is_no_ranking(tmp_path):
    pruner = make_pruner()
    with pytest.raises(FileNotFoundError, match=RANKING_NAME):
        pruner.load_ranking(tmp_path)
    for content in ("{", "[]", "{}", '{"layers": {"0": {"statistics": {}}}, "num_tokens": 3}'):
        (tmp_path / RANKING_NAME).write_text(content)
        with pytest.raises(ValueError, match="calibrate once more"):
            pruner.load_ranking(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["layers"].popitem(), "cannot|not the same|hold 0 experts"),
        (lambda values: values["layers"]["0"].pop("order"), r"layers\.?\[0\] has no field `order`"),
        (lambda values: values["layers"]["0"]["order"].reverse(), None),
        (lambda values: values["layers"]["0"]["order"].append(0), r"layers\[0\].order is .* once"),
        (lambda values: values["layers"]["0"]["scores"].pop(), r"layers\[0\].scores has \d+ numbers"),
        (
            lambda values: values["layers"]["0"]["scores"].__setitem__(0, float("nan")),
            r"layers\[0\].scores\[0\] is nan",
        ),
        (lambda values: values["layers"]["0"]["statistics"].pop("norm_max"), r"statistics has no field `norm_max`"),
        (lambda values: values["layers"]["0"]["statistics"]["norm_sum"].append(1.0), "statistics.norm_sum has"),
        (
            lambda values: values["layers"]["0"]["statistics"]["norm_sum"].__setitem__(0, -1.0),
            r"norm_sum\[0\] is -1.0",
        ),
        (
            lambda values: values["layers"]["0"]["statistics"]["routed_tokens"].__setitem__(0, 0.5),
            "routed_tokens.*0.5",
        ),
        (lambda values: values.update(num_tokens="3"), "num_tokens is '3'"),
        (lambda values: values["versions"].update(torch=2), "versions.torch is 2"),
    ],
)
def test_the_field_that_is_wrong_is_named(run, tmp_path, change, message):
    model_type, _, folder = run
    if model_type != "olmoe":
        pytest.skip("one architecture tells it")
    values = json.loads((folder / RANKING_NAME).read_text())
    change(values)
    (tmp_path / RANKING_NAME).write_text(json.dumps(values))
    pruner = make_pruner(model_type, criterion="ean")
    if message is None:
        pruner.load_ranking(tmp_path)
        return
    with pytest.raises(ValueError, match=message):
        pruner.load_ranking(tmp_path)


def test_arguments_without_effect():
    with pytest.raises(ValueError, match="calibration_data would have no effect: a ranking"):
        make_pruner().prune(None, rows(), rows(), ranking="somewhere")
    with pytest.raises(ValueError, match="search_data and ranking would have no effect: a result"):
        make_pruner().prune(None, search_data=rows(), ranking="somewhere", result="there")


def test_a_result_without_one_takes_the_old_one_away(run, tmp_path):
    model_type, _, folder = run
    make_pruner(model_type).prune(tmp_path, rows(), rows(seed=1))
    assert (tmp_path / RANKING_NAME).is_file()
    make_pruner(model_type).prune(tmp_path, result=folder)
    assert not (tmp_path / RANKING_NAME).exists()


def test_no_name_of_a_local_file_is_in_it(tmp_path):
    file = tmp_path / "tokens.jsonl"
    file.write_text("".join(json.dumps({"input_ids": row["input_ids"].tolist()}) + "\n" for row in rows()))
    model = make_model("olmoe")
    model.config.name_or_path = str(tmp_path / "base")
    MoEPruner(model, EvoESAPConfig(**SMALL | {"allocation": "uniform"})).prune(tmp_path / "out", file)
    assert "tokens.jsonl" in PruningResult.load(tmp_path / "out").data["calibration"]["description"]
    content = (tmp_path / "out" / RANKING_NAME).read_text()
    assert str(tmp_path) not in content and "tokens.jsonl" not in content and "local data" in content
