# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What all tests share."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from optimum_evoesap.run import pace
from tests.hub_server import HubServer


# Tests never reach for the Hub; those that push run against a local server in processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Kernels run in Triton's interpreter where there is no GPU. Read when Triton is imported, which much of torch may do.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
# The models are tiny: more threads cost more than they bring, and the tests run in several processes.
torch.set_num_threads(1)


# The same examples each time, so that what passes once passes again; `HYPOTHESIS_PROFILE=explore` draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """An empty local Hub; `hub_server.environment(tmp_path)` is the environment of a process that talks to it."""
    with HubServer() as server:
        yield server


@pytest.fixture
def keeps_rounds(monkeypatch) -> None:
    """A run keeps what each round has brought, however long writing takes; the models are tiny."""
    monkeypatch.setattr(pace, "MOST_OF_TIME", math.inf)


@pytest.fixture
def keeps_all(keeps_rounds, monkeypatch) -> None:
    """A run keeps everything at once, unfinished work too."""
    monkeypatch.setattr(pace, "SECONDS_BETWEEN", 0.0)
