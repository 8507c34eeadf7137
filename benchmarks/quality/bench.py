# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One trained model with its data: prunes it virtually in any way, and asks it the held-out questions."""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.calibration.criteria import PruningOrder, order_experts
from optimum_evoesap.calibration.criterion_names import AUTO
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.statistics import ExpertStatistics
from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.sparse_model import SparseModel
from optimum_evoesap.run.inputs import ModelInputs
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.find import SearchOutcome, find_allocation, make_strategy
from optimum_evoesap.search.inputs import search_inputs
from optimum_evoesap.search.order import Ranker
from optimum_evoesap.search.planning import allocation_space

from . import checkpoint
from .tokens import Cost


TINY_MOE = Path(__file__).parents[2] / "examples" / "tiny_moe"
sys.path.insert(0, str(TINY_MOE))

from evaluate import generate_replies  # noqa: E402
from make_data import HELDOUT_FILE, read_jsonl  # noqa: E402
from tasks import is_correct  # noqa: E402


# Rows for calibration and for the search: of all tasks, or of word problems and sums alone.
DATA = {
    "broad": ("calibration.jsonl", "search.jsonl"),
    "narrow search": ("calibration.jsonl", "search_narrow.jsonl"),
    "narrow": ("search_narrow.jsonl", "search_narrow.jsonl"),
}
SIZES: dict[str, Any] = {
    "sequence_length": 512,
    "calibration_samples": 64,
    "search_samples": 64,
    "holdout_fraction": 0.375,
    "batch_size": 32,
    # What is compared are the methods; how often the guard would step in follows from the intervals.
    "guard": False,
}


def load_model(path: str | Path) -> PreTrainedModel:
    """A trained model in float32 on the GPU where there is one."""
    path = Path(path)
    model = AutoModelForCausalLM.from_pretrained(path).float() if path.is_dir() else checkpoint.load(path)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Found:
    """What a method found, and what it cost."""

    outcome: SearchOutcome
    uniform: Candidate
    ordering: Cost
    search: Cost


