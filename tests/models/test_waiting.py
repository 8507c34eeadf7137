# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tensors that wait outside of a GPU."""

from __future__ import annotations

import gc
import tempfile

import psutil
import pytest
import torch

from optimum_evoesap.models.waiting import WaitingRoom, in_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where files for a while are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_what_is_in_a_file_is_what_was_given(dtype, folder):
    tensor = (torch.randn(3, 5, 7) * 10).to(dtype)
    waiting = in_file(tensor)
    tensor_before = tensor.clone()
    tensor.zero_()
    assert torch.equal(waiting, tensor_before) and waiting.dtype == dtype
    assert list(folder.iterdir()) == [], "the file has no name any more"


def test_a_view_and_nothing_at_all(folder):
    tensor = torch.randn(6, 4)
    assert torch.equal(in_file(tensor.T[1:3]), tensor.T[1:3])
    assert in_file(torch.empty(0, 4)).shape == (0, 4)


def test_a_file_vanishes_with_its_tensor(folder):
    def mapped():
        return sum(str(folder) in each.path for each in psutil.Process().memory_maps(grouped=False))

    waiting = in_file(torch.ones(1000))
    assert mapped() == 1 and waiting.sum() == 1000
    del waiting
    gc.collect()
    assert mapped() == 0


def test_a_full_disk_is_an_error_and_no_crash(folder, monkeypatch):
    tensor = torch.empty(1).expand(2**50)  # more than any disk has
    with pytest.raises(OSError):
        in_file(tensor)
    assert list(folder.iterdir()) == []


def test_what_is_on_the_cpu_stays_where_it_is():
    tensor = torch.randn(4)
    assert WaitingRoom(0).keep(tensor) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_keeps_so_many_bytes_and_the_host_the_rest():
    room = WaitingRoom(device_bytes=1500)
    given = [torch.randn(250, device="cuda") for _ in range(3)]
    kept = [room.keep(each) for each in given]
    assert [each.is_cuda for each in kept] == [True, False, False] and kept[1].is_pinned()
    torch.cuda.synchronize()
    assert all(torch.equal(one.cpu(), other.cpu()) for one, other in zip(given, kept))
    del given, kept
    assert room.keep(torch.randn(250, device="cuda")).is_cuda, "there is room again"
