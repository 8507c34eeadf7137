# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ExpertStatistics`]: what each expert did on the calibration data, as sums that every criterion is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from ..run.durable import write_durably


@dataclass
class LayerStatistics:
    """Sums over the calibration tokens for the experts of one sparse layer; each a tensor of shape (experts,).

    Attributes:
        routed_tokens: Tokens that the router sent to the expert, int64.
        norm_sum: Sum over those tokens of the L2 norm of the expert's output (before the gate weight), float64.
        weight_sum: Sum of the gate weights, float64.
        weighted_norm_sum: Sum of gate weight x L2 norm, float64.
    """

    routed_tokens: torch.Tensor
    norm_sum: torch.Tensor
    weight_sum: torch.Tensor
    weighted_norm_sum: torch.Tensor

    @classmethod
    def zeros(cls, num_experts: int, device: torch.device | str = "cpu") -> LayerStatistics:
        """Sums of nothing, for `num_experts` experts."""
        sums = [torch.zeros(num_experts, dtype=torch.float64, device=device) for _ in range(3)]
        return cls(torch.zeros(num_experts, dtype=torch.int64, device=device), *sums)

    def plus(self, others: LayerStatistics, experts: slice) -> LayerStatistics:
        """These sums, with `others` added to those of `experts`; on the device of `others`."""
        total = self.to(others.norm_sum.device)
        for item in fields(self):
            getattr(total, item.name)[experts] += getattr(others, item.name)
        return total

    def to(self, device: torch.device | str) -> LayerStatistics:
        """The same sums on another device."""
        return LayerStatistics(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass
class ExpertStatistics:
    """[`LayerStatistics`] of every sparse layer, by decoder-layer index, and the tokens they were taken from."""

    layers: dict[int, LayerStatistics]
    num_tokens: int

    def save(self, path: str | Path, key: str = "") -> None:
        """Write the sums as a safetensors file.

        Args:
            path: The file; it is on the disk when this returns.
            key: Fingerprint of what they depend on. It lies in the same file, so that the two are never of two runs.
        """
        tensors = {
            f"{layer}.{item.name}": getattr(statistics, item.name).contiguous().cpu()
            for layer, statistics in self.layers.items()
            for item in fields(statistics)
        }
        metadata = {"num_tokens": str(self.num_tokens), "key": key}
        metadata["sha256"] = _checksum(tensors, metadata)
        write_durably(Path(path), serialize(tensors, metadata))

    @classmethod
    def load(cls, path: str | Path) -> ExpertStatistics:
        """Read what [`~ExpertStatistics.save`] wrote."""
        return cls.load_with_key(path)[0]

    @classmethod
    def load_with_key(cls, path: str | Path) -> tuple[ExpertStatistics, str]:
        """Read what [`~ExpertStatistics.save`] wrote, and the key that it was given.

        Args:
            path: The file.

        Raises:
            ValueError: The file is damaged, or an older release wrote it.
        """
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                metadata = file.metadata() or {}
        except SafetensorError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        if metadata.pop("sha256", None) != _checksum(tensors, metadata):
            raise ValueError(f"{path} does not hold what was written into it.")
        indices = sorted({int(name.split(".")[0]) for name in tensors})
        names = [item.name for item in fields(LayerStatistics)]
        layers = {layer: LayerStatistics(*(tensors[f"{layer}.{name}"] for name in names)) for layer in indices}
        return cls(layers, int(metadata["num_tokens"])), metadata["key"]


def _checksum(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
