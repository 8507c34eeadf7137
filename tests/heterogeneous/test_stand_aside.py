# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The building step leaves to transformers what transformers builds itself, model type by model type."""

from __future__ import annotations

from tests.checkpoint.checkpoints import run_fresh, save_pruned


def test_a_type_that_transformers_builds_is_left_to_it(tmp_path):
    folders = [tmp_path / name for name in ("olmoe", "mixtral")]
    for folder in folders:
        save_pruned(folder, folder.name)
    run_fresh("from tests.heterogeneous.own_layer_building import main; main(*sys.argv[1:])", *folders)
