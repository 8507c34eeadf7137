# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs killed at random moments: a few of those of the benchmark, which does the same over all stages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_that_are_killed_go_on_to_the_same_files():
    stages = ["calibrate", "move", "end"]
    command = [sys.executable, "-m", "benchmarks.kills", "--architectures", "olmoe", "--seed", "7", "--kills", "3"]
    root = Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    done = subprocess.run([*command, "--stages", *stages], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills in 3 stages, 0 wrong" in done.stdout
