# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether this machine has the devices that a model is to be put on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..suggestion import did_you_mean


# What accelerate finds places by itself for, and what is no accelerator.
_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_ALWAYS_THERE = ("cpu", "disk", "meta")


def check_devices(device_map: Any) -> None:
    """Refuse a device that is not there, before anything is loaded onto it.

    Args:
        device_map: As in `from_pretrained`: a strategy, a device, or a mapping from modules to devices.

    Raises:
        ValueError: A device is unknown, or this machine has none of its kind, or fewer.
    """
    for device in device_map.values() if isinstance(device_map, Mapping) else [device_map]:
        if device is not None and str(device) not in (*_STRATEGIES, *_ALWAYS_THERE):
            _check(device)


def _check(device: Any) -> None:
    found = _parsed(device)
    if found.type in _ALWAYS_THERE:
        return
    there = _count(found.type)
    if (found.index or 0) < there:
        return
    have = f"{found.type}:0" + (f" to {found.type}:{there - 1}" if there > 1 else "") if there else f"no {found.type}"
    raise ValueError(
        f"device_map={str(device)!r}: this machine has {have} that torch can use; take auto (the accelerators that "
        "there are) or cpu."
    )


def _parsed(device: Any) -> torch.device:
    try:
        # A number is one of the accelerators of this machine.
        return torch.device(_accelerator(), device) if isinstance(device, int) else torch.device(device)
    except (RuntimeError, TypeError) as error:
        remedy = did_you_mean(
            str(device), (*_STRATEGIES, "cuda", "cuda:0"), "give auto, a device such as cuda:0, or cpu."
        )
        raise ValueError(f"device_map={device!r} names no device: {remedy}") from error


def _accelerator() -> str:
    found = torch.accelerator.current_accelerator()
    return "cuda" if found is None else found.type


def _count(kind: str) -> int:
    try:
        backend: Any = torch.get_device_module(kind)
    except RuntimeError:
        return 0  # this build of torch has nothing of that kind
    if not hasattr(backend, "is_available") or not backend.is_available():
        return 0
    return backend.device_count() if hasattr(backend, "device_count") else 1
