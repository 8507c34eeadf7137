# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Trackers get what happens in a run, and change nothing in it."""

from __future__ import annotations

import math
import shutil

import pytest
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from optimum_evoesap.run.trackers import find_trackers
from tests.pruning import make_pruner, rows
from tests.run.broken_off import break_off, finish


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    return tmp_path / "logs"


def read_events(folder):
    """Scalars by name, as tensorboard shows them, and the texts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = folder.iterdir()
    scalars, texts = {}, {}
    events = EventAccumulator(str(run / "optimum-evoesap"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    for name in events.Tags()["scalars"]:
        scalars[name] = [(each.step, each.value) for each in events.Scalars(name)]
    for name in events.Tags()["tensors"]:
        texts[name.removesuffix("/text_summary")] = [
            each.tensor_proto.string_val[0].decode() for each in events.Tensors(name)
        ]
    return run, scalars, texts


def test_tensorboard_shows_the_run(folder):
    pruner = make_pruner(report_to="tensorboard", holdout_fraction=0.5)
    pruner.prune(None, rows(), rows(seed=1))
    run, scalars, _ = read_events(folder)
    assert [value for _, value in scalars["search/best"]] == pytest.approx([each["best"] for each in pruner.history])
    assert all(value == pytest.approx(pruner.scores["uniform"]) for _, value in scalars["search/uniform"])
    assert scalars["search/evaluations"][-1][1] == pruner.history[-1]["candidates"]
    assert [value for _, value in scalars["held-out/best"]] == [pytest.approx(pruner.scores["holdout_best"])]
    low, high = (scalars[f"held-out/gain_{end}"][0][1] for end in ("low", "high"))
    assert (low, high) == pytest.approx(pruner.result.interval)
    assert scalars["seconds/calibrate"][0][1] > 0 and scalars["seconds/rank"][0][1] >= 0
    steps = [step for name in ("seconds/calibrate", "search/best", "held-out/best") for step, _ in scalars[name]]
    assert steps == sorted(set(steps)), "each step comes after the one before"
    hyperparameters = next(run.glob("optimum-evoesap/*/hparams.yml")).read_text()
    assert "sparsity: 0.5" in hyperparameters and "generations: 3" in hyperparameters
    assert "calibration_dataset: null" in hyperparameters, "the data were in memory"


def test_the_stages_of_a_guided_search_are_named(folder):
    pruner = make_pruner(report_to=["tensorboard"], allocation="guided")
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search(rows(seed=1))
    _, scalars, texts = read_events(folder)
    stages = [each["stage"] for each in pruner.history]
    assert {"uniform", "curves", "order measured again"} <= set(texts["search/stage"]) <= set(stages)
    assert all(math.isfinite(value) for _, value in scalars["search/best"])


def test_a_run_after_another_begins_at_its_first_step(folder):
    pruner = make_pruner(report_to="tensorboard")
    for _ in range(2):
        pruner.front([0.25], rows(), rows(seed=1))
        _, scalars, _ = read_events(folder)
        assert scalars["seconds/calibrate"][0][0] == 0
        shutil.rmtree(folder)


def test_nothing_else_changes(folder, tmp_path):
    plain = finish(tmp_path / "plain")
    # The state of a run is that of one without trackers too.
    break_off(tmp_path / "out", report_to="tensorboard")
    assert finish(tmp_path / "out") == plain
    followed = make_pruner(report_to="tensorboard")
    followed.prune(tmp_path / "followed", rows(), rows(seed=1))
    assert followed.result == plain


def test_names_of_trackers():
    assert find_trackers(None) == find_trackers("none") == find_trackers([]) == ()
    installed = {str(kind) for kind in get_available_trackers()}
    assert set(find_trackers("all")) == installed
    with pytest.raises(ValueError, match="report_to='tensorbord': accelerate knows no such tracker.*tensorboard"):
        find_trackers("tensorbord")
    for missing in {str(kind) for kind in LoggerType} - installed - {"all"}:
        with pytest.raises(ValueError, match=f"report_to='{missing}'.*not installed: pip install {missing}"):
            find_trackers([missing])


def test_a_wrong_tracker_is_an_error_before_anything_else():
    with pytest.raises(ValueError, match="report_to='nothing'"):
        make_pruner(report_to="nothing")
    for wrong in (3, [3], "", [""]):
        with pytest.raises(ValueError, match="report_to="):
            make_pruner(report_to=wrong)
