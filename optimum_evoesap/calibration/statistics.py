# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ExpertStatistics`]: what each expert did on the calibration data, as sums that every criterion is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..models.short_repr import ShortRepr
from ..reading import FileContentError, check_is_file


_PLACE = re.compile(r"(?P<layer>0|[1-9][0-9]{0,5})\.(?P<name>[a-z_]+)")


@dataclass
class LayerStatistics:
    """Sums over the calibration tokens for the experts of one sparse layer; each a tensor of shape (experts,).

    Attributes:
        routed_tokens: Tokens that the router sent to the expert, int64.
        norm_sum: Sum over those tokens of the L2 norm of the expert's output (before the gate weight), float64.
        weight_sum: Sum of the gate weights, float64.
        weighted_norm_sum: Sum of gate weight x L2 norm, float64.
        renormalised_norm_sum: The same with the gate weights of each token divided by their sum, float64.
        squared_norm_sum: Sum of the square of the L2 norm, float64.
        norm_max: Largest L2 norm, 0 for an unused expert, float64.
    """

    routed_tokens: torch.Tensor
    norm_sum: torch.Tensor
    weight_sum: torch.Tensor
    weighted_norm_sum: torch.Tensor
    renormalised_norm_sum: torch.Tensor
    squared_norm_sum: torch.Tensor
    norm_max: torch.Tensor

    @classmethod
    def zeros(cls, num_experts: int, device: torch.device | str = "cpu") -> LayerStatistics:
        """Sums of nothing.

        Args:
            num_experts: Experts of the layer.
            device: Where the sums lie.
        """
        sums = [torch.zeros(num_experts, dtype=torch.float64, device=device) for _ in fields(cls)[1:]]
        return cls(torch.zeros(num_experts, dtype=torch.int64, device=device), *sums)

    def add_(self, others: LayerStatistics, experts: slice) -> None:
        """Add `others` to the sums of some experts, in place; the sums move to the device of `others`.

        Args:
            others: Sums of as many experts.
            experts: Which they are.
        """
        for item in fields(self):
            added = getattr(others, item.name)
            sums = getattr(self, item.name).to(added.device)
            # A sum, but for the largest norm.
            sums[experts] = torch.maximum(sums[experts], added) if item.name == "norm_max" else sums[experts] + added
            setattr(self, item.name, sums)

    def to(self, device: torch.device | str) -> LayerStatistics:
        """The same sums on another device."""
        return LayerStatistics(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass(repr=False)
class ExpertStatistics(ShortRepr):
    """[`LayerStatistics`] of every sparse layer, by decoder-layer index, and the tokens they were taken from."""

    layers: dict[int, LayerStatistics]
    num_tokens: int

    def _summary(self) -> list[tuple[str, str]]:
        used = [bool(count) for layer in self.layers.values() for count in layer.routed_tokens.tolist()]
        unused = used.count(False)
        return [
            ("sparse layers", str(len(self.layers))),
            ("experts", str(len(used))),
            ("tokens", f"{self.num_tokens:,}"),
            ("experts never used", f"{unused} ({unused / len(used):.1%})" if used else "0"),
        ]

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The sums by name, and further values as text."""
        tensors = {
            f"{layer}.{item.name}": getattr(statistics, item.name)
            for layer, statistics in self.layers.items()
            for item in fields(statistics)
        }
        return tensors, {"num_tokens": str(self.num_tokens), "layers": _listed(self.layers)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> ExpertStatistics:
        """What `to_tensors` gave.

        Args:
            tensors: The sums by name.
            metadata: The further values.

        Raises:
            ValueError: They are of another release, which had other sums, or damaged; names the tensor.
        """
        places = {name: _PLACE.fullmatch(name) for name in tensors}
        names = [item.name for item in fields(LayerStatistics)]
        foreign = sorted(name for name, place in places.items() if place is None or place["name"] not in names)
        if foreign:
            raise ValueError(f"the tensor {foreign[0]!r} is none of these statistics; calibrate again.")
        indices = sorted({int(place["layer"]) for place in places.values() if place})
        listed = metadata.get("layers", _listed(indices))  # earlier releases did not write them
        if not indices or listed != _listed(indices):
            raise ValueError(f"there are sums of the layers {_listed(indices)}, and of {listed} there should be.")
        layers = {
            layer: _layer_of({name: tensors.get(f"{layer}.{name}") for name in names}, layer) for layer in indices
        }
        num_tokens = metadata.get("num_tokens", "")
        if not re.fullmatch(r"[0-9]{1,15}", num_tokens):
            raise ValueError(
                f"num_tokens is {num_tokens[:20]!r}, which is no whole number of tokens; calibrate again."
            )
        return cls(layers, int(num_tokens))

    def check_layers(self, num_experts: Mapping[int, int]) -> None:
        """Refuse statistics that are not of the sparse layers of a model.

        Args:
            num_experts: Experts of the model by decoder layer.

        Raises:
            ValueError: A layer is missing, or has another number of experts.
        """
        mine = {layer: len(sums.routed_tokens) for layer, sums in self.layers.items()}
        wrong = [each for each in sorted({*mine, *num_experts}) if mine.get(each) != num_experts.get(each)]
        if wrong:
            raise ValueError(
                f"The statistics hold {mine.get(wrong[0], 0)} experts of layer {wrong[0]}, and the model has "
                f"{num_experts.get(wrong[0], 0)} there: they are not of this model. Calibrate it."
            )

    def save(self, path: str | Path) -> None:
        """Write the sums as a safetensors file."""
        tensors, metadata = self.to_tensors()
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> ExpertStatistics:
        """Read what [`~ExpertStatistics.save`] wrote.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: There is no such file.
            FileContentError: It is of another release, damaged, or something else; names the tensor.
        """
        path = Path(path)
        check_is_file(path)
        try:
            with safe_open(path, "pt") as file:
                return cls.from_tensors({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})
        except (ValueError, SafetensorError) as error:
            raise FileContentError(f"{path} holds no statistics of experts: {error}") from error


def _listed(layers: Iterable[int]) -> str:
    return ",".join(map(str, layers))


def _layer_of(sums: Mapping[str, torch.Tensor | None], layer: int) -> LayerStatistics:
    zeros = LayerStatistics.zeros(1)  # tells the types
    first = sums[next(iter(sums))]
    for name, tensor in sums.items():
        if tensor is None or first is None:
            raise ValueError(
                f"these statistics are of another release: they have no {name} of layer {layer}; calibrate again."
            )
        expected = getattr(zeros, name).dtype
        if tensor.dtype != expected or tensor.dim() != 1 or not 0 < len(tensor) == len(first):
            raise ValueError(
                f"{layer}.{name} has {tensor.dtype} numbers of shape {tuple(tensor.shape)}, not one of "
                f"{expected} for each expert; calibrate again."
            )
        # The gate weights of a token may sum to zero; the criterion that divides by that says so itself.
        if name != "renormalised_norm_sum" and not torch.isfinite(tensor).all():
            raise ValueError(f"{layer}.{name} holds NaN or infinite values; calibrate again.")
    return LayerStatistics(**sums)  # type: ignore[arg-type]
