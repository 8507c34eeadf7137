# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The strategies that train keep logits, by the real loop: on what experts are worth, then on a real model."""

from __future__ import annotations

import pytest

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate, check_candidate
from optimum_evoesap.search.keep_logits.logits import candidate_of, logits_of_candidate, logits_of_order
from optimum_evoesap.search.keep_logits.schedule import TrainingSchedule
from optimum_evoesap.search.keep_logits.training import KeepTraining
from optimum_evoesap.search.limits import Limits
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.rounds import CALIBRATION, SEARCH, KeepLogits, Round
from optimum_evoesap.search.strategies import STRATEGIES, Racing, SteppedStrategy
from optimum_evoesap.search.strategies.training_steps import affordable, windows_of
from tests.pruning import make_pruner, rows
from tests.search.searches import Scorer, boards_of
from tests.search.strategies.test_guided import EXPERTS, OPTIONS, WINDOWS, make_space, scores_by, worth_of_experts


NAMES = ("gradient", "gradient_guided", "guided_gradient")
EVALUATIONS = 60


class Trainer:
    """Gives what experts are worth as their logits, and notes what it was asked for."""

    def __init__(self, logits, num_windows=WINDOWS):
        self.logits, self.windows, self.asked = logits, num_windows, []

    def num_windows(self, asked):
        return self.windows

    def known_seconds(self, asked):
        return None

    def train(self, asked, after):
        self.asked.append(asked)
        for share in (0.5, 1.0):
            after(share)
        return self.logits


def logits_by(worth, space, sign=1):
    return {layer: [sign * worth[layer, expert] for expert in range(EXPERTS)] for layer in space.layers}


def search(name, trainer, worth, limits=None, racing=False):
    space = make_space()
    strategy = STRATEGIES[name](space, {layer: list(range(EXPERTS)) for layer in space.layers}, OPTIONS)
    scorer, again = (Scorer(space, scores_by(worth), WINDOWS, of_candidate=True) for _ in range(2))
    asking = Racing(strategy) if racing else strategy
    end = run_search(asking, boards_of(scorer, calibration=again), limits, progress=False, trainer=trainer)
    check_candidate(end.best, space)
    return end, strategy


