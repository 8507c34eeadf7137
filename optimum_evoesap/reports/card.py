# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model card of a pruned checkpoint, written from its [`PruningResult`] and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import sections, use_sections
from .markdown import plain
from .names import is_hub_id, is_local_path
from .public import used_hub_datasets
from .text import whole_share


if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

    from .result import PruningResult


TAGS = ("evoesap", "optimum-evoesap", "mixture-of-experts", "pruning", "compressed")
_PIPELINES = {"AutoModelForImageTextToText": "image-text-to-text", "AutoModelForMultimodalLM": "any-to-any"}


def create_model_card(
    result: PruningResult,
    config: dict[str, Any],
    model_name: str | None = None,
    base_card_data: dict[str, Any] | None = None,
    repo_id: str | None = None,
    has_remote_code: bool = False,
) -> ModelCard:
    """Write the model card of a pruned model.

    Local paths, of the model and of data, never appear in the card: it says "a local model" and "local data".

    Args:
        result: The record of the run.
        config: The `EvoESAPConfig` of the run, as a dict.
        model_name: Title of the card; by default the repository id, or a name made from the base model's.
        base_card_data: Metadata of the base model's card, from [`~base_card.base_card_metadata`].
        repo_id: Where the model will be on the Hub, for the code that loads it.
        has_remote_code: Whether the checkpoint brings code that loads it without this package.

    Returns:
        The card; `card.save(path)` writes it.
    """
    from huggingface_hub import ModelCard

    data = _metadata(result, config, base_card_data or {})
    parts = (
        f"# {plain(_title(result, model_name, repo_id))}",
        sections.method(result, config),
        sections.sizes(result),
        sections.fitness(result),
        sections.criteria(result),
        sections.layers(result),
        sections.dropped(result),
        use_sections.loading(result, repo_id, has_remote_code),
        use_sections.reproduction(result, config, repo_id),
        use_sections.data(result, config),
        use_sections.versions(result),
    )
    body = "\n\n".join(part for part in parts if part)
    # Not `ModelCard.from_template`, which needs jinja2.
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def create_bare_card() -> ModelCard:
    """The card of a model of which nothing more can be said."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(library_name="transformers", tags=list(TAGS))
    text = "A model with experts removed by optimum-evoesap; `evoesap_result.json` is the record of the run."
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n")


def _metadata(result: PruningResult, config: dict[str, Any], base: dict[str, Any]) -> ModelCardData:
    from huggingface_hub import ModelCardData

    is_known = is_hub_id(result.base_model)
    return ModelCardData(
        base_model=result.base_model if is_known else None,
        # The Hub knows adapter, merge, quantized and finetune. Pruned weights keep their precision, so "quantized"
        # would list them with the drop-in copies of the base model. "finetune" (the same architecture with other
        # weights) is what the Hub infers for pruned checkpoints; it is set here so that it does not depend on files.
        base_model_relation="finetune" if is_known else None,
        library_name="transformers",
        pipeline_tag=base.get("pipeline_tag") or _PIPELINES.get(result.model_loader, "text-generation"),
        tags=list(TAGS),
        license=base.get("license"),
        license_name=base.get("license_name"),
        license_link=base.get("license_link"),
        language=base.get("language"),
        datasets=_datasets(result, config, base) or None,
    )


def _datasets(result: PruningResult, config: dict[str, Any], base: dict[str, Any]) -> list[str]:
    """Data sets of the base model, then those on the Hub that this run calibrated and searched on."""
    listed = base.get("datasets") or []
    names = [listed] if isinstance(listed, str) else list(listed)
    for role in ("calibration", "search"):
        names += used_hub_datasets(result, config, role)
    return list(dict.fromkeys(names))


def _title(result: PruningResult, model_name: str | None, repo_id: str | None) -> str:
    if model_name:
        return Path(model_name).name if is_local_path(model_name) else model_name
    if repo_id:
        return repo_id
    base = str(result.base_model).split("/")[-1] if is_hub_id(result.base_model) else result.model_type
    return f"{base}, {whole_share(result.sparsity)} of the experts removed"