class Bench:
    """One model with one choice of data and one seed of the search.

    Args:
        model: The trained model.
        data: A name in `DATA`.
        seed: Order of the data, and all that a search draws.
        orders: Folder in which orders of experts are kept with what they cost.
    """

    def __init__(self, model: PreTrainedModel, data: str, seed: int, orders: Path):
        self.model, self.seed, self._orders = model, seed, orders
        orders.mkdir(parents=True, exist_ok=True)
        self.tokenizer = AutoTokenizer.from_pretrained(TINY_MOE / "checkpoint")
        self.sparse_model = SparseModel(model)
        self.inputs = self._inputs(*DATA[data])

    def _inputs(self, calibration: str, search: str) -> ModelInputs:
        inputs = ModelInputs(self.model, self.config(), self.tokenizer)
        for kind, name in (("calibration", calibration), ("search", search)):
            inputs.get(kind, self._rows(name))
        return inputs

    @cached_property
    def heldout(self) -> SliceScorer:
        """Scores on windows of all tasks that no search sees, also where it sees narrow data."""
        inputs = self._inputs(*DATA["broad"])
        _, heldout = inputs.holdout_split(inputs.get("search"))
        return SliceScorer(self.sparse_model, list(inputs.batches(heldout)), rows_at_once=inputs.rows_at_once)

    def config(self, **options: Any) -> EvoESAPConfig:
        """The configuration of a run."""
        return EvoESAPConfig(**SIZES | {"seed": self.seed} | options)

    def _rows(self, name: str) -> list[dict[str, Any]]:
        rows = read_jsonl(TINY_MOE / "data" / name)
        random.Random(self.seed).shuffle(rows)
        return rows

    @cached_property
    def statistics(self) -> ExpertStatistics:
        """What each expert does on the calibration data."""
        batches = list(self.inputs.batches(self.inputs.get("calibration")))
        with fused_forward(self.model):
            return observe_experts(self.sparse_model, batches, progress=False)

    def order(self, criterion: str, sparsity: float) -> tuple[PruningOrder, dict[int, torch.Tensor], Cost]:
        """The pruning order of a criterion, its scores, and what it cost beyond the statistics; measured once.

        Args:
            criterion: Its name; `auto` chooses at the sparsity, all others are the same at each.
            sparsity: Share of the experts that goes.
        """
        name = f"{criterion} {sparsity}" if criterion == AUTO else criterion
        path, cost = self._orders / f"{name}.json", Cost(self.sparse_model)
        if path.exists():
            content = json.loads(path.read_text())
            scores = {int(layer): torch.tensor(each, dtype=torch.float64) for layer, each in content["scores"].items()}
            cost.tokens, cost.seconds = content["tokens"], content["seconds"]
            groups = {layer.index: layer.num_groups for layer in self.sparse_model.layers}
            return order_experts(scores, groups), scores, cost
        config, statistics = self.config(criterion=criterion, sparsity=sparsity), self.statistics
        space = allocation_space(config, self.sparse_model.layers, self.model)
        with cost:
            ranked = Ranker(config, self.sparse_model, space, {}, statistics, self.inputs, RunState()).rank()
        content = {"tokens": cost.tokens, "seconds": cost.seconds}
        content["scores"] = {layer: each.tolist() for layer, each in ranked.scores.items()}
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(content))
        partial.replace(path)
        return ranked.order, ranked.scores, cost

    def find(self, criterion: str, sparsity: float, **options: Any) -> Found:
        """Prune virtually.

        Args:
            criterion: Which experts go first.
            sparsity: Share of the experts that goes.
            **options: Others of the configuration, `allocation` among them.
        """
        order, _, ordering = self.order(criterion, sparsity)
        # Removed counts say how much goes.
        given = options if isinstance(options.get("allocation"), list) else {"sparsity": sparsity, **options}
        config = self.config(criterion=criterion, **given)
        space = allocation_space(config, self.sparse_model.layers, self.model)
        data, _ = search_inputs(self.inputs, RunState(), self.sparse_model, order, config)
        with Cost(self.sparse_model) as search, fused_forward(self.model):
            outcome = find_allocation(self.sparse_model, order, space, config, replace(data, holdout=()))
        uniform = make_strategy(order, space, config).uniform
        return Found(outcome, uniform, ordering, search)

    def global_counts(self, criterion: str, sparsity: float) -> list[int]:
        """Removed counts where the experts with the lowest scores of all layers go.

        Scores of statistics are shares of their layer's sum; those of measured criteria are of one scale.

        Args:
            criterion: The criterion.
            sparsity: Share of the experts that goes.
        """
        order, scores, _ = self.order(criterion, sparsity)
        space = allocation_space(self.config(sparsity=sparsity), self.sparse_model.layers, self.model)
        shares = {layer: values if criterion == "esap" else values / values.sum() for layer, values in scores.items()}
        # In pruning order within a layer, so that a prefix of each order goes.
        ranked = sorted(
            (shares[layer][expert].item(), rank, place)
            for place, (layer, limit) in enumerate(zip(space.layers, space.max_removed))
            for rank, expert in enumerate(order[layer][:limit])
        )
        counts = [0] * len(space.layers)
        for _, _, place in ranked[: space.budget]:
            counts[place] += 1
        return counts

    @torch.no_grad()
    def answers(self, candidate: Candidate | None = None, batch_size: int = 160) -> list[bool]:
        """Which of the held-out questions are answered exactly, by real generation.

        Args:
            candidate: The candidate; by default the whole model.
            batch_size: Questions at once.
        """
        rows = read_jsonl(HELDOUT_FILE)
        lengths = [len(self.tokenizer(row["messages"][-1]["content"])["input_ids"]) for row in rows]
        by_length = sorted(range(len(rows)), key=lengths.__getitem__)
        right = [False] * len(rows)
        with self.sparse_model.sliced(candidate or {}):
            for start in range(0, len(rows), batch_size):
                batch = by_length[start : start + batch_size]
                prompts = [rows[each]["messages"][0]["content"] for each in batch]
                replies = generate_replies(self.model, self.tokenizer, prompts, max(lengths[one] for one in batch) + 4)
                for each, reply in zip(batch, replies):
                    right[each] = is_correct(rows[each], reply)
        return right
