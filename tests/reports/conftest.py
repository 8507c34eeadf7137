# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Finished runs whose results are applied."""

from __future__ import annotations

import pytest

from tests.pruning import make_pruner, rows


@pytest.fixture(scope="module")
def searched_runs(tmp_path_factory):
    """A searched run of a group-limited model, and of one without groups: their folders by model type."""
    folders = {}
    for model_type in ("olmoe", "deepseek_v3"):
        folders[model_type] = tmp_path_factory.mktemp(model_type)
        make_pruner(model_type).prune(folders[model_type], rows(), rows(seed=1))
    return folders
