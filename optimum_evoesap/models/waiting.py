# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where tensors wait until they are needed again: on their GPU, in the host's memory, or in a file."""

from __future__ import annotations

import os
import tempfile
import weakref

import psutil
import torch


# Share of the free memory that one tensor may take, so that the forward pass still finds what it needs.
_SHARE_OF_DEVICE = 0.5
_SHARE_OF_HOST = 0.5


class WaitingRoom:
    """Keeps tensors where there is room for them.

    Args:
        device_bytes: Most bytes that wait on a GPU; the rest waits in pinned memory of the host, and in a file that
            vanishes with the process where the host has too little memory as well.
    """

    def __init__(self, device_bytes: int):
        self._device_bytes = device_bytes
        self._on_device = 0

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor`, or a copy of it where it can wait.

        Args:
            tensor: On any device.
        """
        if not tensor.is_cuda:
            return tensor
        if self._on_device + tensor.nbytes <= self._device_bytes and tensor.nbytes <= _free_on(tensor.device):
            self._on_device += tensor.nbytes
            weakref.finalize(tensor, self._release, tensor.nbytes).atexit = False
            return tensor
        return _on_host(tensor)

    def _release(self, num_bytes: int) -> None:
        self._on_device -= num_bytes


def _free_on(device: torch.device) -> float:
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free * _SHARE_OF_DEVICE


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.nbytes <= psutil.virtual_memory().available * _SHARE_OF_HOST:
        return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
    return in_file(tensor)


def in_file(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor on the CPU whose bytes are in a file that vanishes with it.

    Args:
        tensor: On any device.

    Raises:
        OSError: The disk has no room for it.
    """
    # The file has no name any more once it is mapped, so nothing is left behind, whatever happens.
    with tempfile.NamedTemporaryFile(prefix="evoesap-") as file:
        # A file with holes would end the process where the disk is full, when the tensor is written.
        os.posix_fallocate(file.fileno(), 0, max(1, tensor.nbytes))
        mapped = torch.from_file(file.name, shared=True, size=tensor.numel(), dtype=tensor.dtype)
    return mapped.view(tensor.shape).copy_(tensor)
