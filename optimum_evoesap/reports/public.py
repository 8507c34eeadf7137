# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A record and its configuration as others may read them: without a name of a file or folder of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..configuration import EvoESAPConfig
from .names import clean_value, dataset_names, is_hub_id, is_local_path, public_dataset
from .result import PruningResult


DATASET_FIELDS = {"calibration": "calibration_dataset", "search": "search_dataset"}


def public_result(result: PruningResult) -> PruningResult:
    """The record of a run for the public.

    Args:
        result: The record.
    """
    applied_from = dict(result.applied_from)
    for name in applied_from.keys() & {"result", "base_model"}:
        applied_from[name] = applied_from[name] if is_hub_id(applied_from[name]) else None
    return replace(
        result,
        base_model=result.base_model if is_hub_id(result.base_model) else None,
        data={kind: public_data(summary) for kind, summary in result.data.items()},
        domains=dict(zip(public_domains(result), result.domains.values())),
        applied_from=applied_from,
        seal=None,
    )


def public_data(summary: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The summary of data for the public.

    Args:
        summary: As [`TokenizedData.summary`] gives it; older records do not tell what is public.
        config: The configuration of the run, for the names in such a record.
    """
    others = {name: value for name, value in summary.items() if name != "public"}
    public = summary.get("public")
    if isinstance(public, Mapping):
        return others | {"description": str(public.get("description", ""))}
    return clean_value(others, local_datasets(config or {}))


def public_domains(result: PruningResult) -> list[str]:
    """What each domain of the scores is called, each by another name.

    Args:
        result: The record of the run.
    """
    known: dict[str, Any] = {}
    for summary in result.data.values():
        public = summary.get("public")
        known |= public.get("domains", {}) if isinstance(public, Mapping) else {}
    shown = [str(known[name]) if name in known else str(clean_value(name)) for name in result.domains]
    counts = Counter(shown)
    return [f"{name} {place}" if counts[name] > 1 else name for place, name in enumerate(shown, 1)]


def public_config(config: Mapping[str, Any], result: PruningResult) -> dict[str, Any]:
    """The values of a configuration for the public.

    Args:
        config: The configuration of the run.
        result: Its record, which tells what the names of data stood for.
    """
    values = clean_value(dict(config), local_datasets(config))
    for role, name in DATASET_FIELDS.items():
        if config.get(name) is not None:
            values[name] = _public_dataset(config[name], role, result)
    return values


def used_hub_datasets(result: PruningResult, config: Mapping[str, Any], role: str) -> list[str]:
    """Hub ids of the data sets of a role that the run really read.

    The configuration also holds names that were never read, such as a default when the caller gave own data or when
    nothing was searched; so a name counts only where the record of the run has it too.

    Args:
        result: The record of the run.
        config: The configuration of the run.
        role: `"calibration"` or `"search"`.
    """
    summary = result.data.get(role, {})
    public = summary.get("public")
    if isinstance(public, Mapping):
        return [name for name in dataset_names(public.get("dataset")) if is_hub_id(name)]
    description = str(summary.get("description", ""))
    names = dataset_names(config.get(DATASET_FIELDS[role]))
    return [name for name in names if is_hub_id(name) and name in description]


def local_datasets(config: Mapping[str, Any]) -> list[str]:
    """The names of data in a configuration that are files and folders, as far as that can be told from it.

    Args:
        config: The configuration of the run.
    """
    values = [value for value in map(config.get, DATASET_FIELDS.values()) if isinstance(value, str)]
    names = [name for value in values for name in dataset_names(value)]
    # A path may hold a comma.
    return [name for name in (*values, *names) if is_local_path(name)]


def _public_dataset(named: Any, role: str, result: PruningResult) -> str | None:
    summary = result.data.get(role)
    if summary is not None:
        public = summary.get("public")
        return str(public.get("dataset")) if isinstance(public, Mapping) else public_dataset(named)
    # It was not read, so nothing tells what it stands for; the default is known.
    default = {option.name: option.default for option in fields(EvoESAPConfig)}[DATASET_FIELDS[role]]
    return named if named == default else None
