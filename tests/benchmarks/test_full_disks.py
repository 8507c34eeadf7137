# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A full, a read-only and a vanishing disk lose nothing; `python -m benchmarks.full_disks` does many more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.full_disks import UNSHARE


@pytest.mark.slow
def test_disks_lose_nothing():
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here, in which a disk could be made")
    command = [sys.executable, "-m", "benchmarks.full_disks", "--sizes", "2", "--vanishing", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    *cases, sums = map(json.loads, done.stdout.splitlines())
    assert all(case["is_kept"] for case in cases), [case for case in cases if not case["is_kept"]]
    assert sums["sum"]["kept"] == len(cases) == 8
    # Too little room, and a disk that cannot be written, are found before the model runs.
    assert [case["first"]["passes"] for case in cases[:2]] == [0, 0]
    assert {case["first"]["ended"] for case in cases[:2]} == {"told"}
    # Full in the middle: what was finished is gone on with.
    assert any(case["first"]["ended"] == "told" and case["again"]["resumed"] for case in cases[2:])
    filled, vanished = cases[-2:]
    assert filled["first"]["ended"] == "told" and vanished["first"]["said_removed"]
