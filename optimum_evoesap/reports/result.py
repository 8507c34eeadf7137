# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a finished pruning run found and did, as one JSON file that travels with the checkpoint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.hub_file import find_file
from ..models.short_repr import ShortRepr
from ..reading import read_json
from .figures import score_rows
from .result_file import check_fields
from .text import interval, share


RESULT_NAME = "evoesap_result.json"


@dataclass(repr=False)
class PruningResult(ShortRepr):
    """The record of one pruning run, written as `evoesap_result.json` next to the checkpoint.

    Attributes:
        base_model: Hub id or absolute path of the unpruned model (the teacher), `None` for a model made in memory.
        base_revision: Commit of the Hub that it was loaded from, if it was.
        model_type: The `model_type` of its config.
        criterion: Name of the criterion that ordered the experts; `None` where the kept experts were given.
        criterion_scores: Where the criterion was to be chosen: the fitness that the order of each criterion reaches at
            the budget, on the windows that criteria are measured on. Otherwise empty.
        fitness: Name of the fitness that the scores are of; `None` when nothing was scored.
        sparsity: Removed experts over all routed experts, as achieved.
        budget: Number of removed experts; `sum(allocation)`.
        sparse_layers: Decoder-layer indices of the sparse layers, in order.
        num_experts: Routed experts of each sparse layer before pruning.
        allocation: Experts removed from each sparse layer.
        kept_experts: For each decoder layer, the kept experts by their index in the unpruned model.
        protected_experts: For decoder layers that have some, experts that were to stay in any case: those of `keep`,
            and super experts.
        scores: Fitness by name: `best` (this allocation) and `uniform` on the search data, `holdout_best` and
            `holdout_uniform` on sequences that the search never saw; where `is_guarded`, also `found` and
            `holdout_found`, of the allocation that was not taken. Empty when there were no search data.
        interval: By how much the allocation that was found or given scores higher than the uniform one on the held-out
            sequences: a paired 95% bootstrap interval, from low to high. `None`: not compared, or on one sequence
            alone, which gives none, or of a release that made none.
        domains: The same comparison in each domain of the held-out sequences, where they are of several: `best`,
            `uniform` and `interval` (`None` for one sequence), and `found` where `is_guarded`.
        goal: What the search maximised: the `mean`, or that of the `worst` domain, of which `interval` is then too.
        beats_uniform: Whether all of `interval` lies above zero; without one, whether the allocation that was found or
            given scores higher (`None`: not compared).
        is_guarded: Whether the allocation that was found did not beat the uniform one, which was taken in its place.
        stopped_because: Why the search stopped; empty where nothing was searched.
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
        base_weights: A digest of all weights of the unpruned model, by which another run knows the same model.
        dtype: Number format of those weights.
        applied_from: Of a result that was applied and not found here: the `result` that it was read from (`None` for
            one in memory) and its `revision`, and of the run that made it `base_model`, `base_weights`, `dtype` and
            `versions`. The scores, the history and the data are then those of that run. Otherwise empty.
        dropped_layers: Counts and lists of layers for multi-token prediction that the config no longer claims, since
            the loaded model had no such layers.
        float32_tensors: Tensors that were written as float32, as in the base model, though loading had cast them.
        cast_tensors: Tensors that are float32 in the base model and were written in the dtype of the others.
        files: Names of all files that were written with it, with `/` between the parts; a later result in their place
            removes them. Empty before it is written.
        seal: Fingerprint of this record and of the run that wrote it, by which the same run, started again, knows that
            it has ended. `None` for what no whole run wrote.
        loaded_from: Where this record was read from, itself not written: as `result` and `revision` of `applied_from`.
    """

    base_model: str | None
    model_type: str
    criterion: str | None
    fitness: str | None
    sparsity: float
    budget: int
    sparse_layers: list[int]
    num_experts: list[int]
    allocation: list[int]
    kept_experts: dict[int, list[int]]
    base_revision: str | None = None
    criterion_scores: dict[str, float] = field(default_factory=dict)
    protected_experts: dict[int, list[int]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    interval: list[float] | None = None
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    goal: str = "mean"
    beats_uniform: bool | None = None
    is_guarded: bool = False
    stopped_because: str = ""
    not_compared_because: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    size_in_bytes: dict[str, int] = field(default_factory=dict)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    model_loader: str = "AutoModelForCausalLM"
    tokenizer_loader: str = "AutoTokenizer"
    base_weights: str | None = None
    dtype: str | None = None
    applied_from: dict[str, Any] = field(default_factory=dict)
    dropped_layers: list[str] = field(default_factory=list)
    float32_tensors: list[str] = field(default_factory=list)
    cast_tensors: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list, compare=False)
    seal: str | None = field(default=None, compare=False)
    loaded_from: dict[str, str | None] = field(default_factory=dict, compare=False)

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

    @property
    def run(self) -> dict[str, Any]:
        """What the run that found it worked on, also where it was applied since: model, weights, dtype, versions."""
        names = ("base_model", "base_weights", "dtype", "versions")
        return {name: self.applied_from[name] if self.applied_from else getattr(self, name) for name in names}

    def _summary(self) -> list[tuple[str, str]]:
        other = "found" if self.is_guarded else "uniform"
        scores = [
            (f"{self.fitness} on {row[0]}", f"{row[1]} ({other} {row[-1]})")
            for row in score_rows(self.scores, ("search data", "held-out data"))
        ]
        return [
            ("base model", self.base_model or "made in memory"),
            ("criterion", self._criterion()),
            ("removed", f"{self.budget} of {sum(self.num_experts)} experts ({share(self.sparsity)})"),
            *(scores or [("scores", "none")]),
            *(self._verdict() if scores else []),
        ]

    def _criterion(self) -> str:
        if self.criterion is None:
            return "none, the kept experts were given"
        return self.criterion + (f", the best of {len(self.criterion_scores)}" if self.criterion_scores else "")

    def _verdict(self) -> list[tuple[str, str]]:
        if self.beats_uniform is None:
            reason = f", {self.not_compared_because}" if self.not_compared_because else ""
            return [("verdict", f"not compared{reason}")]
        verdict = "beats the uniform allocation" if self.beats_uniform else "does not beat the uniform allocation"
        if self.is_guarded:
            verdict = "uniform, as nothing found beats it"
        return [("verdict", verdict), ("difference", interval(self.interval) if self.interval else "no interval")]

    def save(self, directory: str | Path) -> Path:
        """Write `evoesap_result.json` into `directory` and return its path."""
        path = Path(directory) / RESULT_NAME
        values = dataclasses.asdict(self)
        del values["loaded_from"]
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, directory: str | Path) -> PruningResult:
        """Read `evoesap_result.json` from `directory`.

        Raises:
            FileNotFoundError: The folder holds no such file.
            ValueError: It is no record of a run.
        """
        return cls._read(Path(directory) / RESULT_NAME)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> PruningResult:
        """Read the record of a run from wherever it is; [`MoEPruner.apply`] takes it.

        Args:
            name_or_path: An `evoesap_result.json`, the folder that holds one, or a repository on the Hub.
            revision: Branch, tag or commit of the repository.
            token: Access token for the Hub.
            cache_dir: Where downloads are kept.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The Hub has no such repository, or cannot be reached.
            ValueError: It is no record of a run, or `name_or_path` is neither a path nor the id of a repository.
        """
        found = find_file(name_or_path, RESULT_NAME, revision=revision, token=token, cache_dir=cache_dir)
        result = cls._read(found.path)
        result.loaded_from = {"result": found.place, "revision": found.commit}
        return result

    @classmethod
    def _read(cls, path: Path) -> PruningResult:
        result = read_json(
            path, cls, "the result of a run of optimum-evoesap", "Take the file as a run wrote it.", check_fields
        )
        result.loaded_from = {}  # known here alone
        return result
