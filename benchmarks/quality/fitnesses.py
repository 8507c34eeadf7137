# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How well each fitness ranks candidates by what they answer. Run with `python -m benchmarks.quality.fitnesses`.

Candidates of one budget, by several criteria and with allocations from the uniform one to far from it, are scored by
every fitness on the search windows; they answer the held-out questions, and they draft for the whole model in assisted
generation, of which the share of accepted tokens is taken. `--output` gets one row a candidate.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers.generation.candidate_generator import AssistedCandidateGenerator

from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.sparse_model import SparseModel
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.planning import allocation_space

from .bench import HELDOUT_FILE, Bench, load_model, read_jsonl
from .pool import HERE, do_all, model_paths


FITNESSES = ("esap", "kl", "reverse_kl", "nll", "sampled_acceptance")
COLUMNS = ("model", "sparsity", "number", "criterion", *FITNESSES, "acceptance", "exact_match")
CRITERIA = ("reap", "frequency", "esap")
DRAFTED, MOST_TOKENS = 5, 48


def candidates_of(bench: Bench, sparsity: float, count: int) -> list[tuple[str, Candidate]]:
    """Candidates with their criterion: of each in turn, the uniform allocation and ever more mutated ones."""
    space = allocation_space(bench.config(sparsity=sparsity), bench.sparse_model.layers, bench.model)
    generator, found = random.Random(0), []
    for number in range(count):
        criterion = CRITERIA[number % len(CRITERIA)]
        counts = space.uniform()
        for _ in range(number // len(CRITERIA)):
            counts = space.mutate(counts, generator, 3, 2)
        removed = dict(zip(space.layers, counts))
        found.append((criterion, Candidate.from_order(bench.order(criterion, sparsity)[0], removed)))
    return found


@torch.no_grad()
def acceptance(bench: Bench, candidate: Candidate, num_prompts: int = 24) -> float:
    """Share of the tokens that the whole model accepts, of those it looks at, in real assisted generation."""
    draft = SparseModel(deepcopy(bench.model))
    draft.remove(candidate)
    settings = draft.model.generation_config
    settings.num_assistant_tokens, settings.num_assistant_tokens_schedule = DRAFTED, "constant"
    settings.assistant_confidence_threshold = 0.0
    accepted, looked_at = 0, 0

    def count(self: Any, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: int) -> None:
        nonlocal accepted, looked_at
        drafted = scores.shape[1] - 1
        accepted += int(num_matches)
        looked_at += min(int(num_matches) + 1, drafted)

    rows = read_jsonl(HELDOUT_FILE)
    torch.manual_seed(0)
    with mock.patch.object(AssistedCandidateGenerator, "update_candidate_strategy", count):
        for row in rows[:: len(rows) // num_prompts]:
            inputs = bench.tokenizer.apply_chat_template(
                row["messages"][:1], add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(bench.model.device)
            tokens = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            ends = {"eos_token_id": bench.tokenizer.eos_token_id, "pad_token_id": bench.tokenizer.pad_token_id}
            bench.model.generate(
                **tokens, **ends, assistant_model=draft.model, do_sample=True, top_k=0, max_new_tokens=MOST_TOKENS
            )
    return accepted / looked_at


def rank(
    model: str, path: str, orders: str, sparsity: float, count: int, first: int, step: int
) -> list[dict[str, Any]]:
    """Some of the candidates of a model, in all ways."""
    bench = Bench(load_model(path), "broad", 0, Path(orders) / model)
    chosen = list(enumerate(candidates_of(bench, sparsity, count)))[first::step]
    search, _ = bench.inputs.holdout_split(bench.inputs.get("search"))
    batches = list(bench.inputs.batches(search))
    rows: list[dict[str, Any]] = [
        {"model": model, "sparsity": sparsity, "number": number, "criterion": criterion}
        for number, (criterion, _) in chosen
    ]
    for fitness in FITNESSES:
        with fused_forward(bench.model):
            scorer = SliceScorer(bench.sparse_model, batches, fitness, rows_at_once=bench.inputs.rows_at_once)
            for row, (_, (_, candidate)) in zip(rows, chosen):
                row[fitness] = scorer.score(candidate).mean
    for row, (_, (_, candidate)) in zip(rows, chosen):
        right = bench.answers(candidate)
        row |= {"acceptance": acceptance(bench, candidate), "exact_match": sum(right) / len(right)}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder with the trained models")
    parser.add_argument("--output", type=Path, default=HERE / "fitnesses.csv", help="the table; written anew")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--candidates", type=int, default=36)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--parts", type=int, default=4, help="tasks that the candidates of a model are split into")
    parser.add_argument("--minutes", type=float, default=60.0)
    arguments = parser.parse_args()
    orders = tempfile.mkdtemp()
    tasks = [
        (name, str(path), orders, arguments.sparsity, arguments.candidates, part, arguments.parts)
        for name, path in model_paths(arguments.models).items()
        for part in range(arguments.parts)
    ]
    deadline = time.time() + 60 * arguments.minutes
    found = do_all(f"{__package__}.fitnesses.rank", tasks, arguments.processes, arguments.gpus, deadline)
    rows = sorted((row for _, rows in found for row in rows), key=lambda row: (row["model"], row["number"]))
    with arguments.output.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in rows:
            table.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
    print(f"{len(rows)} candidates", flush=True)


if __name__ == "__main__":
    main()
