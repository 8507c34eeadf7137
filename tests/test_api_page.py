# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""That the API reference is what the docstrings say, and leaves out nothing that is public."""

from __future__ import annotations

import pytest

import optimum_evoesap
from docs.make_api import NAMES, PAGE, as_markdown, make_page


def test_the_page_of_the_api_is_that_of_the_docstrings():
    assert PAGE.read_text(encoding="utf-8") == make_page(), "run `make docs`"


def test_the_page_names_everything_that_is_public():
    page = PAGE.read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("###")]
    for name in (*optimum_evoesap.__all__, "register_adapter", "register_layout", "prepare_data"):
        assert name in headings or name == "__version__" and "`__version__`" in page
    for method in ("from_pretrained", "prune", "calibrate", "rank", "search", "apply", "save_pretrained"):
        assert f"MoEPruner.{method}" in headings
    assert len(headings) == len(set(headings)) and not [name for name in headings if "._" in name]
    assert sum(map(len, NAMES.values())) + 1 == len(optimum_evoesap.__all__) + 3


def test_everything_on_the_page_has_a_text():
    entries = PAGE.read_text(encoding="utf-8").split("\n###")[1:]
    without_code = ["".join(entry.split("\n", 1)[1].split("```")[::2]) for entry in entries]
    assert not [entry.split("\n")[0] for entry, text in zip(entries, without_code) if not text.strip()]


def test_a_docstring_becomes_markdown():
    text = """See [`MoEPruner`] and [`~kernels.esap`] for {this}, a < b and `{that}`.

Args:
    data: One of:

        - a list,
          of two lines;
        - `None`.
    **options: More.

Returns:
    A list.
"""
    assert as_markdown(text) == (
        "See [`MoEPruner`](#moepruner) and `kernels.esap` for \\{this}, a &lt; b and `{that}`.\n\n"
        "**Args**\n\n- `data`: One of:\n\n  - a list,\n    of two lines;\n  - `None`.\n- `**options`: More.\n\n"
        "**Returns**\n\nA list."
    )


def test_an_entry_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="no entry"):
        as_markdown("Cut.\n\nArgs:\n    the text\n")
