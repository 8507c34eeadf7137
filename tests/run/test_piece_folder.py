# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Pieces that are damaged or of another run are left out, with one warning for all of a kind."""

from __future__ import annotations

import json

from optimum_evoesap.run.state import RunState


def append(folder, key, *contents):
    with RunState(folder) as state:
        state.load_series("search", key, lambda content: content)
        for content in contents:
            state.append("search", key, content)


def load(folder, key="key"):
    with RunState(folder) as state:
        return state.load_series("search", key, lambda content: content)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_changed_value_is_seen_and_left_out(tmp_path, caplog):
    """A wrong score would change what wins."""
    append(tmp_path, "key", {"score": 0.25}, {"score": 0.5}, {"score": 0.75})
    for number in (0, 2):
        path = tmp_path / ".evoesap" / f"search-00000{number}.json"
        path.write_text(path.read_text().replace('"score": 0.', '"score": 0.9'))
        assert json.loads(path.read_text())["content"]["score"] > 0.9, "it looks whole"
    assert load(tmp_path) == [{"score": 0.5}]
    (said,) = warnings(caplog)
    assert "search-000000.json and 1 more beside it are damaged" in said and "that work is done again" in said


def test_a_piece_with_the_key_of_this_run_written_over_it_is_left_out(tmp_path, caplog):
    append(tmp_path, "other", {"score": 0.25})
    path = tmp_path / ".evoesap" / "search-000000.json"
    path.write_text(path.read_text().replace('"key": "other"', '"key": "key"'))
    assert load(tmp_path) == [] and "is damaged" in caplog.text


def test_those_of_another_run_are_left_out_and_their_places_taken(tmp_path, caplog):
    append(tmp_path, "other", 1, 2, 3)
    append(tmp_path, "key", 4, 5)
    (said,) = warnings(caplog)
    assert "search-000000.json and 2 more beside it are of a run with another model" in said
    assert load(tmp_path) == [4, 5] and load(tmp_path, "other") == [3]
