# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a finished pruning run found and did, as one JSON file that travels with the checkpoint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.short_repr import ShortRepr
from .figures import score_rows
from .text import share


RESULT_NAME = "evoesap_result.json"


@dataclass(repr=False)
class PruningResult(ShortRepr):
    """The record of one pruning run, written as `evoesap_result.json` next to the checkpoint.

    Attributes:
        base_model: Hub id or path of the unpruned model (the teacher), `None` for a model made in memory.
        model_type: The `model_type` of its config.
        criterion: Name of the criterion that ordered the experts.
        fitness: Name of the fitness that the scores are of; `None` when nothing was scored.
        sparsity: Removed experts over all routed experts, as achieved.
        budget: Number of removed experts; `sum(allocation)`.
        sparse_layers: Decoder-layer indices of the sparse layers, in order.
        num_experts: Routed experts of each sparse layer before pruning.
        allocation: Experts removed from each sparse layer.
        kept_experts: For each decoder layer, the kept experts by their index in the unpruned model.
        scores: Fitness by name: `best` (this allocation) and `uniform` on the search data, `holdout_best` and
            `holdout_uniform` on sequences that the search never saw. Empty when there were no search data.
        beats_uniform: Whether the allocation beats the uniform one on the held-out sequences (`None`: not compared).
        not_compared_because: Why it was not compared, where there are scores; otherwise empty.
        history: One entry a generation: `generation`, `best`, `uniform`, `mean`, `candidates` (scored so far),
            `allocation` (the best so far).
        parameters: Parameter counts, `before` and `after`.
        size_in_bytes: Bytes of all parameters and buffers, `before` and `after`.
        data: For `calibration` and `search`: `description`, `fingerprint`, `sequences`, `tokens`, `scored_tokens`.
        seed: Seed of the run.
        versions: Versions of the packages that made it.
        model_loader: The class in transformers that loads the checkpoint.
        tokenizer_loader: The class in transformers that loads its tokenizer or processor.
    """

    base_model: str | None
    model_type: str
    criterion: str
    fitness: str | None
    sparsity: float
    budget: int
    sparse_layers: list[int]
    num_experts: list[int]
    allocation: list[int]
    kept_experts: dict[int, list[int]]
    scores: dict[str, float] = field(default_factory=dict)
    beats_uniform: bool | None = None
    not_compared_because: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    size_in_bytes: dict[str, int] = field(default_factory=dict)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    model_loader: str = "AutoModelForCausalLM"
    tokenizer_loader: str = "AutoTokenizer"

    @property
    def kept_counts(self) -> list[int]:
        """Experts that each sparse layer keeps."""
        return [total - removed for total, removed in zip(self.num_experts, self.allocation)]

    @property
    def sizes(self) -> list[dict[str, int]]:
        """`before` and `after` of the routed experts, the parameters and the bytes, where they are known."""
        experts = {"before": sum(self.num_experts), "after": sum(self.kept_counts)}
        return [experts, self.parameters, self.size_in_bytes]

    @property
    def is_uniform(self) -> bool:
        """Whether all sparse layers keep the same number of experts."""
        # A plain checkpoint can store only one number of experts, so the kept counts decide, not the removed ones.
        return len(set(self.kept_counts)) <= 1

    def _summary(self) -> list[tuple[str, str]]:
        verdict = "beats the uniform allocation" if self.beats_uniform else "does not beat the uniform allocation"
        if self.beats_uniform is None:
            verdict = f"not compared, {self.not_compared_because}" if self.not_compared_because else "not compared"
        scores = [
            (f"{self.fitness} on {data}", f"{best} (uniform {uniform})")
            for data, best, uniform in score_rows(self.scores, ("search data", "held-out data"))
        ]
        return [
            ("base model", self.base_model or "made in memory"),
            ("criterion", self.criterion),
            ("removed", f"{self.budget} of {sum(self.num_experts)} experts ({share(self.sparsity)})"),
            *(scores or [("scores", "none")]),
            *([("verdict", verdict)] if scores else []),
        ]

    def save(self, directory: str | Path) -> Path:
        """Write `evoesap_result.json` into `directory` and return its path."""
        path = Path(directory) / RESULT_NAME
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, directory: str | Path) -> PruningResult:
        """Read `evoesap_result.json` from `directory`.

        Raises:
            FileNotFoundError: The folder holds no such file.
        """
        values = json.loads((Path(directory) / RESULT_NAME).read_text(encoding="utf-8"))
        values["kept_experts"] = {int(layer): experts for layer, experts in values["kept_experts"].items()}
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
