# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card on its use and its making: how to load it, how to run it again, and from what data.

A section for which the record has no data is an empty string.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .markdown import code_block, markdown_table
from .names import clean_value, dataset_names, is_hub_id, is_local_path
from .text import full_count


if TYPE_CHECKING:
    from .result import PruningResult


DATASET_FIELDS = {"calibration": "calibration_dataset", "search": "search_dataset"}


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
    if result.is_uniform:
        text = "All sparse layers have the same number of experts, so this is an ordinary transformers checkpoint."
        return f"## Loading\n\n{text}\n\n{code_block('python', code)}"
    text = (
        "The sparse layers have different numbers of experts. `import optimum_evoesap` before loading teaches "
        "transformers to build each layer with its own:"
    )
    code = f"import optimum_evoesap\n{code}"
    parts = ["## Loading", text, code_block("bash", "pip install optimum-evoesap"), code_block("python", code)]
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
    again = "From `evoesap_result.json` of this checkpoint, without data:\n\n" + code_block(
        "bash", f"optimum-cli evoesap apply --result {_place(repo_id)} -m {base} -o pruned"
    )
    if result.applied_from or result.criterion is None:
        return f"## Reproducing it\n\n{again}"
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
        f"## Reproducing it\n\nThe configuration of the run (seed {result.seed}):\n\n{code_block('json', shown)}\n\n"
        f"{code_block('python', code)}\n\n{again}"
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
        counts = (entry.get(name) for name in ("sequences", "tokens", "scored_tokens"))
        numbers = ["" if count is None else full_count(count) for count in counts]
        rows.append([role, description, *numbers, f"`{entry['fingerprint']}`" if entry.get("fingerprint") else ""])
    table = markdown_table(["Used for", "Data", "Sequences", "Tokens", "Scored tokens", "Fingerprint"], rows)
    whose = "these data of the run that found it" if result.applied_from else "these data"
    return f"## Data\n\nWhat the model keeps depends on {whose}; evaluate it on your own task.\n\n{table}"


def versions(result: PruningResult) -> str:
    """The packages that made it."""
    rows = [[f"`{name}`", version] for name, version in result.versions.items()]
    return f"## Versions\n\n{markdown_table(['Package', 'Version'], rows)}" if rows else ""


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


def _place(repo_id: str | None) -> str:
    return repo_id or "path/to/this/checkpoint"
