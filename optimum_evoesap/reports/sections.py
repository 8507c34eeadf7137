# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card on what was done, one function each: they turn a [`PruningResult`] into Markdown.

A section for which the record has no data is an empty string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .figures import bar, domain_rows, score_rows, size_rows
from .markdown import code_span, markdown_table, plain
from .names import LOCAL_MODEL, is_hub_id
from .public import public_domains
from .text import interval, score, share, spread, unsure


if TYPE_CHECKING:
    from .result import PruningResult


PAPER = "https://arxiv.org/abs/2603.06003"
BAR_WIDTH = 24
_SEARCHES = {"evolution": "an evolutionary search", "guided": "a search guided by measured curves"}


def method(result: PruningResult, config: dict[str, Any]) -> str:
    """What was done, in two sentences.

    Args:
        result: The record of the run.
        config: The `EvoESAPConfig` of the run, as a dict.
    """
    base = LOCAL_MODEL
    if is_hub_id(result.base_model):
        base = f"[{result.base_model}](https://huggingface.co/{result.base_model})"
    removed = (
        f"This is {base} with {result.budget} of its {sum(result.num_experts)} routed experts "
        f"({share(result.sparsity)}) removed with optimum-evoesap ([EvoESAP, arXiv 2603.06003]({PAPER}))."
    )
    if result.criterion is None:
        return f"{removed} Which experts go was given by the user."
    if result.applied_from:
        return (
            f"{removed} Which experts go was not found here: {_origin(result)} was applied, whose run ordered the "
            f"experts of a sparse layer by the criterion {code_span(str(result.criterion))}."
        )
    return f"{removed} {_choice(result, config)}"


def _choice(result: PruningResult, config: dict[str, Any]) -> str:
    strategy = config.get("allocation", "uniform")
    if result.fitness is not None and isinstance(strategy, str) and strategy != "uniform":
        search = _SEARCHES.get(strategy, f"a search with the strategy {code_span(strategy)}")
        how = f"{search} that maximises {_goal(result)} chose how many of them go from each layer"
        if result.is_guarded:
            how = f"every sparse layer loses the same share, since nothing better was found by {search}"
    elif result.is_uniform:
        how = "every sparse layer keeps the same number of experts"
    elif config.get("allocation") == "uniform":
        how = "every sparse layer, of those that had different numbers of experts before, loses the same share"
    else:
        how = "how many go from each layer was given by the user"
    order = f"Within a sparse layer the criterion {code_span(str(result.criterion))} decides which experts go first"
    if result.criterion_scores:
        order += f" (of {len(result.criterion_scores)} criteria it scores best at this budget)"
    if result.protected_experts:
        count = sum(map(len, result.protected_experts.values()))
        order += f", but for {count} that were to stay in any case (`protected_experts` in `evoesap_result.json`)"
    return f"{order}; {how}."


def _origin(result: PruningResult) -> str:
    """The result that was applied, and the model that it was found on."""
    place, found_on = result.applied_from.get("result"), result.applied_from.get("base_model")
    shown = f"that of [{place}](https://huggingface.co/{place})" if is_hub_id(place) else "a local one"
    model = f"[{found_on}](https://huggingface.co/{found_on})" if is_hub_id(found_on) else LOCAL_MODEL
    return f"a result, {shown}, found on {model},"


def sizes(result: PruningResult) -> str:
    """The model before and after."""
    sizes = size_rows(result.sizes, ("Routed experts", "Parameters", "Size of the weights"))
    rows = [[name, before, f"{after} ({change})"] for name, before, after, change in sizes]
    spreads = map(spread, (result.num_experts, result.kept_counts))
    rows.append(["Experts per sparse layer (min / mean / max)", *spreads])
    return "## Size\n\n" + markdown_table(["", "Before", "After"], rows)


