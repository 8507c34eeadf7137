# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tells `optimum-cli` about `optimum-cli evoesap`."""

from optimum_evoesap.commands import EvoESAPCommand


REGISTER_COMMANDS = [EvoESAPCommand]
