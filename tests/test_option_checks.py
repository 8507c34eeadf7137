# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What can be said of an option without torch: the names that are known from the start are those that there are."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from optimum_evoesap import EvoESAPConfig, register_criterion, registry
from optimum_evoesap.calibration.criteria import CRITERIA, MEASURED_CRITERIA
from optimum_evoesap.data.layouts import LAYOUTS
from optimum_evoesap.data.options import SCORED_TOKENS
from optimum_evoesap.fitness import FITNESSES
from optimum_evoesap.option_checks import check_option
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.strategies import STRATEGIES


def of_the_package(table):
    return {name for name, function in table.items() if function.__module__.startswith("optimum_evoesap.")}


def test_the_names_from_the_start_are_those_that_there_are():
    assert set(registry.BUILT_IN_CRITERIA) == of_the_package(CRITERIA | MEASURED_CRITERIA)
    assert set(registry.BUILT_IN_FITNESSES) == of_the_package(FITNESSES)
    assert set(registry.BUILT_IN_STRATEGIES) == of_the_package(STRATEGIES)
    own = [layout for layout in LAYOUTS if layout.read.__module__.startswith("optimum_evoesap.")]
    assert set(registry.BUILT_IN_ROLES) == {role for layout in own for role in layout.roles}


@pytest.mark.parametrize("field", dataclasses.fields(EvoESAPOptions), ids=lambda field: field.name)
def test_every_default_is_right(field):
    check_option(field.name, field.default)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("criterion", "reep", "reap"),
        ("criterion", "autos", "auto"),
        ("fitness", "reverse-kl", "reverse_kl"),
        ("allocation", "guide", "guided"),
        ("allocation", "unifrom", "uniform"),
        ("goal", "worse", "worst"),
        ("scored_tokens", "answer", "answers"),
    ],
)
def test_near_names_are_asked_for(name, value, meant):
    for check in (lambda: check_option(name, value), lambda: EvoESAPConfig(**{name: value})):
        with pytest.raises(ValueError, match=f"{name}='{value}' is not valid: did you mean '{meant}'"):
            check()


def test_all_scored_tokens_can_be_chosen():
    for value in SCORED_TOKENS:
        check_option("scored_tokens", value)


def test_registered_names_are_known():
    register_criterion("test_known")(lambda statistics: statistics.routed_tokens)
    try:
        check_option("criterion", "test_known")
    finally:
        CRITERIA.pop("test_known")
    with pytest.raises(ValueError, match="test_known"):
        check_option("criterion", "test_known")


def test_checks_load_no_torch():
    program = (
        "import sys; from optimum_evoesap.option_checks import check_option\n"
        "check_option('criterion', 'reap'); check_option('target_size', '1GB')\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
