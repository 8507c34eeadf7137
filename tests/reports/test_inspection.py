# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Inspection of a model that is in memory."""

from __future__ import annotations

from optimum_evoesap.reports.inspection import inspect_model
from tests.model_matrix import make_model


def test_inspect_takes_models_and_keeps_groups_equal():
    model = make_model("deepseek_v3")
    found = inspect_model(model)
    unit = found.layers[0].num_groups
    assert unit > 1 and found.outlooks
    assert all(outlook.removed_experts % unit == 0 for outlook in found.outlooks)
