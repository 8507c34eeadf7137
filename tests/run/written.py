# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Functions as a user writes them in a module."""

from __future__ import annotations

import types


def written(source):
    """The function `function` of a module with that source."""
    module = types.ModuleType("a_module_of_the_user")
    exec(compile(source, "a_module_of_the_user.py", "exec", dont_inherit=True), vars(module))
    return module.function