@pytest.mark.parametrize("racing", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_the_logits_say_is_found(name, racing):
    worth, space = worth_of_experts(3), make_space()
    trainer = Trainer(logits_by(worth, space))
    end, strategy = search(name, trainer, worth, racing=racing)
    # The logits are right here, so that no other candidate is better.
    assert end.best == candidate_of(trainer.logits, space)
    (asked,) = trainer.asked
    assert strategy.trains and [entry["stage"] for entry in strategy.history].count("keep logits") == 1
    start = candidate_of(asked.start, space)
    before = strategy.history[[entry["stage"] for entry in strategy.history].index("keep logits") - 1]
    assert start.removed(space.num_experts) == before["allocation"], "it begins at the best point so far"


def test_after_trained_counts_the_walk_begins_with_smaller_steps():
    space = AllocationSpace.from_sparsity(0.5, [32] * 4, [2] * 4)
    order = {layer: list(range(32)) for layer in space.layers}
    guided, trained = (STRATEGIES[name](space, order, OPTIONS) for name in ("guided", "gradient_guided"))
    windows, training = {SEARCH: 6, CALIBRATION: 6}, windows_of(trained.schedule, OPTIONS)
    assert trained.expected_windows(windows) - training < guided.expected_windows(windows)


@pytest.mark.parametrize("name", NAMES)
def test_bad_logits_do_no_harm(name):
    worth, space = worth_of_experts(3), make_space()
    end, strategy = search(name, Trainer(logits_by(worth, space, sign=-1)), worth)
    score = scores_by(worth)
    assert score(end.best) >= score(strategy.uniform)
    if name == "guided_gradient":
        alone, _ = search("guided", None, worth)
        assert end.best == alone.best


def test_the_guided_search_goes_on_with_the_order_of_the_logits():
    worth, space = worth_of_experts(5), make_space()
    trainer = Trainer(logits_by(worth, space))
    _, strategy = search("gradient_guided", trainer, worth)
    assert [entry["stage"] for entry in strategy.history][:2] == ["uniform", "keep logits"]
    for layer in space.layers:
        removed = set(range(EXPERTS)) - set(strategy.best[layer])
        assert set(strategy._now[layer][: len(removed)]) == removed


def test_training_is_counted_and_never_exceeds_the_limit():
    worth, space = worth_of_experts(3), make_space()
    limits = Limits(max_evaluations=11)
    trainer = Trainer(logits_by(worth, space), num_windows=9 * WINDOWS)
    end, _ = search("gradient", trainer, worth, limits)
    assert limits.evaluations == 11 and end.best == candidate_of(trainer.logits, space)
    trainer = Trainer(logits_by(worth, space), num_windows=10 * WINDOWS + 1)
    end, strategy = search("gradient", trainer, worth, Limits(max_evaluations=11))
    assert end.best == strategy.uniform and trainer.asked == [] and end.reason.startswith("max_evaluations=11")


@pytest.mark.parametrize("evaluations", [1, 2, 3, 10, 95, 1000])
def test_a_schedule_is_as_long_as_a_limit_allows(evaluations):
    options = EvoESAPOptions(max_evaluations=evaluations, sequence_length=512, search_samples=64)
    schedule = affordable(TrainingSchedule(), options)
    assert schedule.num_tokens <= TrainingSchedule().num_tokens and schedule.tokens_a_step >= 512
    if evaluations >= 3:
        cost = 3 * schedule.num_tokens / (64 * 512)
        assert min(0.85 * (evaluations - 2), 93) <= cost <= evaluations - 2
    assert affordable(TrainingSchedule(), EvoESAPOptions()) == TrainingSchedule()


class Silent(SteppedStrategy):
    """Asks for keep logits and does not say that it trains."""

    num_candidates = 1

    def steps(self):
        yield KeepLogits(logits_of_order(self.order))

    best = property(lambda self: self.uniform)


def test_a_strategy_that_does_not_say_that_it_trains_is_told_what_to_do():
    space = make_space()
    strategy = Silent(space, {layer: list(range(EXPERTS)) for layer in space.layers}, OPTIONS)
    with pytest.raises(
        ValueError, match="Silent asks for keep logits; to get them its class must say `trains = True`"
    ):
        run_search(strategy, boards_of(Scorer(space, lambda allocation: 0.0)), progress=False)


def test_rounds_and_logits_are_told_apart():
    asked = KeepLogits({0: (1.0, 2.0)})
    assert not asked.is_empty and Round(()).is_empty
    assert asked.to_json() == KeepLogits({0: [1, 2]}).to_json()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_counts_the_training(name):
    space, available = make_space(), {"search": 64, "calibration": 32}
    order = {layer: list(range(EXPERTS)) for layer in space.layers}
    long, short = (
        STRATEGIES[name](space, order, EvoESAPOptions(sequence_length=512, max_evaluations=most)).expected_windows(
            available
        )
        for most in (None, 20)
    )
    assert long - short > 0.8 * (3 * 512_000 / 512 - 64 * 18)
    if name == "gradient":
        assert long == 2 * 64 + 3 * 2000


def prune(name, folder=None, **options):
    pruner = make_pruner(allocation=name, max_evaluations=EVALUATIONS, guard=False, seed=4, **options)
    pruner.prune(folder, rows(), rows(seed=1))
    return pruner


@pytest.mark.parametrize("name", ["gradient", "gradient_guided"])
def test_a_run_that_was_killed_after_or_amid_training_is_an_unbroken_one(tmp_path, name, monkeypatch):
    unbroken, trained = prune(name), []
    assert "keep logits" in [entry["stage"] for entry in unbroken.history]
    train, calls = KeepTraining.train, []

    def killed_amid(self, start, schedule, after, unfinished):
        def stop(share):
            calls.append(share)
            if share > 0.5:
                raise KeyboardInterrupt

        return train(self, start, schedule, stop, unfinished)

    def killed_after(self, logits):
        raise KeyboardInterrupt

    def counted(self, *given):
        trained.append(1)
        return train(self, *given)

    for target, attribute, kill in (
        (KeepTraining, "train", killed_amid),
        (SteppedStrategy, "tell_logits", killed_after),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(target, attribute, kill)
            prune(name, tmp_path / "out")
    assert len(calls) > 1, "it was killed amid the training"
    monkeypatch.setattr(KeepTraining, "train", counted)
    resumed = prune(name, tmp_path / "out")
    assert trained == [], "what was trained is not trained again"
    assert resumed.history == unbroken.history and resumed.kept_experts == unbroken.kept_experts
    assert resumed.scores == unbroken.scores


def test_a_model_without_gradients_is_refused_before_the_calibration():
    pruner = make_pruner("listed_moe", allocation="gradient", sparsity=0.25)
    with pytest.raises(ValueError, match="No gradient reaches the experts of the layers"):
        pruner.prune(None, rows(), rows(seed=1))
    assert pruner.statistics is None


def test_keep_and_uniform_counts_hold_on_a_real_model():
    pruner = prune("gradient", keep={0: [0, 1], 1: [7]}, uniform_counts=True)
    assert len({*pruner.allocation}) == 1
    check_candidate(Candidate(tuple(pruner.kept_experts.items())), pruner.space)
    assert {0, 1} <= set(pruner.kept_experts[0]) and 7 in pruner.kept_experts[1]


def test_minutes_end_the_training_and_the_model_is_whole(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("optimum_evoesap.search.limits.time.monotonic", lambda: clock[0])
    steps, train = [], KeepTraining.train

    def slow(self, start, schedule, after, unfinished):
        def step(share):
            clock[0] += 30.0
            steps.append(share)
            after(share)

        return train(self, start, schedule, step, unfinished)

    monkeypatch.setattr(KeepTraining, "train", slow)
    pruner = prune("gradient", max_minutes=2.0)
    assert len(steps) == 4 and pruner.allocation == list(pruner.space.uniform())


def test_logits_of_the_best_point_lead_back_to_it():
    worth, space = worth_of_experts(3), make_space()
    end, strategy = search("guided", None, worth)
    assert candidate_of(logits_of_candidate(end.best, strategy._now), space) == end.best


def test_minutes_of_training_count_when_a_killed_run_goes_on_which_gets_as_far_as_it_was(tmp_path, monkeypatch):
    train, clock = KeepTraining.train, [0.0]
    monkeypatch.setattr("optimum_evoesap.search.limits.time.monotonic", lambda: clock[0])

    def slow(*given):
        clock[0] += 60
        return train(*given)

    monkeypatch.setattr(KeepTraining, "train", slow)
    # The candidate that the logits make is not scored any more.
    first = prune("gradient", None, max_minutes=1.0)
    assert first.result.stopped_because.startswith("max_minutes=1") and len(first.history) == 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SteppedStrategy, "tell_logits", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        prune("gradient", tmp_path / "out", max_minutes=1.5)
    monkeypatch.setattr(KeepTraining, "train", lambda *given: pytest.fail("it is known"))
    again = prune("gradient", tmp_path / "out", max_minutes=1.0)
    assert again.history == first.history and again.result.stopped_because == first.result.stopped_because
