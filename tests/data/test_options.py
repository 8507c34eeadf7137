# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Options that no data satisfy."""

from __future__ import annotations

import pytest

from tests.data.texts import options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "`num_samples` is 0"),
        ({"sequence_length": 1}, "`sequence_length` is 1: .* at least 2"),
        ({"scored_tokens": "some"}, "`scored_tokens` is 'some': choose one of auto, all, answers"),
    ],
)
def test_options_that_no_data_satisfy(changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)
