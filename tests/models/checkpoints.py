# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Folders that hold the config of a model and no weights."""

from __future__ import annotations

from tests.model_matrix.rows import ROWS


def save_config(folder, model_type, *architectures, **changes):
    config = ROWS[model_type].make_config()
    config.architectures = list(architectures) or None
    for name, value in changes.items():
        setattr(config, name, value)
    config.save_pretrained(folder)
    return str(folder)
