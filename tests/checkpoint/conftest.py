# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A folder to push."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder that passes for a checkpoint, where the weights do not matter."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "olmoe"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder
