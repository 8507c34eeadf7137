# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Damaged and hostile inputs: an error of ours that says where, or a right result; never foreign code."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.kinds import KINDS
from tests.hostile.promise import outcome


# A model is built in a tenth of a second, a file is read in a thousandth.
EXAMPLES = {"checkpoint config": 60}
# Not whole yet: an odd license of a base model stays in the card's metadata as it is.
LEFT_OUT = ["card"]


@pytest.mark.parametrize("name", [each for each in KINDS if each not in LEFT_OUT])
def test_what_is_hostile_is_refused_by_name_or_read_rightly(name):
    kind = KINDS[name]
    found = set()

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES.get(name, 300),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def hold(random):
        made = kind.make(random)
        with tempfile.TemporaryDirectory() as folder:
            found.add(outcome(lambda: kind.read(made, Path(folder)), kind.names, Path(folder)))

    logging.disable(logging.ERROR)
    try:
        hold()
    finally:
        logging.disable(logging.NOTSET)
    # What is made is neither all valid nor all lost.
    assert found == {"read", "refused"}
