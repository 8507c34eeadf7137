# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Replace functions of a library that may or may not be imported yet, and know which ones could not be replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from typing import Any

from ..heterogeneous.import_hook import install_after_import


class Hooks:
    """Replacements in one library, each made when its module is imported.

    A plugin runs before its host has imported its models, and importing them early would be slow, so it must wait. If
    a module no longer has a function to replace, that is remembered and not raised: the host may run a model that
    does not need it.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._pending: dict[str, str] = {}
        self._absent: list[str] = []
        self.names: list[str] = []

    def add(self, module_name: str, path: str, replace: Callable[[Any], Any]) -> None:
        """Replace a function or method as soon as its module is imported.

        Args:
            module_name: Where it is defined; or where it is imported, to replace it there only.
            path: Its name there, `function` or `Class.method`.
            replace: Makes the replacement from the original.
        """
        owner = path.partition(".")[0]
        self.names.append(f"{module_name}.{path}")
        self._pending[f"{module_name}.{path}"] = module_name

        def install() -> None:
            del self._pending[f"{module_name}.{path}"]
            self._replace(module_name, path, replace)

        install_after_import(module_name, owner, install)

    def missing(self) -> list[str]:
        """What could not be replaced, or never will be as there is no such module."""
        return self._absent + [
            name for name, module in self._pending.items() if module in sys.modules or not _exists(module)
        ]

    def _replace(self, module_name: str, path: str, replace: Callable[[Any], Any]) -> None:
        module = sys.modules[module_name]
        owner_name, _, method = path.rpartition(".")
        owner = getattr(module, owner_name, None) if owner_name else module
        original = vars(owner).get(method) if owner is not None else None
        if original is None:
            self._absent.append(f"{module_name}.{path}")
            return
        replacement = replace(original)
        setattr(owner, method, replacement)
        if not owner_name and original.__module__ == module_name:
            self._replace_imported(original, replacement, method)

    def _replace_imported(self, original: Any, replacement: Any, name: str) -> None:
        """Modules that are loaded already may hold the original under its name."""
        for module_name, module in list(sys.modules.items()):
            if module_name.partition(".")[0] == self._package and vars(module).get(name) is original:
                setattr(module, name, replacement)


def _exists(module_name: str) -> bool:
    """Whether there is such a module, found without importing the packages on the way to it."""
    root, *parts = module_name.split(".")
    if root not in sys.modules:
        return True  # too early to tell
    name = root
    folders: Sequence[str] | None = sys.modules[root].__path__
    for part in parts:
        if folders is None:
            return False  # a module that is no package
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return False
        folders = spec.submodule_search_locations
    return True
