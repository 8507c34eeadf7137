# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Many candidates on some windows: any part of the work gives the bits of all of it, also where memory is short."""

from __future__ import annotations

import itertools

import pytest
import torch

from optimum_evoesap.fitness.slices import SliceScorer
from tests.model_matrix import make_model, random_kept, sparse_model_of
from tests.short_memory import batches_of


@pytest.fixture
def sparse_model():
    return sparse_model_of(make_model("olmoe"))


def candidates_of(sparse_model):
    one, other = random_kept(sparse_model.layers, 3), random_kept(sparse_model.layers, 7)
    mixed = [one | {layer: other[layer]} for layer in one]
    return [{layer: kept[layer]} for layer in one for kept in (one, other)] + [*mixed, one, {}]


def score_all(scorer, candidates, **options):
    found = {}
    scorer.score_each(candidates, found.update, **options)
    return found


@pytest.mark.parametrize("rows", [None, 6])
def test_windows_in_parts_are_all_at_once(sparse_model, rows):
    candidates = candidates_of(sparse_model)
    scorer = SliceScorer(sparse_model, batches_of(7, 2), rows_at_once=rows)
    whole = score_all(scorer, candidates)
    assert scorer.num_windows == 7 and all(len(each) == 7 for each in whole.values())
    ends = [0, 2, 4, 6, 7]
    for first, stop in itertools.combinations(ends, 2):
        part = score_all(scorer, candidates, first=first, stop=stop)
        for number, scores in whole.items():
            assert part[number].sums == scores.sums[first:stop] and part[number].counts == scores.counts[first:stop]
    assert scorer.score(candidates[3]).sums == pytest.approx(whole[3].sums, abs=1e-4)


def test_so_many_windows_are_whole_batches(sparse_model):
    scorer = SliceScorer(sparse_model, batches_of(7, 3))
    assert [scorer.whole_batches(number) for number in (1, 3, 4, 7, 99, None)] == [3, 3, 6, 7, 7, 7]
    with pytest.raises(ValueError, match=r"Windows 1 to 3 are no whole batches; these end at \[3, 6, 7\]"):
        scorer.score_each([{}], print, first=1, stop=3)
    assert score_all(scorer, [], stop=3) == {} == score_all(scorer, [{}], first=3, stop=3)


def test_what_is_known_is_skipped_and_the_rest_keeps_its_bits(sparse_model):
    candidates = candidates_of(sparse_model)
    scorer = SliceScorer(sparse_model, batches_of(4, 2), rows_at_once=4)
    whole, order = score_all(scorer, candidates), []
    scorer.score_each(candidates, lambda found: order.append(tuple(found)))
    # As after a crash: what was reported together is known together.
    for number_known in range(len(order) + 1):
        known = {each for group in order[:number_known] for each in group}
        found = score_all(scorer, candidates, skip=known)
        assert found == {number: scores for number, scores in whole.items() if number not in known}


def limit_rows(sparse_model, most_rows, layer=-1):
    """Let the model run out of memory in one of its layers above so many rows; returns the rows of each call."""
    calls = []

    def check(module, args):
        calls.append(args[0].shape[0])
        if calls[-1] > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    sparse_model.model.model.layers[layer].register_forward_pre_hook(check)
    return calls


@pytest.mark.parametrize(("most_rows", "rows_then", "windows_then"), [(6, 6, 3), (4, 3, 3), (2, 2, 2), (1, 1, 1)])
def test_out_of_memory_takes_fewer_rows_and_then_fewer_windows(sparse_model, most_rows, rows_then, windows_then):
    (layer, *_), seeds = sparse_model.indices, range(4)
    candidates = [{layer: random_kept(sparse_model.layers, seed)[layer]} for seed in seeds]
    candidates += candidates_of(sparse_model)
    expected = score_all(SliceScorer(sparse_model, batches_of(6, 3)), candidates)
    scorer = SliceScorer(sparse_model, batches_of(6, 3), rows_at_once=12)
    reported = []

    def scored(found):
        assert not set(found) & {number for numbers in reported for number in numbers}, "each is reported once"
        reported.append(tuple(found))
        assert all(
            scores.sums == pytest.approx(expected[number].sums, abs=1e-4) and scores.counts == expected[number].counts
            for number, scores in found.items()
        )

    calls = limit_rows(sparse_model, most_rows)
    scorer.score_each(candidates, scored)
    assert sorted(number for numbers in reported for number in numbers) == list(range(len(candidates)))
    assert max(calls) > most_rows and (scorer.rows_at_once, scorer.batch_size) == (rows_then, windows_then)


def test_out_of_memory_once_in_the_middle_of_a_tree(sparse_model):
    """Some candidates are done, and outputs of layers wait for others; those that are done keep their scores."""
    candidates = candidates_of(sparse_model)
    expected = score_all(SliceScorer(sparse_model, batches_of(6, 3)), candidates)
    scorer, reported = SliceScorer(sparse_model, batches_of(6, 3)), {}

    def scored(found):
        reported.update(found)
        if len(reported) == 3:
            calls = limit_rows(sparse_model, 2)
            assert calls == []

    scorer.score_each(candidates, scored)
    assert scorer.batch_size == 2 and sorted(reported) == list(range(len(candidates)))
    for number, scores in reported.items():
        assert scores.sums == pytest.approx(expected[number].sums, abs=1e-4)
        assert scores.counts == expected[number].counts


def test_windows_begin_and_end_where_they_did_before_memory_was_short(sparse_model):
    """Halves of 5 windows end at 3 and 5, quarters at 2, 4 and 5: only the ends of what was given stay."""
    candidates = candidates_of(sparse_model)
    whole = score_all(SliceScorer(sparse_model, batches_of(10, 5)), candidates)
    scorer = SliceScorer(sparse_model, batches_of(10, 5))
    limit_rows(sparse_model, 3)
    first = score_all(scorer, candidates, stop=scorer.whole_batches(3))
    assert scorer.batch_size == 3 and scorer.whole_batches(3) == 5
    limit_rows(sparse_model, 2)
    rest = score_all(scorer, candidates, first=5)
    assert scorer.batch_size == 2
    for number, scores in whole.items():
        assert (first[number] + rest[number]).sums == pytest.approx(scores.sums, abs=1e-4)
    # A run that goes on begins with the smaller batches, and asks for the same windows.
    later = SliceScorer(sparse_model, batches_of(10, 5), batch_size=2)
    assert later.whole_batches(3) == 5 and score_all(later, candidates, first=5) == rest


def test_known_work_costs_nothing(sparse_model):
    scorer = SliceScorer(sparse_model, batches_of(4, 2))
    scorer.score_each(candidates_of(sparse_model), lambda found: None, skip=range(len(candidates_of(sparse_model))))
    assert scorer.evaluations == 0
    scorer.score({})
    scorer.forget()
    assert scorer.evaluations == 1, "also when it has let go of the teacher"
