# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Ranking`]: what a run measured of the experts of its base, kept beside its result for runs with another budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ..calibration.criteria import PruningOrder
from ..calibration.statistics import ExpertStatistics, LayerStatistics
from ..models.hub_file import find_file
from ..models.origin import ModelOrigin
from ..models.short_repr import ShortRepr
from ..models.size import dtype_name
from ..reading import read_json
from ..run.versions import package_versions
from .names import LOCAL_MODEL, is_hub_id
from .public import public_data
from .ranking_file import RankingFile, StatisticsEntry, check_layers


# JSON, which keeps every bit of a float: servers read all files of a checkpoint that end with .safetensors.
RANKING_NAME = "evoesap_ranking.json"


@dataclass(repr=False)
class Ranking(ShortRepr):
    """What a run measured of the experts of its base, written as `evoesap_ranking.json` next to the checkpoint.

    It names no file of the machine that it was made on.

    Attributes:
        statistics: Sums over the calibration data.
        criterion: Name of the criterion.
        scores: What it gave, by decoder layer, shape (experts,).
        order: Experts of each layer from the first to go to the last, as the run used them.
        base_model: Hub id of the unpruned model; `None` for a local one.
        base_weights: Digest of its weights.
        dtype: Number format of them.
        model_type: The `model_type` of its config.
        data: Of the calibration data: `description`, `fingerprint`, `sequences`, `tokens`, `scored_tokens`.
        versions: Versions of the packages that measured it.
    """

    statistics: ExpertStatistics
    criterion: str
    scores: dict[int, torch.Tensor]
    order: PruningOrder
    base_model: str | None
    base_weights: str
    dtype: str
    model_type: str
    data: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        weights: str,
        statistics: ExpertStatistics,
        criterion: str,
        scores: dict[int, torch.Tensor],
        order: PruningOrder,
        data: Mapping[str, Any],
        origin: ModelOrigin,
    ) -> Ranking:
        """That of a model which is still whole.

        Args:
            model: The model.
            weights: Digest of its weights.
            statistics: Sums over the calibration data.
            criterion: Name of the criterion.
            scores: What it gave.
            order: The order that follows.
            data: Summary of the calibration data.
            origin: Where the model came from.
        """
        name = origin.name
        return cls(
            statistics,
            criterion,
            scores,
            order,
            name if is_hub_id(name) else None,
            weights,
            dtype_name(model),
            model.config.model_type,
            public_data(data),
            package_versions(),
        )

    def check_base(self, model: PreTrainedModel, weights: str, num_experts: Mapping[int, int]) -> None:
        """Refuse a model that it was not measured on.

        Args:
            model: The model.
            weights: Digest of its weights.
            num_experts: Experts by decoder layer.

        Raises:
            ValueError: It is another model, or was read in another dtype; names both.
        """
        mine = (model.config.model_type, dict(num_experts), weights)
        theirs = (self.model_type, {layer: len(order) for layer, order in self.order.items()}, self.base_weights)
        if mine == theirs:
            return
        names = (self.base_model or LOCAL_MODEL, model.config.name_or_path or "a model made in memory")
        kinds = [
            f"{kind}, {sum(experts.values())} experts in {len(experts)} layers, {dtype}"
            for (kind, experts, _), dtype in ((theirs, self.dtype), (mine, dtype_name(model)))
        ]
        # Where all else is the same, another release of transformers may read a checkpoint in another way.
        releases = [versions.get("transformers") for versions in (self.versions, package_versions())]
        if kinds[0] == kinds[1] and releases[0] != releases[1]:
            kinds = [f"{kind}, read by transformers {release}" for kind, release in zip(kinds, releases)]
        raise ValueError(
            f"The ranking was measured on {names[0]} ({kinds[0]}), and the weights of {names[1]} ({kinds[1]}) are not "
            "the same. Give that model in that dtype, or calibrate this one."
        )

    def save(self, directory: str | Path) -> Path:
        """Write `evoesap_ranking.json` into `directory` and return its path."""
        path = Path(directory) / RANKING_NAME
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        del values["statistics"], values["scores"], values["order"]
        values["num_tokens"] = self.statistics.num_tokens
        values["layers"] = {layer: self._layer_to_json(layer) for layer in self.order}
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")
        return path

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> Ranking:
        """Read a ranking from wherever it is.

        Args:
            name_or_path: An `evoesap_ranking.json`, the folder that holds one, or a repository on the Hub.
            revision: Branch, tag or commit of the repository.
            token: Access token for the Hub.
            cache_dir: Where downloads are kept.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The Hub has no such repository, or cannot be reached.
            ValueError: It is no ranking, or one of another release.
        """
        found = find_file(name_or_path, RANKING_NAME, revision=revision, token=token, cache_dir=cache_dir)
        remedy = "It may be damaged, or of another release: calibrate once more."
        return cls._from_file(read_json(found.path, RankingFile, "a ranking of optimum-evoesap", remedy, check_layers))

    def _layer_to_json(self, layer: int) -> dict[str, Any]:
        statistics = self.statistics.layers[layer]
        sums = {each.name: getattr(statistics, each.name).tolist() for each in fields(statistics)}
        return {"order": self.order[layer], "scores": self.scores[layer].tolist(), "statistics": sums}

    @classmethod
    def _from_file(cls, file: RankingFile) -> Ranking:
        statistics = {layer: _statistics(entry.statistics) for layer, entry in file.layers.items()}
        return cls(
            statistics=ExpertStatistics(statistics, file.num_tokens),
            criterion=file.criterion,
            scores={layer: torch.tensor(entry.scores, dtype=torch.float64) for layer, entry in file.layers.items()},
            order={layer: entry.order for layer, entry in file.layers.items()},
            base_model=file.base_model,
            base_weights=file.base_weights,
            dtype=file.dtype,
            model_type=file.model_type,
            data=file.data,
            versions=file.versions,
        )

    def _summary(self) -> list[tuple[str, str]]:
        return [
            ("base model", self.base_model or LOCAL_MODEL),
            ("criterion", self.criterion),
            ("sparse layers", str(len(self.order))),
            ("tokens", f"{self.statistics.num_tokens:,}"),
        ]


def _statistics(sums: StatisticsEntry) -> LayerStatistics:
    zeros = LayerStatistics.zeros(1)  # tells the types
    tensors = {
        each.name: torch.tensor(getattr(sums, each.name), dtype=getattr(zeros, each.name).dtype)
        for each in fields(zeros)
    }
    return LayerStatistics(**tensors)
