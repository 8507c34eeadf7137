# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Presets: the paper's values under one name."""

from __future__ import annotations

import inspect
import json
import random
import subprocess
import sys

import pytest

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.commands.arguments import add_config_options
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.find import make_strategy
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.strategies import Evolution
from tests.search.searches import Scorer, boards_of


PAPER = {
    "criterion": "reap",
    "allocation": "evolution",
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
    "racing": False,
    "guard": False,
}


def values_of(config):
    return {name: getattr(config, name) for name in PAPER}


def test_the_preset_is_the_paper():
    assert values_of(EvoESAPConfig(preset="paper")) == PAPER


def test_what_is_given_goes_before_the_preset():
    config = EvoESAPConfig(preset="paper", generations=10, guard=True, sparsity=0.5)
    assert values_of(config) == PAPER | {"generations": 10, "guard": True} and config.sparsity == 0.5
    assert EvoESAPConfig(preset="paper", allocation=[1, 2]).allocation == [1, 2]
    assert EvoESAPConfig(preset=None).to_dict() == EvoESAPConfig().to_dict()


def test_the_values_are_kept_and_not_the_name(tmp_path):
    config = EvoESAPConfig(preset="paper", generations=10)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "evoesap_config.json").read_text())
    assert "preset" not in written and {name: written[name] for name in PAPER} == PAPER | {"generations": 10}
    assert EvoESAPConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    assert not hasattr(config, "preset") and "preset" in inspect.signature(EvoESAPConfig).parameters
    assert values_of(EvoESAPConfig.from_pretrained(tmp_path, preset="paper")) == PAPER | {"generations": 10}
    assert values_of(EvoESAPConfig.from_dict({"preset": "paper", "seed": 3})) == PAPER


def test_another_configuration_takes_the_preset():
    config = EvoESAPConfig(generations=3, criterion="ean", sparsity=0.5)
    assert values_of(config.replace(preset="paper")) == PAPER
    assert values_of(config.replace(preset="paper", criterion="ean")) == PAPER | {"criterion": "ean"}
    assert config.replace(preset="paper").sparsity == 0.5


@pytest.mark.parametrize("make", [EvoESAPConfig, EvoESAPConfig().replace])
def test_an_unknown_preset_is_refused_with_the_names(make):
    with pytest.raises(ValueError, match=r"There is no preset 'papers'; did you mean 'paper'\? Choose one of paper"):
        make(preset="papers")
    with pytest.raises(ValueError, match="did you mean 'preset'"):
        EvoESAPConfig(prest="paper")


def test_evolution_with_the_preset_tries_what_it_always_tried():
    """The sizes of the paper's search, spelled out, without any of what was added since."""
    space = AllocationSpace.from_sparsity(0.25, [64] * 16, [8] * 16)
    order = {layer: list(range(64)) for layer in space.layers}
    sizes = {"population_size": 32, "num_elites": 4, "generations": 50, "max_delta": 4, "max_mutations": 3}
    strategies = [
        make_strategy(order, space, EvoESAPConfig(preset="paper")),
        Evolution(space, order, EvoESAPOptions(**sizes)),
    ]
    tried = []
    for strategy in strategies:
        scorer = Scorer(space, lambda allocation: random.Random(str(allocation)).random())
        end = run_search(strategy, boards_of(scorer), progress=False)
        tried.append((type(strategy), list(scorer.scores), end.best))
    assert tried[0] == tried[1] and len(tried[0][1]) == 32 + 49 * 28


def test_the_command_line_knows_presets():
    import argparse

    from optimum_evoesap.commands.prune import make_config

    parser = argparse.ArgumentParser()
    add_config_options(parser.add_argument_group("pruning"))
    config = make_config(parser.parse_args(["--preset", "paper", "--generations", "20"]))
    assert values_of(config) == PAPER | {"generations": 20}
    with pytest.raises(SystemExit):
        parser.parse_args(["--preset", "papers"])
    help_text = " ".join(parser.format_help().split())
    assert "--preset {paper}" in help_text and "for ERNIE it took --generations 20, for Qwen3-30B 10" in help_text
    assert "[--no-]racing" in help_text or "--no-racing" in help_text


def test_presets_need_no_torch():
    program = "import sys; import optimum_evoesap.presets\nassert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
