# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`EvoESAPConfig`]: every choice of a pruning run, checked when it is made and saved next to the checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import math
from typing import TYPE_CHECKING, Any

from optimum.configuration_utils import BaseConfig
from optimum.version import __version__ as optimum_version
from transformers import __version__ as transformers_version

from .calibration.criteria import CRITERIA
from .calibration.criterion_names import AUTO
from .calibration.measured import MEASURED_CRITERIA
from .data.options import SCORED_TOKENS
from .fitness import FITNESSES
from .models.short_repr import CodeRepr
from .models.size import parse_size
from .options import EvoESAPOptions
from .presets import preset_options
from .registry import BUILT_IN_STRATEGIES, STRATEGIES
from .version import __version__


_OPTION_NAMES = tuple(option.name for option in dataclasses.fields(EvoESAPOptions))
_VERSION_KEYS = ("optimum_version", "transformers_version", "optimum_evoesap_version")
# What transformers' own loading code passes along; never a choice of the user.
_LOADING_KEYS = ("model_type", "name_or_path", "_commit_hash")
_FROM_PRETRAINED_KEYS = ("_from_auto", "_from_pipeline", "_commit_hash")


class EvoESAPConfig(CodeRepr, EvoESAPOptions, BaseConfig):
    """Configuration of a pruning run; see [`EvoESAPOptions`] for the fields.

    It is checked when it is made and fixed from then on: a run that began with one ends with the same. `replace` makes
    another.

    Args:
        **options: Any field of [`EvoESAPOptions`], and `preset`, a name for the values of many of them: `"paper"` for
            criterion, sizes and loop of the paper as they were for OLMoE (for ERNIE it took 20 generations, for
            Qwen3-30B 10). Fields given next to it go before its values. Only the values are kept, not the name.

    Raises:
        ValueError: A field has a wrong value, or it or the preset is unknown. The message names the field, the value
            and the remedy.

    Example:
        ```python
        >>> config = EvoESAPConfig(sparsity=0.5)
        >>> config.save_pretrained("olmoe-50")  # writes evoesap_config.json
        ```
    """

    CONFIG_NAME = FULL_CONFIGURATION_FILE = "evoesap_config.json"
    model_type = "evoesap"

    if not TYPE_CHECKING:  # there, and for `inspect.signature`, the fields of EvoESAPOptions are the arguments

        @functools.wraps(EvoESAPOptions.__init__)
        def __init__(self, **options: Any):
            options = preset_options(options.pop("preset", None)) | options
            _check_names(options)
            BaseConfig.__init__(self)
            for option in dataclasses.fields(EvoESAPOptions):
                setattr(self, option.name, copy.deepcopy(options.get(option.name, option.default)))
            self._set_sparsity_aside(options.get("sparsity"))
            self._check_choices()
            self._check_numbers()
            self._check_keep()
            self._check_allocation()
            self.__dict__["_is_fixed"] = True

    def _set_sparsity_aside(self, given: Any) -> None:
        """Removed counts, or a size, say how much goes; more than one of the three would contradict each other."""
        if self.is_explicit and self.target_size is not None:
            self._fail("target_size", "it follows from the removed counts in allocation; leave one of the two out.")
        if not self.is_explicit and self.target_size is None:
            return
        if given is not None:
            source = "the removed counts in allocation" if self.is_explicit else "target_size"
            self._fail("sparsity", f"it follows from {source}; leave one of the two out.")
        self.sparsity = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OPTION_NAMES and self.__dict__.get("_is_fixed"):
            raise dataclasses.FrozenInstanceError(
                f"EvoESAPConfig.{name} is fixed once the configuration is made; make another one with "
                f"config.replace({name}={value!r})."
            )
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in _OPTION_NAMES:
            raise dataclasses.FrozenInstanceError(f"EvoESAPConfig.{name} cannot be deleted.")
        super().__delattr__(name)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A configuration from the fields in a dict; keyword arguments go before them.

        Args:
            config_dict: Fields, such as `to_dict` gives them.
            **kwargs: Further fields, and `return_unused_kwargs` as in transformers: return a pair of the configuration
                and the keyword arguments that are no fields, where otherwise those are errors.

        Raises:
            ValueError: As for the class.
        """
        returns_unused = kwargs.pop("return_unused_kwargs", False)
        kwargs = {name: value for name, value in kwargs.items() if name not in _FROM_PRETRAINED_KEYS}
        known = (*_OPTION_NAMES, "preset")
        unused = {name: kwargs.pop(name) for name in list(kwargs) if returns_unused and name not in known}
        config = cls(**config_dict | kwargs)
        return (config, unused) if returns_unused else config

    def replace(self, **changes: Any) -> EvoESAPConfig:
        """A configuration with other values in some fields; a sparsity, a size and removed counts replace each other.

        Args:
            **changes: Any field of [`EvoESAPOptions`], and `preset`.

        Raises:
            ValueError: As for the class.
        """
        changes = preset_options(changes.pop("preset", None)) | changes
        options = {name: getattr(self, name) for name in _OPTION_NAMES}
        allocation = changes.get("allocation", self.allocation)
        if not isinstance(allocation, str):
            options["sparsity"] = options["target_size"] = None
        elif self.is_explicit and not changes.keys() & {"sparsity", "target_size"}:
            raise ValueError(
                f"allocation={allocation!r} takes the place of removed counts and needs a sparsity: give it too, as "
                f"in replace(allocation={allocation!r}, sparsity=0.5)."
            )
        elif changes.get("target_size") is not None:
            options["sparsity"] = None
        elif changes.get("sparsity") is not None:
            options["target_size"] = None
        return EvoESAPConfig(**options | changes)

    @property
    def is_searched(self) -> bool:
        """Whether a strategy has to find the allocation."""
        return isinstance(self.allocation, str) and self.allocation != "uniform"

    @property
    def is_explicit(self) -> bool:
        """Whether the user gave the removed counts themselves."""
        return not isinstance(self.allocation, str)

    def _summary(self) -> list[tuple[str, str]]:
        values = [(option, getattr(self, option.name)) for option in dataclasses.fields(EvoESAPOptions)]
        return [(option.name, repr(value)) for option, value in values if value != option.default]

    def to_dict(self) -> dict[str, Any]:
        """All fields, also those at their default (which a later release may change), and the versions."""
        versions = (optimum_version, transformers_version, __version__)
        options = {name: copy.deepcopy(getattr(self, name)) for name in _OPTION_NAMES}
        return options | dict(zip(_VERSION_KEYS, versions))

    def to_diff_dict(self) -> dict[str, Any]:
        """The same as `to_dict`: a saved run must not depend on defaults."""
        return self.to_dict()

    def _fail(self, name: str, remedy: str) -> None:
        raise ValueError(f"EvoESAPConfig: {name}={getattr(self, name)!r} is not valid: {remedy}")

    def _check_choices(self) -> None:
        choices = {
            "criterion": (*CRITERIA, *MEASURED_CRITERIA, AUTO),
            "fitness": tuple(FITNESSES),
            "goal": ("mean", "worst"),
            "scored_tokens": SCORED_TOKENS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                more = (
                    f" (or register your own with @register_{name})" if name not in ("goal", "scored_tokens") else ""
                )
                self._fail(name, f"choose one of {', '.join(allowed)}{more}.")
        for name in ("calibration_dataset", "search_dataset", "data_split"):
            value = getattr(self, name)
            if value is None and name != "data_split":
                continue  # the data were, or will be, given in memory
            if not isinstance(value, str) or not value.strip():
                self._fail(name, "give the name or path as a non-empty string.")
        for name in ("data_config", "data_revision"):
            if getattr(self, name) is not None and not isinstance(getattr(self, name), str):
                self._fail(name, "give a string or None.")
        for name in ("packing", "skip_unusable_rows", "uniform_counts", "protect_super_experts", "guard"):
            if not isinstance(getattr(self, name), bool):
                self._fail(name, "give True or False.")
        trackers = [self.report_to] if isinstance(self.report_to, str) else self.report_to
        if trackers is not None and not (isinstance(trackers, list) and all(_is_name(each) for each in trackers)):
            self._fail("report_to", "give the name of a tracker, such as trackio, a list of names, or None.")
        if self.racing not in (True, False, None):
            self._fail("racing", "give True, False, or None for what suits the strategy.")
        if self.columns is not None and not isinstance(self.columns, dict):
            self._fail("columns", 'give a dict from role to column, such as {"prompt": "question"}, or None.')

    def _check_numbers(self) -> None:
        if self.target_size is not None:
            try:
                parse_size(self.target_size)
            except ValueError as error:
                self._fail("target_size", str(error))
        elif not self.is_explicit and not _is_number(self.sparsity, 0, 1, open_ends=True):
            self._fail("sparsity", "give the share of experts to remove, strictly between 0 and 1, such as 0.25.")
        if not _is_number(self.holdout_fraction, 0, 1):
            self._fail("holdout_fraction", "give a share between 0 (no held-out comparison) and 1.")
        lowest = {"sequence_length": 2, "seed": 0}
        for name in (
            "calibration_samples", "search_samples", "sequence_length", "population_size", "num_elites",
            "generations", "max_delta", "max_mutations", "seed",
        ):  # fmt: skip
            low = lowest.get(name, 1)
            if not _is_count(getattr(self, name), low):
                self._fail(name, f"give a whole number of at least {low}.")
        if self.num_elites >= self.population_size:
            self._fail("num_elites", f"it must be smaller than population_size={self.population_size}.")
        if self.batch_size is not None and not _is_count(self.batch_size, 1):
            self._fail("batch_size", "give a whole number of at least 1, or None for what suits the device.")
        if self.criterion_samples is not None and not _is_count(self.criterion_samples, 1):
            self._fail("criterion_samples", "give a whole number of at least 1, or None for 4096 tokens.")
        if self.max_evaluations is not None and not _is_count(self.max_evaluations, 1):
            self._fail("max_evaluations", "give a whole number of at least 1, or None for no limit.")
        if self.patience is not None and not _is_count(self.patience, 1):
            self._fail("patience", "give a whole number of at least 1, or None for no limit.")
        if self.max_minutes is not None and not (_is_number(self.max_minutes, 0, math.inf) and self.max_minutes > 0):
            self._fail("max_minutes", "give a number above 0, or None for no limit.")
        if self.min_experts is not None and not _is_count(self.min_experts, 1):
            self._fail("min_experts", "give a whole number of at least 1, or None for the model's top-k.")

    def _check_keep(self) -> None:
        if self.keep is None:
            return
        remedy = "give a dict from decoder layer to a list of its experts, such as {0: [3, 17], 5: [2]}, or None."
        if not isinstance(self.keep, dict) or not self.keep:
            self._fail("keep", remedy)
        for layer, experts in self.keep.items():
            is_layer = _is_count(layer, 0) or str(layer).isdecimal()
            if not (is_layer and isinstance(experts, (list, tuple)) and all(_is_count(each, 0) for each in experts)):
                self._fail("keep", remedy)
        # JSON turns the layer indices into strings.
        self.keep = {int(layer): sorted(set(experts)) for layer, experts in self.keep.items()}

    def _check_allocation(self) -> None:
        given = self.allocation
        if isinstance(given, str):
            if given not in (*BUILT_IN_STRATEGIES, "uniform", *STRATEGIES):
                names = ", ".join(BUILT_IN_STRATEGIES)
                remedy = (
                    f"choose {names}, uniform or a strategy registered with @register_strategy, or give the removed "
                )
                self._fail("allocation", remedy + "counts as a list or dict.")
            return
        if isinstance(given, dict):
            if not all(_is_count(layer, 0) or str(layer).isdecimal() for layer in given):
                self._fail("allocation", "its keys are the indices of decoder layers.")
            # JSON turns the layer indices into strings.
            self.allocation = {int(layer): count for layer, count in given.items()}
        elif isinstance(given, (list, tuple)):
            self.allocation = list(given)
        counts = list(given.values()) if isinstance(given, dict) else self.allocation
        if not isinstance(counts, list) or not all(_is_count(count, 0) for count in counts):
            self._fail("allocation", "removed counts are whole numbers of at least 0, one per sparse layer.")
        if not any(counts):
            self._fail("allocation", "it removes nothing; remove at least one expert from one layer.")


def _check_names(options: dict[str, Any]) -> None:
    unknown = [name for name in options if name not in (*_OPTION_NAMES, *_VERSION_KEYS, *_LOADING_KEYS)]
    if unknown:
        close = difflib.get_close_matches(unknown[0], (*_OPTION_NAMES, "preset"), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; the fields are {', '.join(_OPTION_NAMES)}."
        raise ValueError(f"EvoESAPConfig has no field {unknown[0]!r} (value {options[unknown[0]]!r}){hint}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: Any, low: float, high: float, open_ends: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return low < value < high if open_ends else low <= value <= high
