# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A killed run that is started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.memory import aligned
from tests.pruning import logits, make_pruner, rows
from tests.run.broken_off import break_off, count_scored


pytestmark = pytest.mark.usefixtures("keeps_rounds")


def test_without_resume_everything_is_done_again(tmp_path, monkeypatch):
    first = make_pruner()
    monkeypatch.setattr(
        "optimum_evoesap.models.sparse_model.remove_experts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        first.prune(tmp_path / "out", rows(), rows(seed=1))
    monkeypatch.undo()
    scored = count_scored(monkeypatch)
    again = make_pruner()
    again.prune(tmp_path / "out", rows(), rows(seed=1), resume=False)
    assert sum(scored) == again.history[-1]["candidates"] + 2
    assert again.allocation == first.allocation


@pytest.mark.parametrize("moves", [1, 2, 4])
@pytest.mark.parametrize("has_earlier_result", [False, True])
def test_a_run_killed_while_files_are_moved_goes_on(has_earlier_result, moves, tmp_path, monkeypatch):
    if has_earlier_result:
        make_pruner(allocation=[3, 2, 1]).prune(tmp_path / "out", rows())
    moved = []
    replace = os.replace

    def move(old, new):
        if ".evoesap/checkpoint" in str(old):
            if len(moved) == moves:
                raise KeyboardInterrupt
            moved.append(new)
        replace(old, new)

    monkeypatch.setattr(os, "replace", move)
    with pytest.raises(KeyboardInterrupt):
        make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "out", rows())
    monkeypatch.undo()
    # What is there by then is the whole earlier result, or nothing that loads.
    assert (tmp_path / "out" / "config.json").exists() <= has_earlier_result
    pruner = make_pruner(allocation=[1, 2, 3])
    pruner.prune(tmp_path / "out", rows())
    reloaded = aligned(AutoModelForCausalLM.from_pretrained(tmp_path / "out")).to(pruner.model.device)
    assert torch.equal(logits(pruner.model), logits(reloaded))


def test_more_generations_go_on_from_the_scores_of_fewer(tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    first = make_pruner()
    first.apply = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        first.prune(tmp_path / "out", rows(), rows(seed=1))
    scored = count_scored(monkeypatch)
    longer = make_pruner(generations=4)
    longer.prune(tmp_path / "out", rows(), rows(seed=1))
    # And the best on held-out data, where it is another one now.
    new = longer.history[-1]["candidates"] - first.history[-1]["candidates"]
    assert sum(scored) == new + (longer.history[-1]["allocation"] != first.history[-1]["allocation"])
    assert longer.history[:3] == first.history


# With as many threads as the tests have: they decide in which order sums are taken.
RUN = """
import sys
from pathlib import Path
import tests.conftest
from tests.pruning import make_pruner, rows
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.run import pace
import time
pace.MOST_OF_TIME = float("inf")
sums = FitnessScorer.sums
FitnessScorer.sums = lambda self, *given: (time.sleep(0.05), sums(self, *given))[1]
make_pruner(generations=12, population_size=8).prune(Path(sys.argv[1]), rows(), rows(seed=1))
"""


def test_a_killed_run_goes_on_to_the_same_result(tmp_path, monkeypatch):
    unbroken = make_pruner(generations=12, population_size=8)
    unbroken.prune(tmp_path / "unbroken", rows(), rows(seed=1))

    folder = tmp_path / "killed"
    state = folder / ".evoesap" / "search-000001.json"
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run must be killed in its search"
    pieces = [json.loads(path.read_text())["content"] for path in state.parent.glob("search-*.json")]
    saved = [pair for piece in pieces for pair in piece["scores"]]
    assert 8 <= len(saved) < len(unbroken.history) * 8
    assert not (folder / "config.json").exists(), "nothing half written"

    resumed = make_pruner(generations=12, population_size=8)
    scored = count_scored(monkeypatch)
    resumed.prune(folder, rows(), rows(seed=1))
    assert resumed.result == unbroken.result
    # All candidates but the saved ones, and two on held-out data.
    assert sum(scored) == unbroken.history[-1]["candidates"] - len(saved) + 2, "saved candidates are not scored again"
    assert not (folder / ".evoesap").exists()
    assert torch.equal(logits(resumed.model), logits(unbroken.model))


@pytest.mark.parametrize("change", [{"seed": 1}, {"criterion": "ean"}, {"fitness": "kl"}])
def test_the_state_of_another_run_is_not_used(change, tmp_path, caplog):
    class Stop(Exception):
        pass

    def interrupted(**options):
        pruner = make_pruner(**options)
        pruner.apply = lambda: (_ for _ in ()).throw(Stop)
        with pytest.raises(Stop):
            pruner.prune(tmp_path / "out", rows(), rows(seed=1))
        return pruner

    interrupted()
    interrupted(**change)
    assert any("that work is done again" in record.message for record in caplog.records)
    clean = make_pruner(**change)
    clean.prune(tmp_path / "clean", rows(), rows(seed=1))
    pruner = make_pruner(**change)
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert pruner.result == clean.result


def test_scores_on_other_search_data_are_not_used(tmp_path):
    break_off(tmp_path / "out")
    other = make_pruner()
    other.prune(tmp_path / "out", rows(), rows(seed=5))
    clean = make_pruner()
    clean.prune(tmp_path / "clean", rows(), rows(seed=5))
    assert other.result == clean.result
