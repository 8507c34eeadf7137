# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Writing takes next to no time, however slow the disk is, and is not put off where it is fast."""

from __future__ import annotations

import time

import pytest

from optimum_evoesap.run import pace
from optimum_evoesap.run.pace import Pace


@pytest.mark.parametrize("took", [0.001, 0.1, 2.0])
@pytest.mark.parametrize("is_complete", [True, False])
def test_writing_takes_a_small_share_of_a_long_run(took, is_complete, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    kept, writes, longest, last = Pace(), 0, 0.0, 0.0
    while clock[0] < 10_000:
        clock[0] += 0.25  # a piece of work
        if kept.is_affordable if is_complete else kept.is_due:
            longest, last = max(longest, clock[0] - last), clock[0]
            with kept.writing():
                clock[0] += took
            writes += 1
    assert kept.seconds == pytest.approx(writes * took)
    assert kept.seconds < pace.MOST_OF_TIME * clock[0] + took
    least = 0 if is_complete else pace.SECONDS_BETWEEN
    assert longest <= max(least, took / pace.MOST_OF_TIME) + took + 0.25 + 1e-6, "what a kill can cost"


def test_what_fails_counts_too(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    kept = Pace()
    with pytest.raises(OSError), kept.writing():
        clock[0] += 1.0
        raise OSError
    assert kept.seconds == 1.0 and not kept.is_affordable
