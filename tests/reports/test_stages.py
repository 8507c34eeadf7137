# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Each stage of a run says in one line where it ran, how long, and what came of it; a library says none unasked."""

from __future__ import annotations

import logging
import re

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.reports.stages import stage_line
from tests.model_matrix import DEVICE, make_model
from tests.pruning import SMALL, make_pruner, rows


def stages(caplog):
    lines = (re.fullmatch(r"(\w+) +(\S+) +([\d.]+ (?:s|min|h))  (.+)", each.message) for each in caplog.records)
    return {line[1]: (line[2], line[4]) for line in lines if line}


def test_a_run_has_a_line_for_each_stage(caplog, tmp_path):
    make_model("olmoe").save_pretrained(tmp_path / "model")
    with caplog.at_level(logging.INFO, "optimum_evoesap"):
        pruner = MoEPruner.from_pretrained(tmp_path / "model", EvoESAPConfig(**SMALL))
        pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    found, result = stages(caplog), pruner.result
    assert list(found) == ["load", "calibrate", "rank", "search", "apply", "save"]
    assert [device for device, _ in found.values()] == ["cpu"] * 5 + ["-"]
    texts = {stage: text for stage, (_, text) in found.items()}
    assert texts["load"].startswith("OlmoeForCausalLM, ") and texts["load"].endswith("in float32")
    assert "6 windows of 16 tokens" in texts["calibrate"] and texts["rank"] == "by reap"
    scores = [f"{result.scores[name]:.4f}" for name in ("best", "uniform", "holdout_best", "holdout_uniform")]
    assert texts["search"] == "esap {} (uniform {}), held-out {} (uniform {})".format(*scores)
    assert texts["apply"].startswith(f"{result.budget} of {sum(result.num_experts)} experts removed (50.0%), ")
    assert texts["save"].endswith(f"in {tmp_path / 'out'}")


def test_an_allocation_without_search_data_is_not_scored(caplog):
    with caplog.at_level(logging.INFO, "optimum_evoesap"):
        make_pruner(allocation=[1, 2, 3]).prune(calibration_data=rows())
    found = stages(caplog)
    assert found["search"] == (DEVICE, "not scored: there are no search data")
    assert "load" not in found and "save" not in found


def test_what_fails_or_was_not_asked_for_says_nothing(caplog):
    make_pruner(allocation=[1, 2, 3]).prune(calibration_data=rows())
    with caplog.at_level(logging.INFO, "optimum_evoesap"), pytest.raises(KeyError), stage_line("search"):
        raise KeyError
    assert not stages(caplog)
