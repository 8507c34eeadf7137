# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs that are killed with SIGKILL in every stage: the same command goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from optimum_evoesap import PruningResult
from tests.run.killed_runs import DEATHS, KINDS


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# What a stage has left for the next run, by the beginnings of the names of the pieces.
LEFT = {
    "calibrate": {"unfinished-statistics"},
    "rank": {"statistics"},
    "choose": {"statistics", "ranking-esap", "ranking-reconstruction", "choice"},
    "train": {"statistics", "ranking-esap", "search", "unfinished-logits"},
    "guard": {"statistics", "ranking-esap", "search", "heldout"},
    "saving": {"statistics", "ranking-esap", "search", "checkpoint"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and how each process ended."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), TQDM_DISABLE="1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.run.killed_runs", str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "runs.json").read_text()), done.stderr


def files(folder):
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_unbroken_run_goes_through_all_that_is_to_be_killed(runs, kind):
    folder, ends, errors = runs
    assert ends[kind]["unbroken"] == 0, errors
    result = PruningResult.load(folder / kind)
    assert result.scores["best"] > result.scores["uniform"], "the search finds something"
    if kind == "guided":
        assert len(result.criterion_scores) == 9 and {"curves", "order measured again", "neighbours"} <= {
            entry["stage"] for entry in result.history
        }


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_what_is_killed_goes_on_to_the_same_bits(runs, death):
    folder, ends, errors = runs
    end, target = ends[death.name], folder / death.name
    assert end["killed"] == -signal.SIGKILL, f"it must be killed in that stage\n{errors}"
    pieces = {name.removeprefix(".evoesap/") for name in end["left"]}
    for kind in LEFT.get(death.stage, {"statistics", "ranking-esap", "search"}):
        assert any(name.startswith(kind) for name in pieces), f"nothing left of {kind}: {sorted(pieces)}"
    assert not end["loads"] and "config.json" not in end["left"], "nothing that looks like a checkpoint"
    assert end["again"] == 0, errors
    assert files(target) == files(folder / death.kind), "result, scores, order, card and weights, bit for bit"
    assert end["passes"] < ends[death.kind]["passes"], "what was done is not done again"


@pytest.mark.parametrize("kind", KINDS)
def test_the_later_it_was_killed_the_less_is_left_to_do(runs, kind):
    _, ends, _ = runs
    stages = (
        "calibrate",
        "rank",
        "choose",
        "curves",
        "train",
        "walk",
        "search",
        "swaps",
        "neighbours",
        "guard",
        "saving",
    )
    deaths = [death for death in DEATHS if death.kind == kind and death.keeps_all and death.stage in stages]
    passes = [ends[death.name]["passes"] for death in sorted(deaths, key=lambda death: stages.index(death.stage))]
    assert passes == sorted(passes, reverse=True)


def test_what_is_kept_at_once_is_not_scored_again(runs):
    """Where only complete rounds are kept, which is so for the first seconds of one, the rest is done again."""
    _, ends, _ = runs
    assert ends["guided order again 25"]["passes"] < ends["guided order again 25 rounds"]["passes"]
