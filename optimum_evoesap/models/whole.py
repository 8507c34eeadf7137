# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The user's model comes back whole: whatever ends a stage, it is as it was before, and no other user sees it sliced.

Slices, hooks and fused forwards undo themselves when they end. But an interrupt may come between any two steps, also
inside of what undoes them. So everything is noted here before the first of them, and one owner puts it back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel

from .model_state import ModelState


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ModelInUseError(RuntimeError):
    """Someone else uses the model while it is sliced."""


class _HasModel(Protocol):
    model: PreTrainedModel


User = TypeVar("User", bound=_HasModel)


class _Claim(NamedTuple):
    user: object
    thread: int


_claims: WeakKeyDictionary[nn.Module, _Claim] = WeakKeyDictionary()
_claiming = threading.Lock()


def leaves_model_whole(
    method: Callable[Concatenate[User, Arguments], Result],
) -> Callable[Concatenate[User, Arguments], Result]:
    """Let a method of an object with a `model` run as in [`run_whole`], with that object as the user.

    Args:
        method: Runs its model, and leaves the weights as they are.
    """

    @wraps(method)
    def guarded(self: User, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return run_whole(self.model, self, lambda: method(self, *args, **kwargs))

    return guarded


def run_whole(model: PreTrainedModel, user: object, work: Callable[[], Result]) -> Result:
    """Do something with a model in evaluation mode, as its only user; afterwards the mode is what it was before.

    Where the work raises, also by an interrupt, everything of the model is put back. Inside the work of the same user
    in the same thread the work simply runs.

    Args:
        model: The model. Its weights must stay.
        user: Who uses it, such as a pruner.
        work: What is done.

    Raises:
        ModelInUseError: Another user, or another thread, has it.
    """
    if _claims.get(model) == _Claim(user, threading.get_ident()):
        return work()
    return run_alone(model, user, lambda: _run_in_eval(model, work))


def run_alone(model: PreTrainedModel, user: object, work: Callable[[], Result]) -> Result:
    """Do something with a model as its only user.

    Args:
        model: The model.
        user: Who uses it.
        work: What is done; it may change the model.

    Raises:
        ModelInUseError: Another user, or another thread, has it.
    """
    claim = _Claim(user, threading.get_ident())
    try:
        _take(model, claim)
        result = work()
        _leave(model, claim)
        return result
    except BaseException:
        _surely(lambda: _leave(model, claim))
        raise


def _run_in_eval(model: PreTrainedModel, work: Callable[[], Result]) -> Result:
    before, thread = ModelState(model), threading.get_ident()

    def refuse_other_threads(*_: Any) -> None:
        if threading.get_ident() != thread:
            raise ModelInUseError(
                f"{type(model).__name__} runs in another thread than the one that prunes it: experts are hidden from "
                "it now, so its outputs would be wrong. Wait until the stage has ended, or use a copy."
            )

    try:
        model.eval()
        outermost = {id(each): each for each in (model, model.base_model)}.values()
        handles = [each.register_forward_pre_hook(refuse_other_threads) for each in outermost]
        result = work()
        for handle in handles:
            handle.remove()
        before.restore_mode()
        return result
    except BaseException:
        _surely(before.restore)
        raise


def _surely(step: Callable[[], None]) -> None:
    """Do something to its end, however often it is interrupted; it must do no harm to begin anew."""
    interrupt: KeyboardInterrupt | None = None
    is_done = False
    while not is_done:
        try:
            step()
            is_done = True
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _take(model: nn.Module, claim: _Claim) -> None:
    with _claiming:
        held = _claims.get(model)
        if held is None:
            _claims[model] = claim
    if held is not None:
        who = "another thread" if held.thread != claim.thread else "another pruner"
        raise ModelInUseError(
            f"This {type(model).__name__} is in use by {who}, which hides experts from it: wait until that has ended, "
            "or use a copy of the model."
        )


def _leave(model: nn.Module, claim: _Claim) -> None:
    # By identity: what another user holds stays.
    with _claiming:
        if _claims.get(model) is claim:
            with suppress(KeyError):
                del _claims[model]
