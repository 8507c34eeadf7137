# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Candidate`]: one form, its JSON, and what a space does not allow."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate, check_candidate


def test_one_candidate_has_one_form_also_in_json():
    candidate = Candidate(((2, (5, 0)), (4, [1, 70])))
    assert candidate == Candidate(((2, (0, 5)), (4, (70, 1)))) and candidate[2] == (0, 5)
    assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


@pytest.mark.parametrize(
    "kept,message",
    [
        ((0, 1, 2), "2, 1.* of the 2 groups of layer 7, which must stay equal"),
        ((0, 2), "removes the protected experts .3. of layer 7"),
        ((0, 1, 3, 9), "which has those from 0 to 3"),
        ((3, 3, 0, 1), "which has those from 0 to 3"),
        ((0, 1, 2, 3), "the budget is 2"),
    ],
)
def test_what_a_space_does_not_allow(kept, message):
    space = AllocationSpace((4,), (2,), 2, 2, (7,), num_groups=(2,), protected=(frozenset({3}),))
    check_candidate(Candidate(((7, (0, 3)),)), space)
    if "groups" in message:
        space = AllocationSpace((4,), (2,), 2, 2, (7,), num_groups=(2,))
    with pytest.raises(ValueError, match=message):
        check_candidate(Candidate(((7, kept),)), space)
    with pytest.raises(ValueError, match="sparse layers are"):
        check_candidate(Candidate(((6, (0, 3)),)), space)
