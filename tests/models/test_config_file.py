# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A config.json from which no model can be built is refused by its field, before anything is built."""

from __future__ import annotations

import json
import time

import pytest

from optimum_evoesap import inspect_model
from optimum_evoesap.models.config_file import check_config_values
from tests.model_matrix import MODEL_TYPES, make_config


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_configs_of_all_architectures_pass(model_type):
    check_config_values(json.loads(make_config(model_type).to_json_string(use_diff=False)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_experts": -1}, "num_experts is -1"),
        ({"num_experts": 10**9}, "num_experts is 1000000000"),
        ({"num_experts": "8"}, "num_experts is '8'"),
        ({"num_experts": 8.0}, "num_experts is 8.0"),
        ({"num_experts": 0}, "makes no model|no routed experts"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"num_hidden_layers": 4096, "num_experts": 65536}, "4096 layers of 65536 experts"),
        ({"per_layer_config": 2}, "per_layer_config is 2"),
        ({"per_layer_config": {"0": 2}}, r"per_layer_config\[0\] is 2"),
        ({"per_layer_config": {"x": {}}}, "per_layer_config has the key 'x'"),
        ({"per_layer_config": {"0": {"num_experts": -3}}}, r"per_layer_config\[0\].num_experts is -3"),
        ({"self": 1}, "self is no field of a config"),
        ({"to_dict": 1}, "to_dict is no field of a config"),
        ({"__class__": "x"}, "__class__ is no field of a config"),
        ({"dtype": "nn"}, "dtype is 'nn', which is no number format"),
        ({"architectures": "OlmoeForCausalLM"}, "architectures is 'OlmoeForCausalLM'"),
        ({"auto_map": ["x"]}, r"auto_map is \['x'\]"),
        ({"text_config": {"num_experts": -1}}, "text_config.num_experts is -1"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"num_attention_heads": "many"}, "num_attention_heads"),
        ({"num_attention_heads": 0}, "ZeroDivisionError|num_attention_heads|cannot be"),
        ({"model_type": "nobody_knows"}, "nobody_knows"),
        ({"hidden_act": "x"}, "x"),
    ],
)
def test_the_field_is_named(changes, message, tmp_path):
    values = json.loads(make_config("olmoe").to_json_string(use_diff=False))
    (tmp_path / "config.json").write_text(json.dumps(values | changes))
    began = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        inspect_model(tmp_path)
    assert str(tmp_path) in str(caught.value) or "OlmoeForCausalLM" in str(caught.value)
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"[]", "is not the config of a model"),
        (b'{"x":' * 900 + b"1" + b"}" * 900, "nested more than"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b'{"num_experts": 8, "num_experts": 16}', "names 'num_experts' twice"),
    ],
)
def test_what_is_no_config(content, message, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        inspect_model(tmp_path)


def test_code_is_not_run_and_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked"))
    values = json.loads(make_config("olmoe").to_json_string(use_diff=False))
    values |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "own.py").write_text("raise SystemExit('it ran')")
    began = time.perf_counter()
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        inspect_model(tmp_path)
    assert time.perf_counter() - began < 10