def fitness(result: PruningResult) -> str:
    """The scores and how they compare with the uniform allocation; empty when nothing was scored."""
    if not result.scores:
        return ""
    rows = score_rows(result.scores, ("Search data", "Held-out sequences"))
    header = [_fitness_name(result), "This allocation", "Uniform allocation"]
    header += ["Allocation found, not taken"] if result.is_guarded else []
    table = markdown_table(header, rows)
    parts = ["## Fitness", _fitness_definition(result), table, _domains(result, header[1:]), _verdict(result)]
    if result.applied_from:
        parts.insert(1, "Measured in the run that found the result, on its model and its data; not once more here.")
    return "\n\n".join(part for part in parts if part)


def _domains(result: PruningResult, columns: list[str]) -> str:
    """The scores by domain of the held-out sequences; empty where these are of one."""
    if not result.domains:
        return ""
    names = [plain(name) for name in public_domains(result)]
    header = ["Held-out sequences of", *columns, "Difference to uniform"]
    return markdown_table(header, domain_rows(result.domains, names))


def criteria(result: PruningResult) -> str:
    """What each criterion scores; empty where none was to be chosen."""
    if not result.criterion_scores:
        return ""
    ranked = sorted(result.criterion_scores.items(), key=lambda each: -each[1])
    rows = [
        [code_span(name) + (", taken" if name == result.criterion else ""), score(value)] for name, value in ranked
    ]
    text = (
        f"With as many experts removed in the order of each criterion, the model reaches this value of "
        f"{_fitness_name(result)} on a few windows of the calibration data. It is that of the better of two "
        "allocations, the uniform one and the one that follows from the scores of the criterion, or that of the "
        "allocation that was given."
    )
    return f"## Criteria\n\n{text}\n\n{markdown_table(['Criterion', 'Score'], rows)}"


def layers(result: PruningResult) -> str:
    """Experts kept in each layer, with a bar."""
    rows = [
        [str(layer), f"{kept} of {total}", f"`{bar(kept, total, BAR_WIDTH, '█', '░')}`"]
        for layer, total, kept in zip(result.sparse_layers, result.num_experts, result.kept_counts)
    ]
    text = "Which experts these are is in `evoesap_result.json`, by their index in the model before pruning."
    return f"## Experts kept in each layer\n\n{markdown_table(['Layer', 'Kept', ''], rows)}\n\n{text}"


def _fitness_name(result: PruningResult) -> str:
    return "ESAP" if result.fitness == "esap" else f"the fitness {code_span(str(result.fitness))}"


def _goal(result: PruningResult) -> str:
    return f"{_fitness_name(result)} of the worst domain" if result.goal == "worst" else _fitness_name(result)


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
        reason = f": {plain(result.not_compared_because)}" if result.not_compared_because else ""
        return f"It was not compared with the uniform allocation on held-out sequences{reason}."
    held_out = "on held-out sequences, which the search never saw"
    where = " in the worst domain" if result.goal == "worst" else ""
    bounds = f"; the paired interval of the difference{where} is {interval(result.interval)}"
    between = (bounds if result.interval else where) + "." + unsure(result.interval)
    if result.beats_uniform:
        return f"This allocation beats the uniform allocation {held_out}{between}"
    if result.is_guarded:
        return (
            f"The allocation that was found does not beat the uniform allocation {held_out}{between} So this is the "
            "uniform one."
        )
    verdict = f"This allocation does not beat the uniform allocation {held_out}{between}"
    if result.is_uniform:
        return f"{verdict} It is itself uniform."
    return f"{verdict} Pruning every layer alike is the simpler choice here."


def dropped(result: PruningResult) -> str:
    """What of the base model is not in the checkpoint as it was, beside experts.

    Args:
        result: The record of the run.
    """
    lines = []
    if result.dropped_layers:
        names = ", ".join(f"`{name}`" for name in result.dropped_layers)
        lines.append(f"The layers for multi-token prediction were dropped; the config claims none in {names}.")
    if result.float32_tensors:
        lines.append(
            f"{len(result.float32_tensors)} tensors, such as `{result.float32_tensors[0]}`, are float32 as in the "
            "base model; classes of transformers may load them in the dtype of the others, in which they were scored."
        )
    if result.cast_tensors:
        lines.append(
            f"{len(result.cast_tensors)} tensors, such as `{result.cast_tensors[0]}`, are float32 in the base model "
            "and are stored in the dtype of the others."
        )
    return "\n\n".join(lines)
