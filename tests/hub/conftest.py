# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The local Hub as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.hub_server import HubServer


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """An empty local Hub; `hub_server.environment(tmp_path)` is the environment of a process that talks to it."""
    with HubServer() as server:
        yield server
