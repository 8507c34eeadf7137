# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`EvoESAPConfig`]: every choice of a pruning run, checked when it is made and saved next to the checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from optimum.configuration_utils import BaseConfig
from optimum.version import __version__ as optimum_version
from transformers import __version__ as transformers_version

from .models.short_repr import CodeRepr
from .option_checks import check_option, wrong_option
from .options import EvoESAPOptions
from .presets import preset_options
from .reading import FileContentError, read_json
from .suggestion import did_you_mean, shown
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
            self._check()
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

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Read a configuration from an `evoesap_config.json`, its folder or its repository on the Hub.

        Args:
            pretrained_model_name_or_path: Where it is.
            **kwargs: Fields, which go before those of the file, and where the file comes from: `revision`, `token`,
                `cache_dir`, ...

        Raises:
            OSError: There is none, or the Hub cannot be reached.
            FileContentError: It is no configuration, or one with a wrong value; names the file and the field.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        except FileContentError:
            raise
        except ValueError as error:
            raise FileContentError(f"{pretrained_model_name_or_path}: {error}") from error

    @classmethod
    def _dict_from_json_file(cls, json_file: Any) -> dict[str, Any]:
        # Values are checked together with those that go before them.
        remedy = "Take the file as EvoESAPConfig.save_pretrained writes it."
        read_json(json_file, dict[str, Any], "a configuration of optimum-evoesap", remedy, _check_names_of_file)
        return super()._dict_from_json_file(json_file)

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

    def _check(self) -> None:
        """Refuse wrong values, and undo what JSON makes of right ones."""
        for name in _OPTION_NAMES:
            if name == "sparsity" and (self.is_explicit or self.target_size is not None):
                continue  # it follows from these
            check_option(name, getattr(self, name))
        if self.num_elites >= self.population_size:
            self._fail("num_elites", f"it must be smaller than population_size={self.population_size}.")
        # JSON turns the layer indices into strings.
        if self.keep is not None:
            self.keep = {int(layer): sorted(set(experts)) for layer, experts in self.keep.items()}
        if isinstance(self.allocation, dict):
            self.allocation = {int(layer): count for layer, count in self.allocation.items()}
        elif isinstance(self.allocation, tuple):
            self.allocation = list(self.allocation)

    def _fail(self, name: str, remedy: str) -> None:
        raise wrong_option(name, getattr(self, name), remedy)


def _check_names(options: dict[str, Any]) -> None:
    unknown = [name for name in options if name not in (*_OPTION_NAMES, *_VERSION_KEYS, *_LOADING_KEYS)]
    if unknown:
        known = (*_OPTION_NAMES, "preset")
        hint = did_you_mean(unknown[0], known) or f"the fields are {', '.join(_OPTION_NAMES)}."
        raise ValueError(f"EvoESAPConfig has no field {unknown[0]!r} (value {shown(options[unknown[0]])}); {hint}")


def _check_names_of_file(values: dict[str, Any]) -> None:
    _check_names({name: value for name, value in values.items() if name != "preset"})
