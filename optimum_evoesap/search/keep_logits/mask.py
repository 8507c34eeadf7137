# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`KeepMask`]: which experts a drawn candidate keeps, as factors through which a gradient reaches the keep logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch


# Called with logits by decoder layer; gives the experts that each layer keeps.
Choose = Callable[[Mapping[int, Sequence[float]]], Mapping[int, Sequence[int]]]
# Halvings of the interval in which the threshold of the soft mask lies: enough for float32.
_HALVINGS = 40


class KeepMask:
    """Draws candidates around keep logits: a hard choice over all layers whose gradient is that of a soft one.

    Args:
        logits: The keep logits to begin with, by decoder layer.
        choose: Which experts are kept for given logits.
        seed: Of the noise.
        least: Fewest experts that each layer keeps; none by default.

    Attributes:
        values: The logits of all layers, one after the other; a leaf that wants a gradient.
    """

    def __init__(
        self,
        logits: Mapping[int, Sequence[float]],
        choose: Choose,
        seed: int,
        least: Mapping[int, int] | None = None,
    ):
        self._least = dict(least or {})
        self._sizes = {layer: len(values) for layer, values in logits.items()}
        self._choose = choose
        self._generator = torch.Generator().manual_seed(seed)
        flat = [float(value) for values in logits.values() for value in values]
        self.values = torch.tensor(flat, dtype=torch.float32, requires_grad=True)

    def logits(self) -> dict[int, list[float]]:
        """The logits now, by decoder layer."""
        return self._by_layer(self.values.detach())

    @property
    def drawn(self) -> torch.Tensor:
        """How far the noise is drawn."""
        return self._generator.get_state()

    def go_on_from(self, values: torch.Tensor, drawn: torch.Tensor) -> None:
        """Begin with what an earlier run has trained.

        Args:
            values: Its `values`.
            drawn: Its `drawn`.

        Raises:
            ValueError: They are of other layers.
        """
        if values.shape != self.values.shape:
            raise ValueError(f"{len(values)} keep logits, where there are {len(self.values)}")
        with torch.no_grad():
            self.values.copy_(values)
        self._generator.set_state(drawn)

    def draw(self, temperature: float, noise: float) -> dict[int, torch.Tensor]:
        """Factors of the experts of each layer: one for kept ones, zero for the others.

        Backwards they are those of a sigmoid around the threshold that keeps as many experts: one threshold for all
        layers, and one of its own for each that cannot lose any more.

        Args:
            temperature: Of the sigmoid.
            noise: Of Gumbel noise on the logits, as a factor.
        """
        uniform = torch.rand(self.values.shape, generator=self._generator).clamp_(1e-20, 1 - 1e-7)
        noisy = self.values - noise * torch.log(-torch.log(uniform))
        kept = self._choose(self._by_layer(noisy.detach()))
        scaled = dict(zip(self._sizes, (noisy / temperature).split(list(self._sizes.values()))))
        hard = {layer: _indicator(kept[layer], size) for layer, size in self._sizes.items()}
        full = [layer for layer in self._sizes if len(kept[layer]) <= self._least.get(layer, 0)]
        thresholds = {layer: _threshold([scaled[layer]], len(kept[layer])) for layer in full}
        others = [layer for layer in self._sizes if layer not in thresholds]
        if others:
            shared = _threshold([scaled[layer] for layer in others], sum(len(kept[layer]) for layer in others))
            thresholds |= dict.fromkeys(others, shared)
        soft = {layer: torch.sigmoid(scaled[layer] - thresholds[layer]) for layer in self._sizes}
        # The bracket is exactly zero.
        return {layer: hard[layer] + (soft[layer] - soft[layer].detach()) for layer in self._sizes}

    def _by_layer(self, values: torch.Tensor) -> dict[int, list[float]]:
        parts = values.split(list(self._sizes.values()))
        return {layer: part.tolist() for layer, part in zip(self._sizes, parts)}


def _indicator(kept: Sequence[int], size: int) -> torch.Tensor:
    indicator = torch.zeros(size)
    indicator[list(kept)] = 1.0
    return indicator


def _threshold(parts: Sequence[torch.Tensor], total: float) -> torch.Tensor:
    """The number that, taken from all values, makes their sigmoids sum to `total`."""
    values = torch.cat([each.detach() for each in parts])
    low, high = values.double().min() - 50.0, values.double().max() + 50.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_many = torch.sigmoid(values - middle).sum() > total
        low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
    return ((low + high) / 2).to(values.dtype)
