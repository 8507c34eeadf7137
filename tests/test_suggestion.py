# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What may have been meant: near names, beginnings, any case, and nothing where nothing is near."""

from __future__ import annotations

import pytest

from optimum_evoesap.suggestion import closest, did_you_mean


NAMES = ("reap", "reconstruction", "frequency", "Esap")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("reep", "reap"), ("recon", "reconstruction"), ("REAP", "reap"), ("esap", "Esap"), ("xyz", None), ("", None)],
)
def test_closest(written, meant):
    assert closest(written, NAMES) == meant


def test_the_remedy_follows_the_question():
    assert did_you_mean("reep", NAMES, "choose one.") == "did you mean 'reap'? Choose one."
    assert did_you_mean("xyz", NAMES, "choose one.") == "choose one."
    assert (did_you_mean("reep", NAMES), did_you_mean("xyz", NAMES)) == ("did you mean 'reap'?", "")
