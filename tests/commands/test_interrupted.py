# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Ctrl-C in a real `prune`: one line that says what is saved, and the same command goes on to the same bits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.helpers import FAST, data_options


# Slowly, so that there is time for Ctrl-C; by way of the class, since `optimum-cli` finds the installed one alone.
PRUNE = """
import sys, time
import tests.conftest
from argparse import ArgumentParser
from optimum.commands.base import CommandInfo
from optimum_evoesap.commands.prune import PruneCommand
from optimum_evoesap.fitness.scorer import FitnessScorer
sums = FitnessScorer.sums
FitnessScorer.sums = lambda self, *given: (time.sleep(float(sys.argv[1])), sums(self, *given))[1]
parser = ArgumentParser()
info = CommandInfo(name="prune", help="", subcommand_class=PruneCommand)
PruneCommand(parser.add_subparsers(), command=info)
args = parser.parse_args(["prune", *sys.argv[2:]])
args.func(args).run()
"""


def start(seconds, *arguments):
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    command = [sys.executable, "-c", PRUNE, seconds, *arguments]
    return subprocess.Popen(
        list(map(str, command)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(is_there, process):
    deadline = time.monotonic() + 120
    while not is_there() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()


@pytest.fixture
def options(checkpoint, data):
    sizes = [*FAST, "--generations", "12", "--population-size", "8", "--sparsity", "0.5"]
    return ["-m", checkpoint, "--device-map", "none", *sizes, "--allocation", "evolution", *data_options(data)]


def test_ctrl_c_in_the_search(options, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    unbroken = start(0, *options, "-o", whole)
    assert unbroken.wait(240) == 0, unbroken.stderr.read()

    process = start(0.05, *options, "-o", out)
    wait_for(lambda: (out / ".evoesap" / "search-000002.json").is_file(), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    last = said.strip().splitlines()[-1]
    saved = re.fullmatch(
        rf"Stopped\. Saved in {out}: the statistics, the experts of 3 layers by esap, (\d+) scores on search data\. "
        r"The same command \(without --no-resume\) goes on from there\.",
        last,
    )
    assert saved and 8 < int(saved[1]) < 12 * 8 - 11 * 1, last
    assert not (out / "config.json").exists()

    resumed = start(0, *options, "-o", out)
    _, said = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, said
    assert "Going on with" in said
    for name in ("model.safetensors", "config.json", "evoesap_result.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_ctrl_c_before_anything_is_saved(cli, options, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("optimum_evoesap.pruner.observe_experts", interrupted)
    out = tmp_path / "out"
    code, _, error = cli("prune", *options, "-o", out)
    assert code == 130 and not out.exists()
    assert error.splitlines()[-1] == "Stopped. Nothing was saved yet: the same command begins again."


def test_ctrl_c_in_the_push(cli, options, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("optimum_evoesap.pruner.plan_push", lambda *_, **__: {"repo_id": "me/model"})
    monkeypatch.setattr("optimum_evoesap.pruner.check_hub", lambda **_: None)
    monkeypatch.setattr("optimum_evoesap.pruner.push_checkpoint", interrupted)
    out = tmp_path / "out"
    hub = ["--push-to-hub", "--hub-model-id", "me/model", "--token", "hf_none"]
    code, _, error = cli("prune", *options, "-o", out, *hub)
    assert code == 130
    assert error.splitlines()[-1] == f"Stopped. The checkpoint in {out} is whole."


def test_ctrl_c_in_another_command(cli, checkpoint, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("optimum_evoesap.reports.inspection.inspect_model", interrupted)
    code, _, error = cli("inspect", "-m", checkpoint)
    assert (code, error) == (130, "Stopped. Nothing was written.\n")
