# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Prune the bundled model at 50% with the same number of experts from each layer, and with EvoESAP; compare.

    python examples/demo.py

Both pruned models are written to `demo_output/`, loaded again from there, and measured on held-out examples.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult


EXAMPLES = Path(__file__).resolve().parent
TINY_MOE = EXAMPLES / "tiny_moe"
sys.path.insert(0, str(TINY_MOE))

from evaluate import complete, exact_match  # noqa: E402
from make_data import HELDOUT_FILE, read_jsonl  # noqa: E402


BARS = "▁▂▃▄▅▆▇█"
COLUMNS = ("full model", "uniform REAP", "the paper", "ours")


# How each column chooses what goes: the same number of experts from every layer by the criterion REAP; the paper's
# search of how many go from each layer, by that criterion; and the defaults, a measured criterion with the guided
# search.
METHODS: dict[str, dict[str, str]] = {
    "uniform REAP": {"criterion": "reap", "allocation": "uniform"},
    "the paper": {"criterion": "reap", "allocation": "evolution"},
    "ours": {},
}


def make_config(method: str, sparsity: float) -> EvoESAPConfig:
    """Data and sizes small enough for two CPU cores."""
    return EvoESAPConfig(
        sparsity=sparsity,
        calibration_dataset=str(TINY_MOE / "data" / "calibration.jsonl"),
        calibration_samples=128,
        search_dataset=str(TINY_MOE / "data" / "search.jsonl"),
        search_samples=48,
        holdout_fraction=0.25,
        sequence_length=256,
        batch_size=12,
        population_size=16,
        generations=10,
        **METHODS[method],
    )


def prune(config: EvoESAPConfig, output: Path) -> PruningResult:
    """The whole library in two lines."""
    pruner = MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config=config, dtype=torch.float32)
    pruner.prune(save_directory=output)
    return pruner.result


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A checkpoint from disk; the import of optimum_evoesap above is all that a pruned one needs."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(path)


def bar_chart(counts: list[int], most: int) -> str:
    """One bar a layer."""
    return "".join(BARS[round(count / most * (len(BARS) - 1))] for count in counts)


def print_table(rows: list[tuple[str, list[str]]]) -> None:
    width = max(len(name) for name, _ in rows) + 2
    print("\n" + " " * width + "".join(f"{name:>14}" for name in COLUMNS))
    for name, values in rows:
        print(f"{name:<{width}}" + "".join(f"{value:>14}" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--sparsity", type=float, default=0.5)
    args = parser.parse_args()
    transformers_logging.disable_progress_bar()
    start = time.perf_counter()

    print(f"Removing {args.sparsity:.0%} of the experts of {TINY_MOE.name} in three ways.")
    folders = [args.output / method.replace(" ", "-") for method in METHODS]
    results = [prune(make_config(method, args.sparsity), folder) for method, folder in zip(METHODS, folders)]

    models = [load(folder) for folder in (TINY_MOE / "checkpoint", *folders)]
    heldout = read_jsonl(HELDOUT_FILE)
    matches = [exact_match(model, tokenizer, heldout) for model, tokenizer in models]

    whole = results[0]
    sizes = [whole.size_in_bytes["before"], *(each.size_in_bytes["after"] for each in results)]
    parameters = [whole.parameters["before"], *(each.parameters["after"] for each in results)]
    kept = [whole.num_experts, *(list(map(len, each.kept_experts.values())) for each in results)]
    # The search of the paper scores the uniform allocation of the same criterion too.
    scores = [results[1].scores["holdout_uniform"], *(each.scores["holdout_best"] for each in results[1:])]
    esap = [1.0, *scores]
    # The checkpoints are bfloat16; the demo computes in float32 because that is what a CPU is good at.
    rows = [
        ("parameters", [f"{count / 1e6:.2f} M" for count in parameters]),
        ("size (float32)", [f"{size / 2**20:.1f} MB" for size in sizes]),
        ("experts per layer", [bar_chart(counts, max(whole.num_experts)) for counts in kept]),
        ("", [f"{min(counts)} to {max(counts)}" for counts in kept]),
        ("held-out ESAP", [f"{value:.3f}" for value in esap]),
        ("held-out exact match", ["" for _ in matches]),
        *((f"  {task}", [f"{match[task]:.3f}" for match in matches]) for task in matches[0]),
    ]
    print_table(rows)

    question = next(row for row in heldout if row["task"] == "word_problem")
    print(
        f"\n{'question':<12}{question['messages'][0]['content']}\n{'expected':<12}{question['messages'][1]['content']}"
    )
    for name, (model, tokenizer) in zip(COLUMNS, models):
        answer = complete(model, tokenizer, question["messages"][0]["content"])
        print(f"{name:<12}{' '.join(answer.split())}")
    print(f"\n{time.perf_counter() - start:.0f} seconds. The pruned models are in {args.output}/.")


if __name__ == "__main__":
    main()
