# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`KeepTraining`]: keep logits of the experts, trained through the frozen model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch

from ...fitness.scorer import FitnessScorer
from ...fitness.teacher import TeacherBatch
from ...models.batching import Batch, in_batches_of
from ...models.frozen import frozen
from ...models.output_head import differentiable_hidden_states
from ...models.recomputed import recomputed
from ...models.sparse_model import SparseModel
from ...models.unfinished import NOT_KEPT, Part, Unfinished
from .gradient_check import can_recompute, check_gradients, decoder_layers
from .mask import Choose, KeepMask
from .schedule import TrainingSchedule


# Bytes of logits, and of what their loss needs, that are held at once.
_BLOCK_BYTES = 768 * 2**20
_BYTES_PER_LOGIT = 32


class KeepTraining:
    """Trains keep logits: KL to the unpruned model, whose routers stay and whose experts lose their gate weights.

    Each step draws a candidate of the budget around the logits and runs the model with the gate weights of its removed
    experts zeroed, without routing anew: with the routes of a slice the gradient would say nothing of experts that are
    not there, and training fails. The adapters say what becomes of the weights that are left.

    Args:
        sparse_model: The unpruned model.
        batches: The data, with labels: broad ones, as for a criterion.
        choose: Which experts are kept for given logits.
        seed: Of the noise and of the order of the batches.
        least: As for [`KeepMask`].

    Raises:
        ValueError: The model lets no gradient through.
    """

    def __init__(
        self,
        sparse_model: SparseModel,
        batches: Sequence[Batch],
        choose: Choose,
        seed: int = 42,
        least: Mapping[int, int] | None = None,
    ):
        check_gradients(sparse_model, batches[0]["input_ids"])
        self._sparse_model, self._given = sparse_model, list(batches)
        self._choose, self._seed, self._least = choose, seed, least

    def num_windows(self, schedule: TrainingSchedule) -> int:
        """Windows that go through the model, forwards and backwards, in all steps.

        Args:
            schedule: How long it is trained.
        """
        tokens = [batch["input_ids"] for batch in self._batches(schedule)]
        return sum(len(tokens[number]) for step in _steps(tokens, schedule, self._seed) for number in step)

    def train(
        self,
        start: Mapping[int, Sequence[float]],
        schedule: TrainingSchedule,
        after: Callable[[float], None] = lambda progress: None,
        unfinished: Unfinished = NOT_KEPT,
    ) -> dict[int, list[float]]:
        """The trained logits.

        Where memory is short it begins again with fewer windows at once.

        Args:
            start: Logits to begin with, for each layer that can lose experts; those of the others are not trained.
            schedule: How long, and how boldly.
            after: Called after each step with the share of the steps that are done.
            unfinished: Keeps the logits from time to time, and brings those of a killed run.

        Raises:
            ValueError: A gradient is NaN or infinite.
        """
        scorer = FitnessScorer(self._sparse_model.model, self._batches(schedule), "kl", self._seed)
        try:
            return scorer.fit(lambda: self._attempt(scorer, start, schedule, after, unfinished))
        finally:
            scorer.forget()

    def _attempt(
        self,
        scorer: FitnessScorer,
        start: Mapping[int, Sequence[float]],
        schedule: TrainingSchedule,
        after: Callable[[float], None],
        unfinished: Unfinished,
    ) -> dict[int, list[float]]:
        mask = KeepMask(start, self._choose, self._seed, self._least)
        optimizer = torch.optim.Adam([mask.values], lr=schedule.learning_rate)
        steps_done = unfinished.found(lambda part: _go_on(part, mask, optimizer, scorer.batch_size)) or 0
        steps = list(_steps([batch.inputs["input_ids"] for batch in scorer.teacher], schedule, self._seed))
        with frozen(self._sparse_model.model), ExitStack() as undo:
            if self._recomputes:
                undo.enter_context(recomputed(decoder_layers(self._sparse_model)))
            for number, step in list(enumerate(steps))[steps_done:]:
                temperature = schedule.temperature_at(number / max(1, len(steps) - 1))
                factors = mask.draw(temperature, schedule.noise * temperature)
                optimizer.zero_grad()
                self._backward(scorer, [scorer.teacher[each] for each in step], factors)
                self._check_finite(mask)
                optimizer.step()
                unfinished.keep(partial(_part, number + 1, mask, optimizer, scorer.batch_size))
                after((number + 1) / len(steps))
        return mask.logits()

    def _check_finite(self, mask: KeepMask) -> None:
        # There is none after a step whose windows have no scored token.
        if mask.values.grad is not None and not torch.isfinite(mask.values.grad).all():
            raise ValueError(
                f"The gradients of the keep logits of {type(self._sparse_model.model).__name__} are NaN or infinite. "
                "Load the model in another dtype (bfloat16 or float32 in place of float16), or choose a strategy that "
                "trains none, such as allocation='guided'."
            )

    def _batches(self, schedule: TrainingSchedule) -> list[Batch]:
        longest = max(batch["input_ids"].shape[1] for batch in self._given)
        return in_batches_of(self._given, max(1, schedule.tokens_a_step // longest))

    @property
    def _recomputes(self) -> bool:
        """On a GPU memory is what is short."""
        tokens = self._given[0]["input_ids"]
        return tokens.is_cuda and can_recompute(self._sparse_model, tokens)

    def _backward(
        self, scorer: FitnessScorer, batches: Sequence[TeacherBatch], factors: Mapping[int, torch.Tensor]
    ) -> None:
        """Add the gradient of the mean KL over the scored positions of some batches."""
        positions = sum(batch.targets.numel() for batch in batches)
        # The gradients of all batches are added up here, so that the way back to the logits is gone once.
        leaves = {layer: each.detach().requires_grad_() for layer, each in factors.items()}
        with ExitStack() as undo:
            for layer in self._sparse_model.layers:
                if layer.index in leaves:
                    layer.weigh(leaves[layer.index], undo)
            for batch in batches:
                if batch.targets.numel():
                    hidden = differentiable_hidden_states(self._sparse_model.model, batch.inputs)
                    student = scorer.at_positions(hidden, batch.inputs, batch.scored)
                    student.backward(_loss_gradient(scorer, batch, student) / positions)
        reached = [layer for layer, leaf in leaves.items() if leaf.grad is not None]
        torch.autograd.backward([factors[each] for each in reached], [leaves[each].grad for each in reached])


def _loss_gradient(scorer: FitnessScorer, batch: TeacherBatch, student: torch.Tensor) -> torch.Tensor:
    """Gradient of the summed KL by what enters the output layer, with a part of the logits in memory at a time."""
    teacher, head = batch.hidden_on_device(), scorer.head
    leaf = student.detach().requires_grad_()
    size = max(1, _BLOCK_BYTES // (_BYTES_PER_LOGIT * head.vocabulary))
    for start in range(0, len(leaf), size):
        part = slice(start, start + size)
        with torch.no_grad():
            known = head(teacher[part]).float() - batch.log_sum_exp[part, None]
        log_probabilities = head(leaf[part]).float().log_softmax(dim=-1)
        (known.exp() * (known - log_probabilities)).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def _part(done: int, mask: KeepMask, optimizer: torch.optim.Optimizer, batch_size: int) -> Part:
    # There is nothing of Adam before the first gradient.
    moments = optimizer.state_dict()["state"].get(0, {})
    tensors = {"values": mask.values.detach(), "drawn": mask.drawn} | {
        f"adam.{name}": moments[name] for name in moments
    }
    return tensors, {"done": done, "batch_size": batch_size}


def _go_on(part: Part, mask: KeepMask, optimizer: torch.optim.Optimizer, batch_size: int) -> int:
    """Take the logits of an earlier run, and return how many steps they have been trained."""
    tensors, values = part
    if values["batch_size"] != batch_size:
        raise ValueError(f"trained with {values['batch_size']} windows at once, and not {batch_size}")
    moments = {name.removeprefix("adam."): each for name, each in tensors.items() if name.startswith("adam.")}
    mask.go_on_from(tensors["values"], tensors["drawn"])
    state = optimizer.state_dict()
    optimizer.load_state_dict(state | {"state": {0: moments} if moments else {}})
    return int(values["done"])


def _steps(tokens: Sequence[torch.Tensor], schedule: TrainingSchedule, seed: int) -> Iterator[list[int]]:
    """Numbers of the batches of each step: all of them, in an order that is drawn anew each time they are used up."""
    generator = torch.Generator().manual_seed(seed)
    seen, step, tokens_of_step = 0, [], 0
    while seen < schedule.num_tokens:
        for number in torch.randperm(len(tokens), generator=generator).tolist():
            step.append(number)
            tokens_of_step += tokens[number].numel()
            if tokens_of_step >= schedule.tokens_a_step:
                yield step
                seen, step, tokens_of_step = seen + tokens_of_step, [], 0
                if seen >= schedule.num_tokens:
                    return
