# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""That the matrix has every sparse architecture of the installed transformers, and the docs those of the matrix."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers

from tests.model_matrix import ROWS


# Configs with an expert count that are no decoder language model, or are refused.
NOT_IN_MATRIX = {
    "DbrxFFNConfig": "a part of dbrx",
    "doge": "refused: its router spans a grid of experts",
    "dots3_note_vision_encoder": "the vision tower of dots3_note, which stays whole",
    "nllb-moe": "refused: encoder and decoder, with an expert capacity",
    "openai_privacy_filter": "classifies tokens",
    "qwen3_omni_moe_talker_text": "speaks; the thinker of the same model is in the matrix",
    "switch_transformers": "refused: encoder and decoder, with an expert capacity",
    "vitpose_backbone": "finds poses in images",
}


def sparse_configs() -> Iterator[tuple[str, str]]:
    """Model types whose config class declares a number of experts, and the file: read, not imported."""
    for path in sorted((Path(transformers.__file__).parent / "models").glob("*/configuration_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(_is_expert_count(statement) for statement in node.body):
                names = [_model_type(statement) for statement in node.body]
                yield next((name for name in names if name), node.name), path.name


def _is_expert_count(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
        return any("expert" in argument.arg for argument in statement.args.args)
    is_field = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    return is_field and "expert" in statement.target.id and "int" in ast.unparse(statement.annotation).split(" | ")


def _model_type(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        if [getattr(target, "id", None) for target in statement.targets] == ["model_type"]:
            return str(statement.value.value)
    return None


def test_every_sparse_model_type_of_transformers_is_in_the_matrix():
    covered = set(NOT_IN_MATRIX)
    for row in ROWS.values():
        # Also rows that this release does not have yet, or in another form: they are no news.
        covered.add(row.model_type)
        if row.is_installed:
            config = row.make_config()
            covered |= {config.model_type, config.get_text_config(decoder=True).model_type}
    found = dict(sparse_configs())
    assert len(found) > 60, "the search must find what is there"
    news = {name: file for name, file in found.items() if name not in covered}
    assert not news, f"transformers {transformers.__version__} has sparse model types without a row: {news}"


def test_every_row_of_this_release_is_there():
    """A row that is left out by its `since` alone must not hide that a model type has gone."""
    for row in ROWS.values():
        if row.is_installed:
            assert row.load_class().__name__ == row.model_class.rpartition(":")[2]


def test_the_page_of_architectures_is_that_of_the_matrix():
    if not all(row.is_installed for row in ROWS.values()):
        pytest.skip("the page is made with the release that has all architectures")
    from docs.make_architectures import PAGE, make_page

    assert PAGE.read_text() == make_page(), "run `make docs`"
