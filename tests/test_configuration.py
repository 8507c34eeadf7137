# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`EvoESAPConfig`]: defaults of the paper, validation, round trips."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import pytest

from optimum_evoesap import EvoESAPConfig, __version__


def test_the_defaults_are_the_papers_data_and_sizes_with_the_measured_order_and_the_guided_search():
    config = EvoESAPConfig()
    expected = {
        "sparsity": 0.25,
        "criterion": "esap",
        "allocation": "guided",
        "fitness": "esap",
        "calibration_dataset": "theblackcat102/evol-codealpaca-v1",
        "calibration_samples": 1024,
        "search_dataset": "allenai/tulu-3-sft-personas-math",
        "search_samples": 64,
        "sequence_length": 4096,
        "population_size": 32,
        "num_elites": 4,
        "generations": 50,
        "max_delta": 4,
        "max_mutations": 3,
        "min_experts": None,
        "seed": 42,
    }
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sparsity": 0.5, "criterion": "ean", "fitness": "kl", "columns": {"text": "body"}, "packing": False},
        {"allocation": [1, 0, 3], "seed": 0, "batch_size": 1},
        {"allocation": {2: 4, 11: 1}, "min_experts": 4},
        {"target_size": "24GB", "keep": {3: [5, 1], 0: [2]}, "uniform_counts": True},
        {"target_size": 10**9},
    ],
)
def test_round_trip(options, tmp_path):
    config = EvoESAPConfig(**options)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "evoesap_config.json").read_text())
    assert written["optimum_evoesap_version"] == __version__ and written["optimum_version"]
    assert written["generations"] == 50, "defaults are written too: a later release may change them"
    loaded = EvoESAPConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert EvoESAPConfig(**json.loads(config.to_json_string())).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    "options,name",
    [
        ({"sparsity": 0}, "sparsity"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"sparsity": "half"}, "sparsity"),
        ({"sparsity": None}, "sparsity"),
        ({"criterion": "magic"}, "criterion"),
        ({"fitness": "magic"}, "fitness"),
        ({"allocation": "random"}, "allocation"),
        ({"allocation": []}, "allocation"),
        ({"allocation": [0, 0]}, "allocation"),
        ({"allocation": [1, -1]}, "allocation"),
        ({"allocation": [1.5]}, "allocation"),
        ({"num_elites": 32}, "num_elites"),
        ({"population_size": 0}, "population_size"),
        ({"generations": -1}, "generations"),
        ({"sequence_length": 1}, "sequence_length"),
        ({"calibration_samples": True}, "calibration_samples"),
        ({"holdout_fraction": 1.5}, "holdout_fraction"),
        ({"min_experts": 0}, "min_experts"),
        ({"scored_tokens": "some"}, "scored_tokens"),
        ({"search_dataset": ""}, "search_dataset"),
        ({"search_dataset": " "}, "search_dataset"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"generations": 0}, "generations"),
        ({"allocation": None}, "allocation"),
        ({"allocation": 5}, "allocation"),
        ({"allocation": {"first": 1}}, "allocation"),
        ({"min_experts": True}, "min_experts"),
        ({"packing": "no"}, "packing"),
        ({"columns": "text"}, "columns"),
        ({"data_config": 3}, "data_config"),
        ({"sparsity": 0.5, "allocation": [1, 2]}, "sparsity"),
        ({"sparsity": 0.5, "target_size": "1GB"}, "sparsity"),
        ({"target_size": "1GB", "allocation": [1, 2]}, "target_size"),
        ({"target_size": "one"}, "target_size"),
        ({"target_size": 0}, "target_size"),
        ({"target_size": 1.5}, "target_size"),
        ({"keep": {}}, "keep"),
        ({"keep": [1, 2]}, "keep"),
        ({"keep": {"first": [1]}}, "keep"),
        ({"keep": {0: 1}}, "keep"),
        ({"keep": {0: [-1]}}, "keep"),
        ({"uniform_counts": 1}, "uniform_counts"),
    ],
)
def test_wrong_values_name_field_and_value(options, name):
    with pytest.raises(ValueError, match=name) as error:
        EvoESAPConfig(**options)
    assert repr(options[name]) in str(error.value)


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="did you mean 'sparsity'"):
        EvoESAPConfig(sparsty=0.5)


def test_explicit_allocation_sets_the_sparsity_aside():
    assert EvoESAPConfig(allocation=[1, 2]).sparsity is None


def test_nothing_inside_a_configuration_can_be_changed_from_outside():
    columns, allocation = {"text": "body"}, [1, 2]
    config = EvoESAPConfig(columns=columns, allocation=allocation)
    columns["text"] = "title"
    allocation[0] = 5
    config.to_dict()["columns"]["text"] = "title"
    assert config.columns == {"text": "body"} and config.allocation == [1, 2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del config.columns
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        with pytest.raises(dataclasses.FrozenInstanceError):
            twin.seed = 1


def test_replacing_counts_and_sparsities():
    assert EvoESAPConfig(sparsity=0.5).replace(allocation=[1, 2]).sparsity is None
    with pytest.raises(ValueError, match=r"replace\(allocation='uniform', sparsity=0.5\)"):
        EvoESAPConfig(allocation=[1, 2]).replace(allocation="uniform")
    assert EvoESAPConfig(allocation=[1, 2]).replace(allocation="uniform", sparsity=0.25).sparsity == 0.25
    assert EvoESAPConfig(allocation=[1, 2]).replace(seed=3).allocation == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"self": 1}', "has no field 'self'"),
        ('{"sparsity": "half"}', "sparsity='half' is not valid"),
        ('{"preset": ["paper"]}', "no preset"),
        ('{"columns": {"text": 5}}', "columns="),
        ('{"racing": 1}', "racing=1 is not valid"),
        ('{"seed": 1, "seed": 2}', "it names 'seed' twice"),
        ('{"configuration_files": ["evoesap_config.x.json"]}', "has no field 'configuration_files'"),
        ("[]", "not a configuration of optimum-evoesap"),
        ("[" * 900 + "]" * 900, "nested more than"),
        ("not json", "it is no JSON"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_field(content, message, tmp_path):
    (tmp_path / "evoesap_config.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        EvoESAPConfig.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_fields_given_beside_a_file_go_before_its_own(tmp_path):
    (tmp_path / "evoesap_config.json").write_text('{"criterion": "registered elsewhere", "seed": 5}')
    config = EvoESAPConfig.from_pretrained(tmp_path, criterion="ean")
    assert (config.criterion, config.seed) == ("ean", 5)


def test_endless_minutes_come_back(tmp_path):
    EvoESAPConfig(max_minutes=float("inf")).save_pretrained(tmp_path)
    assert EvoESAPConfig.from_pretrained(tmp_path).max_minutes == float("inf")
