# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a whole run depends on, by which a finished result is known again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..calibration.criterion_names import CRITERIA, MEASURED_CRITERIA
from ..configuration import EvoESAPConfig
from ..data import TokenizedData
from ..models.processors import Processor
from ..registry import STRATEGIES
from .code_digest import code_digest, fitness_digests
from .state import RunState


def run_key(
    state: RunState,
    model: PreTrainedModel,
    config: EvoESAPConfig,
    tokenizer: Processor | None,
    data: Mapping[str, TokenizedData],
    **others: Any,
) -> str:
    """The fingerprint of everything that the checkpoint of a run depends on.

    Args:
        state: Of the run.
        model: The unpruned model.
        config: The choices.
        tokenizer: Saved with the checkpoint.
        data: The prepared data, by kind.
        **others: What else was asked for, as JSON values.
    """
    fingerprints = {kind: [each.fingerprint, each.domains, each.description] for kind, each in data.items()}
    named = (CRITERIA.get(config.criterion), MEASURED_CRITERIA.get(config.criterion))
    strategy = STRATEGIES.get(config.allocation) if isinstance(config.allocation, str) else None
    code = [code_digest(each) for each in (*named, strategy) if each is not None]
    generation = getattr(model, "generation_config", None)
    saved = [model.name_or_path, generation.to_dict() if generation is not None else None, _digest_of(tokenizer)]
    return state.key(
        model, "run", config.to_dict(), fingerprints, code, fitness_digests(config.fitness), saved, others
    )


def _digest_of(tokenizer: Processor | None) -> str | None:
    """A digest of what is saved of a tokenizer."""
    if tokenizer is None:
        return None
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        tokenizer.save_pretrained(folder)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()
