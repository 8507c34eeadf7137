# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run is said to take before it begins, against what it takes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.pruning import SMALL, make_pruner, rows
from tests.short_memory import limit_memory


TINY_MOE = Path(__file__).parents[2] / "examples" / "tiny_moe"


def windows(estimate):
    return {stage.name: stage.windows for stage in estimate.stages}


@pytest.mark.slow
def test_the_bundled_model_takes_about_as_long_as_estimated():
    """The band is loose: the machine does other things too."""
    config = EvoESAPConfig(
        sparsity=0.5,
        calibration_dataset=str(TINY_MOE / "data" / "calibration.jsonl"),
        search_dataset=str(TINY_MOE / "data" / "search.jsonl"),
        calibration_samples=48, search_samples=16, sequence_length=256, batch_size=8, criterion_samples=8,
        max_evaluations=200,
    )  # fmt: skip
    pruner = MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config, dtype=torch.float32)
    estimate = pruner.estimate()
    assert [stage.name for stage in estimate.stages] == ["calibrate", "rank by esap", "search", "held-out"]
    start = time.monotonic()
    pruner.prune()
    low, high = estimate.seconds
    assert low / 3 < time.monotonic() - start < 3 * high


def test_windows_are_counted_as_they_are_run():
    # Six windows of calibration data, four of search data and one held-out; three layers of eight experts.
    pruner = make_pruner(criterion="esap", allocation="uniform", criterion_samples=2)
    estimate = pruner.estimate(rows(), rows(seed=1))
    assert windows(estimate) == {
        "calibrate": 6,
        "rank by esap": round(2 * (1 + 8 * (3 + 2 + 1) / 3)),
        "search": 2 * 4,
        "held-out": 3 * 1,
    }
    searched = make_pruner(max_evaluations=3).estimate(rows(), rows(seed=1))
    assert windows(searched) == {"calibrate": 6, "search": 3 * 4, "held-out": 3}
    assert windows(make_pruner(allocation=[1, 2, 3]).estimate(rows())) == {"calibrate": 6}
    assert all(0 < low <= high for low, high in (stage.seconds for stage in estimate.stages))


def test_the_range_of_the_search_is_cut_by_its_minutes():
    slow = make_pruner(generations=10**6).estimate(rows(), rows(seed=1)).stages[1]
    quick = make_pruner(generations=10**6, max_minutes=0.5).estimate(rows(), rows(seed=1)).stages[1]
    assert slow.seconds[0] > 60 and quick.seconds == (30.0, 30.0)


def test_a_front_is_estimated_from_the_search_of_each_point():
    pruner = make_pruner()
    estimate = pruner.estimate(rows(), rows(seed=1), sparsities=[0.5, 0.25])
    alone = [make_pruner(sparsity=each).estimate(rows(), rows(seed=1)) for each in (0.25, 0.5)]
    searches = {f"search at {each:g}": windows(one)["search"] for each, one in zip((0.25, 0.5), alone)}
    assert windows(estimate) == {"calibrate": 6, **searches, "held-out": 5}
    assert estimate.checkpoint_bytes == 0 < alone[0].checkpoint_bytes
    with pytest.raises(ValueError, match="cannot be reached|possible"):
        pruner.estimate(rows(), rows(seed=1), sparsities=[0.25, 0.99])


def test_a_ranking_saves_its_stages(tmp_path):
    make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "first", rows())
    estimate = make_pruner().estimate(None, rows(seed=1), ranking=tmp_path / "first")
    assert list(windows(estimate)) == ["search", "held-out"]


def test_the_checkpoint_is_as_large_as_estimated(tmp_path):
    pruner = make_pruner(allocation="uniform")
    estimate = pruner.estimate(rows())
    pruner.prune(tmp_path / "out", rows())
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as weights:
        assert estimate.checkpoint_bytes == sum(weights.get_tensor(name).nbytes for name in weights.keys())


@pytest.mark.parametrize("model_type", ["olmoe", "diffusion_gemma"])
def test_an_estimate_changes_nothing(model_type, caplog):
    """DiffusionGemma draws random tokens."""
    given = {"allocation": "uniform"} if model_type == "diffusion_gemma" else {}
    data = (rows(), None) if given else (rows(), rows(seed=1))
    torch.manual_seed(3)
    plain = make_pruner(model_type, **given)
    before = torch.random.get_rng_state()
    plain.prune(None, *data)
    caplog.set_level(logging.INFO, "optimum_evoesap")
    torch.manual_seed(3)
    watched = make_pruner(model_type, **given)
    watched.estimate(*data)
    assert torch.equal(torch.random.get_rng_state(), before)
    watched.prune(None, *data)
    assert "calibrate" in caplog.text and "Memory beside the weights" in caplog.text
    assert watched.result == plain.result


def test_memory_is_that_of_what_is_kept():
    estimate = make_pruner().estimate(rows(), rows(seed=1))
    hidden = make_pruner().model.config.hidden_size * 4
    scored = 4 * 15 + 6 * 15  # every token but the first of each window, on search and calibration data
    teacher, waiting = scored * (hidden + 24), 4 * 6 * 16 * hidden
    assert (estimate.device_bytes, estimate.host_bytes) == (0, teacher + waiting)


def test_a_batch_that_does_not_fit_is_timed_in_parts():
    pruner = make_pruner()
    calls = limit_memory(pruner.model, 1)
    estimate = pruner.estimate(rows(), rows(seed=1))
    assert all(low > 0 for low, _ in (stage.seconds for stage in estimate.stages)) and max(calls) == 2


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
def test_memory_on_a_gpu_is_enough():
    pruner = MoEPruner(make_pruner().model.cuda(), EvoESAPConfig(**SMALL))
    estimate = pruner.estimate(rows(), rows(seed=1))
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    pruner.prune(None, rows(), rows(seed=1))
    assert torch.cuda.max_memory_allocated() - held <= 1.5 * estimate.device_bytes
