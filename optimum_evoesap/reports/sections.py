# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card, one function each: they turn a [`PruningResult`] into Markdown.

A section for which the record has no data is an empty string.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .names import LOCAL_MODEL, clean_value, dataset_names, is_hub_id, is_local_path


if TYPE_CHECKING:
    from .result import PruningResult


PAPER = "https://arxiv.org/abs/2603.06003"
BAR_WIDTH = 24
DATASET_FIELDS = {"calibration": "calibration_dataset", "search": "search_dataset"}


def method(result: PruningResult, config: dict[str, Any]) -> str:
    """What was done, in two sentences.

    Args:
        result: The record of the run.
        config: The `EvoESAPConfig` of the run, as a dict.
    """
    base = LOCAL_MODEL
    if is_hub_id(result.base_model):
        base = f"[{result.base_model}](https://huggingface.co/{result.base_model})"
    if result.fitness is not None and config.get("allocation", "evolution") == "evolution":
        how = (
            f"an evolutionary search that maximises {_fitness_name(result)} chose how many of them go from each layer"
        )
    elif _is_uniform(result):
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
    kept = _kept_counts(result)
    rows = [["Routed experts", str(sum(result.num_experts)), _change(sum(result.num_experts), sum(kept), str)]]
    for title, record, form in (
        ("Parameters", result.parameters, _count),
        ("Size of the weights", result.size_in_bytes, _bytes),
    ):
        if {"before", "after"} <= record.keys():
            rows.append([title, form(record["before"]), _change(record["before"], record["after"], form)])
    rows.append(["Experts per sparse layer (min / mean / max)", _spread(result.num_experts), _spread(kept)])
    return "## Size\n\n" + _table(["", "Before", "After"], rows)


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
    table = _table([_fitness_name(result), "This allocation", "Uniform allocation"], rows)
    return f"## Fitness\n\n{_fitness_definition(result)}\n\n{table}\n\n{_verdict(result)}"


def layers(result: PruningResult) -> str:
    """Experts kept in each layer, with a bar."""
    rows = []
    for layer, before, kept in zip(result.sparse_layers, result.num_experts, _kept_counts(result)):
        filled = round(BAR_WIDTH * kept / before)
        rows.append([str(layer), f"{kept} of {before}", f"`{'█' * filled}{'░' * (BAR_WIDTH - filled)}`"])
    text = "Which experts these are is in `evoesap_result.json`, by their index in the model before pruning."
    return f"## Experts kept in each layer\n\n{_table(['Layer', 'Kept', ''], rows)}\n\n{text}"


def loading(result: PruningResult, repo_id: str | None, has_remote_code: bool = False) -> str:
    """How to load it, which depends on whether all layers keep the same number of experts.

    Args:
        result: The record of the run.
        repo_id: Where the model will be on the Hub.
        has_remote_code: Whether the checkpoint brings code that loads it without this package.
    """
    loader, tokenizer_loader = result.model_loader, result.tokenizer_loader
    name = "processor" if tokenizer_loader == "AutoProcessor" else "tokenizer"
    code = (
        f"from transformers import {loader}, {tokenizer_loader}\n\n"
        f'model = {loader}.from_pretrained("{_place(repo_id)}", dtype="auto", device_map="auto")\n'
        f'{name} = {tokenizer_loader}.from_pretrained("{_place(repo_id)}")'
    )
    if _is_uniform(result):
        text = "All sparse layers have the same number of experts, so this is an ordinary transformers checkpoint."
        return f"## Loading\n\n{text}\n\n{_code('python', code)}"
    text = (
        "The sparse layers have different numbers of experts. `import optimum_evoesap` before loading teaches "
        "transformers to build each layer with its own:"
    )
    code = f"import optimum_evoesap\n{code}"
    parts = ["## Loading", text, _code("bash", "pip install optimum-evoesap"), _code("python", code)]
    if loader == "AutoModelForCausalLM":
        parts.append("`EvoESAPModelForCausalLM.from_pretrained`, from `optimum_evoesap`, does the same in one call.")
    if has_remote_code:
        parts.append(
            "Without that package, `trust_remote_code=True` loads it too: transformers then runs "
            "`modeling_evoesap.py` of this repository, so read that file first."
        )
    return "\n\n".join(parts)


