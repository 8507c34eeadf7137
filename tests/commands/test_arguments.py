# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The options of `optimum-cli evoesap prune`: values, spellings, precedence."""

from __future__ import annotations

import dataclasses

import pytest

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.commands.arguments import given_options, parse_allocation, parse_columns
from optimum_evoesap.commands.prune import make_config
from optimum_evoesap.options import EvoESAPOptions
from tests.commands.helpers import parse


def test_options_override_the_configuration_file(tmp_path):
    EvoESAPConfig(sparsity=0.5, criterion="ean", seed=7, packing=False, min_experts=3).save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "evoesap_config.json"):
        config = make_config(parse("-c", str(path), "--criterion", "seer", "--packing", "--min-experts", "none"))
        assert (config.sparsity, config.criterion, config.seed) == (0.5, "seer", 7)
        assert config.packing is True and config.min_experts is None


def test_counts_on_the_command_line_take_the_place_of_a_sparsity_in_the_file(tmp_path):
    EvoESAPConfig(sparsity=0.5).save_pretrained(tmp_path)
    config = make_config(parse("-c", str(tmp_path), "--allocation", "1,2"))
    assert config.allocation == [1, 2] and config.sparsity is None


def test_a_configuration_whose_data_were_given_in_memory_says_which_to_give(cli, tmp_path):
    EvoESAPConfig(calibration_dataset=None, search_dataset=None).save_pretrained(tmp_path)
    out = tmp_path / "out"
    code, _, error = cli("prune", "-m", "nothing/there", "-o", out, "-c", tmp_path)
    assert code == 2 and "give --calibration-dataset and --search-dataset" in error and not out.exists()
    code, _, error = cli("prune", "-m", "nothing/there", "-o", out, "-c", tmp_path, "--allocation", "uniform")
    assert code == 2 and "give --calibration-dataset." in error
    given = ["--calibration-dataset", "a/b", "--search-dataset", "c/d"]
    assert make_config(parse("-c", str(tmp_path), *given)).search_dataset == "c/d"


def test_every_field_is_an_option_under_both_spellings():
    values = {"allocation": "uniform", "columns": "text=body", "keep": '{"0": [3, 5]}', "report_to": "wandb, trackio"}
    kinds = {int: ("5", 5), float: ("0.5", 0.5), str: ("esap", "esap")}
    for field in dataclasses.fields(EvoESAPOptions):
        if field.type.startswith("bool"):
            for name in (field.name, field.name.replace("_", "-")):
                assert given_options(parse(f"--{name}")) == {field.name: True}
                assert given_options(parse(f"--no-{name}")) == {field.name: False}
            continue
        kind = next((each for each in (int, float) if field.type.startswith(each.__name__)), str)
        text, value = kinds[kind]
        text = values.get(field.name, text)
        read = {"allocation": "uniform", "columns": {"text": "body"}, "keep": {0: [3, 5]}}
        read["report_to"] = ["wandb", "trackio"]
        value = read.get(field.name, value)
        for name in (field.name, field.name.replace("_", "-")):
            assert given_options(parse(f"--{name}", text)) == {field.name: value}
    assert given_options(parse()) == {}


@pytest.mark.parametrize(
    "text, value",
    [
        ("evolution", "evolution"),
        ("3,4, 5", [3, 4, 5]),
        ("3", [3]),
        ("[3, 4]", [3, 4]),
        ('{"0": 3, "2": 4}', {0: 3, 2: 4}),
    ],
)
def test_allocation_values(text, value):
    assert parse_allocation(text) == value


@pytest.mark.parametrize("text", ["3,x", "[3.5]", '{"a": 1}', "[3", "[true]", "3;4"])
def test_wrong_allocations_are_told(text, capsys):
    with pytest.raises(SystemExit):
        parse("--allocation", text)
    assert repr(text) in capsys.readouterr().err


@pytest.mark.parametrize("text", ["3,5", "[3]", '{"a": [1]}', '{"0": 3}', '{"0": ["x"]}', "{"])
def test_wrong_protected_experts_are_told(text, capsys):
    with pytest.raises(SystemExit):
        parse("--keep", text)
    assert repr(text) in capsys.readouterr().err


def test_columns_values(capsys):
    assert parse_columns("prompt=question, response=answer") == {"prompt": "question", "response": "answer"}
    assert parse_columns('{"text": "body"}') == {"text": "body"}
    for text in ("body", "text=", '{"text": 3}'):
        with pytest.raises(SystemExit):
            parse("--columns", text)
        assert "role=column" in capsys.readouterr().err
