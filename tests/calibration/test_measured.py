# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Measured criteria by name."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, register_criterion, register_measured_criterion
from optimum_evoesap.calibration.criterion_names import CRITERIA, MEASURED_CRITERIA, is_measured


def no_scores(measurement, layers):
    yield from ((layer, torch.zeros(4, dtype=torch.float64)) for layer in layers)


def test_the_configuration_takes_both_kinds():
    assert EvoESAPConfig(criterion="reconstruction").criterion == "reconstruction"
    assert is_measured("reconstruction") and not is_measured("reap")
    with pytest.raises(
        ValueError, match=r"no criterion 'reep': did you mean 'reap'\? Choose one of frequency, .*reconstruction"
    ):
        is_measured("reep")
    with pytest.raises(ValueError, match=r"criterion='reep' is not valid.*reap.*reconstruction.*@register_criterion"):
        EvoESAPConfig(criterion="reep")


def test_own_measured_criterion():
    try:
        assert register_measured_criterion("test_own")(no_scores) is no_scores
        register_measured_criterion("test_own")(no_scores)  # as a notebook cell that runs twice
        assert is_measured("test_own") and EvoESAPConfig(criterion="test_own").criterion == "test_own"
    finally:
        MEASURED_CRITERIA.pop("test_own")


def test_a_name_is_one_criterion():
    with pytest.raises(ValueError, match="criterion 'reap' exists already"):
        register_measured_criterion("reap")(no_scores)
    with pytest.raises(ValueError, match="criterion 'reconstruction' exists already"):
        register_criterion("reconstruction")(lambda statistics: statistics.norm_sum)
    assert not set(CRITERIA) & set(MEASURED_CRITERIA)
    with pytest.raises(ValueError, match="A measured criterion needs a non-empty string"):
        register_measured_criterion("")