def reproduction(result: PruningResult, config: dict[str, Any], repo_id: str | None) -> str:
    """The configuration, and the code that runs it again.

    Args:
        result: The record of the run.
        config: The configuration of the run.
        repo_id: Where the model will be on the Hub.
    """
    base = result.base_model if is_hub_id(result.base_model) else "path/to/the/unpruned/model"
    arguments = ['save_directory="pruned"']
    for role in ("calibration", "search"):
        # The configuration names data only where they were loaded by name.
        if role in result.data and not used_hub_datasets(result, config, role):
            arguments.append(f"{role}_data=...")
    code = (
        "from optimum_evoesap import EvoESAPConfig, MoEPruner\n\n"
        f'config = EvoESAPConfig.from_pretrained("{_place(repo_id)}")  # reads evoesap_config.json\n'
        f'pruner = MoEPruner.from_pretrained("{base}", config=config, dtype="auto", device_map="auto")\n'
        f"model = pruner.prune({', '.join(arguments)})"
    )
    shown = json.dumps(clean_value(config, _local_datasets(config)), indent=2, ensure_ascii=False, default=str)
    return (
        f"## Reproducing it\n\nThe configuration of the run (seed {result.seed}):\n\n{_code('json', shown)}\n\n"
        f"{_code('python', code)}"
    )


def data(result: PruningResult, config: dict[str, Any]) -> str:
    """The data that chose the experts.

    Args:
        result: The record of the run.
        config: The configuration of the run.
    """
    if not result.data:
        return ""
    known_paths = _local_datasets(config)
    rows = []
    for role, entry in result.data.items():
        description = clean_value(str(entry.get("description", "")), known_paths)
        numbers = [_grouped(entry.get(name)) for name in ("sequences", "tokens", "scored_tokens")]
        rows.append([role, description, *numbers, f"`{entry['fingerprint']}`" if entry.get("fingerprint") else ""])
    table = _table(["Used for", "Data", "Sequences", "Tokens", "Scored tokens", "Fingerprint"], rows)
    return f"## Data\n\nWhat the model keeps depends on these data; evaluate it on your own task.\n\n{table}"


def versions(result: PruningResult) -> str:
    """The packages that made it."""
    rows = [[f"`{name}`", version] for name, version in result.versions.items()]
    return f"## Versions\n\n{_table(['Package', 'Version'], rows)}" if rows else ""


def used_hub_datasets(result: PruningResult, config: dict[str, Any], role: str) -> list[str]:
    """Hub ids of the data sets of a role that the run really read.

    The configuration also holds names that were never read, such as a default when the caller gave own data or when
    nothing was searched; so a name counts only where the record of the run has it too.

    Args:
        result: The record of the run.
        config: The configuration of the run.
        role: `"calibration"` or `"search"`.
    """
    description = str(result.data.get(role, {}).get("description", ""))
    names = dataset_names(config.get(DATASET_FIELDS[role]))
    return [name for name in names if is_hub_id(name) and name in description]


def _local_datasets(config: dict[str, Any]) -> list[str]:
    names = [name for field in DATASET_FIELDS.values() for name in dataset_names(config.get(field))]
    return [name for name in names if is_local_path(name)]


def _kept_counts(result: PruningResult) -> list[int]:
    return [before - removed for before, removed in zip(result.num_experts, result.allocation)]


def _is_uniform(result: PruningResult) -> bool:
    # A plain checkpoint can store only one number of experts, so the kept counts decide, not the removed ones.
    return len(set(_kept_counts(result))) <= 1


def _place(repo_id: str | None) -> str:
    return repo_id or "path/to/this/checkpoint"


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
    if _is_uniform(result):
        return f"{verdict} It is itself uniform."
    return f"{verdict} Pruning every layer alike is the simpler choice here."


def _change(before: int, after: int, form: Any) -> str:
    return f"{form(after)} ({after / before - 1:+.1%})" if before else form(after)


def _spread(counts: list[int]) -> str:
    return f"{min(counts)} / {sum(counts) / len(counts):.1f} / {max(counts)}" if counts else ""


def _count(number: int) -> str:
    for unit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= unit:
            return f"{number / unit:.2f}{suffix}"
    return str(number)


def _bytes(number: int) -> str:
    for unit, suffix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.2f} {suffix}"
    return f"{number} B"


def _grouped(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _table(header: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        # A pipe or a line break in a cell would end it.
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])
