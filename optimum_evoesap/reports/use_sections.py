# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The sections of the model card on its use and its making: how to load it, how to run it again, and from what data.

A section for which the record has no data is an empty string.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .markdown import code_block, code_span, markdown_table, plain
from .names import is_hub_id
from .public import public_config, public_data, used_hub_datasets
from .text import full_count


if TYPE_CHECKING:
    from .result import PruningResult


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
    # Characters that no file can hold stay escaped.
    shown = json.dumps(public_config(config, result), indent=2, ensure_ascii=False, default=str)
    shown = "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in shown)
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
    rows = []
    for role, entry in result.data.items():
        description = plain(str(public_data(entry, config).get("description", "")))
        counts = (entry.get(name) for name in ("sequences", "tokens", "scored_tokens"))
        numbers = ["" if count is None else full_count(count) for count in counts]
        rows.append([plain(role), description, *numbers, code_span(str(entry.get("fingerprint") or ""))])
    table = markdown_table(["Used for", "Data", "Sequences", "Tokens", "Scored tokens", "Fingerprint"], rows)
    whose = "these data of the run that found it" if result.applied_from else "these data"
    return f"## Data\n\nWhat the model keeps depends on {whose}; evaluate it on your own task.\n\n{table}"


def versions(result: PruningResult) -> str:
    """The packages that made it."""
    rows = [[code_span(name), plain(version)] for name, version in result.versions.items()]
    return f"## Versions\n\n{markdown_table(['Package', 'Version'], rows)}" if rows else ""


def _place(repo_id: str | None) -> str:
    return repo_id or "path/to/this/checkpoint"
