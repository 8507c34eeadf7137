# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Result files: what is written is read again, also where an earlier release wrote it."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import PruningResult
from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.result import RESULT_NAME
from optimum_evoesap.reports.summary import summarize
from tests.reports.results import CONFIG, GUARDED, SEARCHED, UNIFORM


@pytest.mark.parametrize("result", [SEARCHED, GUARDED, UNIFORM])
def test_what_is_written_is_read_again(result, tmp_path):
    result.save(tmp_path)
    assert PruningResult.load(tmp_path) == result


def test_the_file_of_a_release_without_intervals_is_read_and_shown(tmp_path):
    SEARCHED.save(tmp_path)
    values = json.loads((tmp_path / RESULT_NAME).read_text())
    for name in ("interval", "is_guarded", "stopped_because"):
        del values[name]
    (tmp_path / RESULT_NAME).write_text(json.dumps(values))
    result = PruningResult.load(tmp_path)
    assert result.beats_uniform and result.interval is None and not result.is_guarded
    assert "beats the uniform one on held-out data." in summarize(result, "out")
    assert "beats the uniform allocation on held-out sequences" in create_model_card(result, CONFIG).text
    assert "beats the uniform allocation" in repr(result)
