# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The front as a table and as files."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap.reports.front import FRONT_NAME, Front, FrontPoint, point_folders
from optimum_evoesap.reports.result import RESULT_NAME, PruningResult


def make_point(sparsity=0.5, **changes):
    removed = round(16 * sparsity)
    values = {
        "base_model": "allenai/OLMoE-1B-7B-0125",
        "model_type": "olmoe",
        "criterion": "esap",
        "fitness": "esap",
        "sparsity": removed / 16,
        "budget": removed,
        "sparse_layers": [0, 1],
        "num_experts": [8, 8],
        "allocation": [removed - 1, 1],
        "kept_experts": {0: list(range(removed - 1, 8)), 1: list(range(1, 8))},
        "scores": {"best": 0.9, "uniform": 0.8, "holdout_best": 0.875, "holdout_uniform": 0.75},
        "interval": [0.0625, 0.1875],
        "beats_uniform": True,
        "parameters": {"before": 2_000_000, "after": 1_500_000},
        "size_in_bytes": {"before": 4_000_100, "after": 3_000_100},
    }
    return FrontPoint(sparsity, PruningResult(**values | changes), 3_000_000)


def make_front(*sparsities):
    return Front([make_point(sparsity) for sparsity in sparsities], 4_000_000)


def test_a_front_is_a_mapping_from_sparsity_to_result():
    front = make_front(0.25, 0.3)
    assert list(front) == [0.25, 0.3] and len(front) == 2
    assert front[0.1 + 0.2] is front.points[1].result
    with pytest.raises(KeyError, match=r"0.5; the sparsities of this front are 0.25, 0.3"):
        front[0.5]
    assert 0.25 in front and 0.5 not in front


def test_the_table_says_size_and_held_out_scores():
    header, _, row, _, note = make_front(0.5).table().splitlines()
    assert header.split()[:4] == ["sparsity", "experts", "removed", "parameters"]
    assert row.split() == [
        "0.5", "8", "of", "16", "(50.0%)", "1.50M", "3.00", "MB", "-25.0%", "0.8750", "0.7500",
        "+0.0625", "to", "+0.1875", "(95%)",
    ]  # fmt: skip
    assert note == "esap: on held-out data, which the searches never saw."


def test_the_table_marks_where_the_uniform_allocation_was_taken():
    scores = {"best": 0.8, "uniform": 0.8, "found": 0.9, "holdout_best": 0.7, "holdout_uniform": 0.7}
    guarded = make_point(0.75, is_guarded=True, beats_uniform=False, interval=[-0.1, 0.1], scores=scores)
    rows = Front([make_point(0.5), guarded], 4_000_000).table().splitlines()
    assert not rows[2].endswith("*") and rows[3].endswith("(95%)*")
    assert rows[-1].endswith("does not beat it.")


def test_without_held_out_data_the_scores_are_those_of_the_search():
    point = make_point(scores={"best": 0.9, "uniform": 0.8}, interval=None, beats_uniform=None)
    text = Front([point], 4_000_000).table()
    assert "0.9000   0.8000" in text and "not compared" in text and "on the search data" in text


def test_what_is_saved_is_read_again(tmp_path):
    front = make_front(0.25, 0.5)
    path = front.save(tmp_path)
    assert path == tmp_path / FRONT_NAME
    again = Front.load(tmp_path)
    assert again.points == front.points and again.checkpoint_bytes == front.checkpoint_bytes
    values = json.loads(path.read_text())
    assert [each["sparsity"] for each in values["points"]] == [0.25, 0.5]
    assert values["points"][1]["interval"] == [0.0625, 0.1875]
    assert PruningResult.load(tmp_path / "0.5") == front[0.5]


def test_points_of_an_earlier_front_go_unless_something_lies_beside_them(tmp_path):
    make_front(0.25, 0.5, 0.75).save(tmp_path)
    (tmp_path / "0.75" / "model.safetensors").touch()
    make_front(0.5).save(tmp_path)
    assert not (tmp_path / "0.25").exists()
    assert {path.name for path in (tmp_path / "0.75").iterdir()} == {RESULT_NAME, "model.safetensors"}
    assert point_folders(tmp_path) == [tmp_path / "0.5"]


@pytest.mark.parametrize("text", ["", "[]", '{"points": [{}]}', '{"points": [{"sparsity": 1, "result": "../x"}]}'])
def test_a_file_that_is_no_front_is_refused(text, tmp_path):
    (tmp_path / FRONT_NAME).write_text(text)
    with pytest.raises(ValueError, match="is not the front"):
        Front.load(tmp_path)


def test_it_shows_itself_in_few_words():
    assert "0.5: 0.8750" in repr(make_front(0.5))


@pytest.mark.parametrize("result", ["../{}", "/{}", "{}", "0.5/../{}", "0.5/deeper/{}", "0.5/other.json"])
def test_a_point_that_is_not_in_a_folder_beside_the_front_is_refused(result, tmp_path):
    folder = tmp_path / "outer" / "front"
    folder.mkdir(parents=True)
    outside = folder.parent / RESULT_NAME
    outside.write_text("{}")
    place = result.format(RESULT_NAME)
    points = [{"sparsity": 0.5, "allocation": [1], "scores": {}, "result": place, "checkpoint_bytes": 1}]
    (folder / FRONT_NAME).write_text(json.dumps({"points": points, "checkpoint_bytes": 2}))
    for read in (Front.load, point_folders):
        with pytest.raises(ValueError, match=r"is not the front of a run.*points\[0\].result.* is its place"):
            read(folder)
    assert outside.is_file()


def test_a_point_of_another_run_is_refused(tmp_path):
    make_front(0.25, 0.5).save(tmp_path)
    make_point(0.5, scores={"best": 0.4, "uniform": 0.3}).result.save(tmp_path / "0.5")
    with pytest.raises(ValueError, match="is not the result that evoesap_front.json beside it was written with"):
        Front.load(tmp_path)
    make_front(0.25, 0.5).save(tmp_path)
    (tmp_path / "0.5" / RESULT_NAME).unlink()
    with pytest.raises(FileNotFoundError, match="0.5"):
        Front.load(tmp_path)
