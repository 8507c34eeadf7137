# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Progress bars: what they show of a real run, and all the ways to silence them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from optimum_evoesap.models.progress_bar import ProgressBar
from tests.pruning import make_pruner, rows
from tests.run.broken_off import break_off


SHOW = """
{before}
from optimum_evoesap.models.progress_bar import ProgressBar
with ProgressBar("calibrate", 3, "window", {wanted}) as bar:
    bar.advance(3)
"""


def shown(before="", wanted=True, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    program = SHOW.format(before=before, wanted=wanted)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment | variables, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return "calibrate" in done.stderr and "3/3" in done.stderr


@pytest.mark.parametrize("variables", [{}, {"TQDM_DISABLE": "0"}, {"TRANSFORMERS_VERBOSITY": "info"}])
def test_bars_are_shown(variables):
    assert shown(**variables)


@pytest.mark.parametrize(
    "before, wanted, variables",
    [
        ("", False, {}),
        ("", True, {"TQDM_DISABLE": "1"}),
        ("", True, {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}),
        ("", True, {"TRANSFORMERS_VERBOSITY": "error"}),
        ("import os, optimum_evoesap.models.progress_bar; os.environ['TQDM_DISABLE'] = 'true'", True, {}),
        ("import transformers; transformers.logging.disable_progress_bar()", True, {}),
        ("import transformers; transformers.logging.set_verbosity_error()", True, {}),
        ("from huggingface_hub.utils import disable_progress_bars as off; off()", True, {}),
        ("import logging; logging.getLogger('optimum_evoesap').setLevel(logging.ERROR)", True, {}),
    ],
)
def test_bars_are_silenced(before, wanted, variables):
    assert not shown(before, wanted, **variables)


@pytest.fixture
def bars(monkeypatch, capsys):
    """Lets bars be shown here; gives what they showed, stage by stage, in order."""
    monkeypatch.setattr("optimum_evoesap.models.progress_bar.are_bars_wanted", lambda: True)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")

    def states():
        found: dict[str, list[str]] = {}
        for state in re.split(r"[\r\n]+", capsys.readouterr().err):
            if re.match(r"[\w -]+: +\d+%", state):
                found.setdefault(state.partition(":")[0], []).append(state.strip())
        return found

    return states


def counts(state):
    done, total = re.search(r"(\d+)/(\d+)", state).groups()
    return int(done), int(total)


@pytest.mark.parametrize(
    "options", [{}, {"criterion": "esap"}, {"allocation": "guided"}, {"criterion": "reconstruction"}]
)
def test_one_bar_a_stage_which_ends_whole(options, bars):
    make_pruner(**options).prune(None, rows(), rows(seed=1))
    states = bars()
    criterion = options.get("criterion")
    stages = ["calibrate", *([f"rank by {criterion}"] if criterion else []), "search", "held-out"]
    assert [stage for stage in states if not stage.startswith(("Loading", "Writing"))] == stages
    for stage in stages:
        done, total = counts(states[stage][-1])
        assert done == total > 0
        assert all(done <= total for done, total in map(counts, states[stage]))
    assert re.search(r"best=\d\.\d{4}, uniform=\d\.\d{4}", states["search"][-1])
    assert re.search(r"best=\d\.\d{4}, uniform=\d\.\d{4}", states["held-out"][-1])


def test_the_search_counts_windows(bars):
    pruner = make_pruner()
    pruner.prune(None, rows(), rows(seed=1))
    # Four windows of search data; the uniform allocation is scored beside what the strategy asks for.
    assert counts(bars()["search"][-1])[0] == 4 * (pruner.history[-1]["candidates"] - 1)


def test_what_an_earlier_run_did_is_shown_as_done(tmp_path, bars):
    broken = break_off(tmp_path / "out", generations=6)
    whole = counts(bars()["search"][-1])
    resumed = make_pruner(generations=6)
    resumed.prune(tmp_path / "out", rows(), rows(seed=1))
    assert counts(bars()["search"][-1]) == whole and resumed.history == broken.history


def test_a_total_is_never_exceeded(bars):
    with ProgressBar("search", 5, "window") as bar:
        bar.advance(4)
        bar.expect_more(8)
        bar.advance(8)
        bar.advance(3)
    assert [counts(state) for state in bars()["search"]][-1] == (15, 15)


def test_time_left_is_at_most_that_of_the_limit(bars, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("optimum_evoesap.models.progress_bar.time.monotonic", lambda: now[0])
    with ProgressBar("search", 1000, "window", most_seconds=60) as bar:
        bar.skip(100)
        for _ in range(5):
            now[0] += 10
            bar.advance(20)
        bar.expect_more(200)
    # Two windows a second beside the first hundred: 220 in a minute.
    totals = [counts(state)[1] for state in bars()["search"]]
    assert list(dict.fromkeys(totals)) == [1000, 220, 200]


def test_time_left_is_by_what_this_run_did(capsys, monkeypatch):
    monkeypatch.setattr("optimum_evoesap.models.progress_bar.are_bars_wanted", lambda: True)
    now = [0.0]
    bar = ProgressBar("search", 1000, "window")
    monkeypatch.setattr(bar._bar, "_time", lambda: now[0])
    bar._bar.start_t = bar._bar.last_print_t = now[0]
    now[0] = 1.0
    bar.skip(500)
    now[0] = 11.0
    bar.advance(100)
    assert "600/1000 [00:11<00:43" in capsys.readouterr().err, "100 windows took 11 seconds, 400 take 44"
    bar.__exit__(None, None, None)
