# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Work that is not finished is found again by the same run, and by no other."""

from __future__ import annotations

import os

import pytest
import torch

from optimum_evoesap.run.state import RunState


SUMS = torch.tensor([1 / 3, -0.0, 2**-1074], dtype=torch.float64)


def part():
    return {"sums": SUMS}, {"done": 3, "share": 1 / 3}


def keep(folder):
    with RunState(folder) as state:
        state.unfinished("work", "key").keep(part)


def test_it_is_found_bit_for_bit_and_gone_when_it_is_finished(tmp_path, keeps_all):
    keep(tmp_path)
    with RunState(tmp_path) as state:
        piece = state.unfinished("work", "key")
        tensors, values = piece.found(lambda found: found)
        assert values == {"done": 3, "share": 1 / 3}
        assert torch.equal(tensors["sums"].view(torch.int64), SUMS.view(torch.int64))
        piece.end()
        piece.end()
        assert piece.found(lambda found: found) is None


def test_it_is_made_only_where_it_is_kept(tmp_path, keeps_rounds):
    def fail():
        raise AssertionError

    RunState().unfinished("work", "key").keep(fail)
    with RunState(tmp_path) as state:
        state.unfinished("work", "key").keep(fail)  # not yet time


def test_that_of_another_run_or_without_resume_is_not_used(tmp_path, keeps_all, caplog):
    keep(tmp_path)
    with RunState(tmp_path) as state:
        assert state.unfinished("work", "other").found(lambda found: found) is None
        assert "unfinished-work.safetensors is of a run with another model" in caplog.text
        assert state.unfinished("another", "key").found(lambda found: found) is None
    with RunState(tmp_path, resume=False) as state:
        assert state.unfinished("work", "key").found(lambda found: found) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: b"", lambda content: os.urandom(99)])
def test_what_is_damaged_is_not_used(damage, tmp_path, keeps_all, caplog):
    keep(tmp_path)
    path = tmp_path / ".evoesap" / "unfinished-work.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with RunState(tmp_path) as state:
        assert state.unfinished("work", "key").found(lambda found: found) is None
    assert f"{path} is damaged" in caplog.text


def test_what_the_work_cannot_go_on_with_is_not_used(tmp_path, keeps_all, caplog):
    keep(tmp_path)

    def read(found):
        raise ValueError("three windows of two")

    with RunState(tmp_path) as state:
        assert state.unfinished("work", "key").found(read) is None
    assert "three windows of two" in caplog.text
