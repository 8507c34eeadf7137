# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card on what was done, one function each: they turn a [`PruningResult`] into Markdown.

A section for which the record has no data is an empty string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .markdown import markdown_table
from .names import LOCAL_MODEL, is_hub_id
from .text import short_bytes, short_count


if TYPE_CHECKING:
    from .result import PruningResult


PAPER = "https://arxiv.org/abs/2603.06003"
BAR_WIDTH = 24


def method(result: PruningResult, config: dict[str, Any]) -> str:
    """What was done, in two sentences.

    Args:
        result: The record of the run.
        config: The `EvoESAPConfig` of the run, as a dict.
    """
    base = LOCAL_MODEL
    if is_hub_id(result.base_model):
        base = f"[{result.base_model}](https://huggingface.co/{result.base_model})"
    strategy = config.get("allocation", "evolution")
    if result.fitness is not None and isinstance(strategy, str) and strategy != "uniform":
        search = "an evolutionary search" if strategy == "evolution" else f"a search with the strategy `{strategy}`"
        how = f"{search} that maximises {_fitness_name(result)} chose how many of them go from each layer"
    elif is_uniform(result):
        how = "every sparse layer keeps the same number of experts"
    elif config.get("allocation") == "uniform":
        how = "every sparse layer, of those that had different numbers of experts before, loses the same share"
    else:
        how = "how many go from each layer was given by the user"
    return (
        f"This is {base} with {result.budget} of its {sum(result.num_experts)} routed experts ({result.sparsity:.1%}) "
        f"removed with optimum-evoesap ([EvoESAP, arXiv 2603.06003]({PAPER})). Within a sparse layer the criterion "
        f"`{result.criterion}` decides which experts go first; {how}."
    )


def sizes(result: PruningResult) -> str:
    """The model before and after."""
    kept = kept_counts(result)
    rows = [["Routed experts", str(sum(result.num_experts)), _change(sum(result.num_experts), sum(kept), str)]]
    for title, record, form in (
        ("Parameters", result.parameters, short_count),
        ("Size of the weights", result.size_in_bytes, short_bytes),
    ):
        if {"before", "after"} <= record.keys():
            rows.append([title, form(record["before"]), _change(record["before"], record["after"], form)])
    rows.append(["Experts per sparse layer (min / mean / max)", _spread(result.num_experts), _spread(kept)])
    return "## Size\n\n" + markdown_table(["", "Before", "After"], rows)


def fitness(result: PruningResult) -> str:
    """The scores and how they compare with the uniform allocation; empty when nothing was scored."""
    if not result.scores:
        return ""
    pairs = (("Search data", "best", "uniform"), ("Held-out sequences", "holdout_best", "holdout_uniform"))
    rows = [
        [title, *(f"{result.scores[key]:.4f}" if key in result.scores else "not measured" for key in keys)]
        for title, *keys in pairs
        if any(key in result.scores for key in keys)
    ]
    table = markdown_table([_fitness_name(result), "This allocation", "Uniform allocation"], rows)
    return f"## Fitness\n\n{_fitness_definition(result)}\n\n{table}\n\n{_verdict(result)}"


def layers(result: PruningResult) -> str:
    """Experts kept in each layer, with a bar."""
    rows = []
    for layer, before, kept in zip(result.sparse_layers, result.num_experts, kept_counts(result)):
        filled = round(BAR_WIDTH * kept / before)
        rows.append([str(layer), f"{kept} of {before}", f"`{'█' * filled}{'░' * (BAR_WIDTH - filled)}`"])
    text = "Which experts these are is in `evoesap_result.json`, by their index in the model before pruning."
    return f"## Experts kept in each layer\n\n{markdown_table(['Layer', 'Kept', ''], rows)}\n\n{text}"


def kept_counts(result: PruningResult) -> list[int]:
    """Experts that each sparse layer keeps."""
    return [before - removed for before, removed in zip(result.num_experts, result.allocation)]


def is_uniform(result: PruningResult) -> bool:
    """Whether all sparse layers keep the same number of experts."""
    # A plain checkpoint can store only one number of experts, so the kept counts decide, not the removed ones.
    return len(set(kept_counts(result))) <= 1


def _fitness_name(result: PruningResult) -> str:
    return "ESAP" if result.fitness == "esap" else f"the fitness `{result.fitness}`"


def _fitness_definition(result: PruningResult) -> str:
    if result.fitness != "esap":
        return f"What is measured is {_fitness_name(result)}; higher is better."
    return (
        "ESAP is the mean over the scored positions of the sum over the vocabulary of min(p, q), where p and q are "
        "the probabilities of the unpruned and of the pruned model. It lies between 0 and 1, and is 1 for the "
        "unpruned model."
    )


def _verdict(result: PruningResult) -> str:
    if result.beats_uniform is None:
        reason = f": {result.not_compared_because}" if result.not_compared_because else ""
        return f"It was not compared with the uniform allocation on held-out sequences{reason}."
    if result.beats_uniform:
        return "This allocation beats the uniform allocation on held-out sequences, which the search never saw."
    verdict = "This allocation does not beat the uniform allocation on held-out sequences, which the search never saw."
    if is_uniform(result):
        return f"{verdict} It is itself uniform."
    return f"{verdict} Pruning every layer alike is the simpler choice here."


def _change(before: int, after: int, form: Any) -> str:
    return f"{form(after)} ({after / before - 1:+.1%})" if before else form(after)


def _spread(counts: list[int]) -> str:
    return f"{min(counts)} / {sum(counts) / len(counts):.1f} / {max(counts)}" if counts else ""
