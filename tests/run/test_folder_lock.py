# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One run at a time in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from optimum_evoesap.run.folder_lock import FolderInUseError, FolderLock
from tests.pruning import make_pruner, rows
from tests.run.broken_off import break_off


HOLD = """
import sys, time
from optimum_evoesap.run.folder_lock import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_second_run_in_the_folder_of_a_running_one_is_refused(tmp_path):
    folder = tmp_path / "new" / "out"
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().strip() == b"held"
        pruner = make_pruner(allocation=[1, 2, 3])
        prepare = pruner._prepare
        pruner._prepare = lambda *_: pytest.fail("the work must not start")
        with pytest.raises(FolderInUseError, match=r"new/out is in use .* wait .* or give another folder"):
            pruner.prune(folder, rows())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What a killed process held blocks nobody.
    assert (folder / ".evoesap" / "lock").exists()
    pruner._prepare = prepare
    pruner.prune(folder, rows())
    assert (folder / "config.json").is_file() and not (folder / ".evoesap").exists()


def test_two_pruners_of_one_process(tmp_path):
    first, second = make_pruner(allocation=[1, 2, 3]), make_pruner(allocation=[3, 2, 1])
    done = make_pruner(allocation=[1, 2, 3])
    done.prune(None, rows())
    calibrate = first.calibrate

    def meanwhile():
        with pytest.raises(FolderInUseError):
            second.prune(tmp_path / "out", rows())
        with pytest.raises(FolderInUseError):
            done.save_pretrained(tmp_path / "out")
        return calibrate()

    first.calibrate = meanwhile
    first.prune(tmp_path / "out", rows())
    assert json.loads((tmp_path / "out" / "evoesap_result.json").read_text())["allocation"] == [1, 2, 3]
    second.prune(tmp_path / "out", rows())
    done.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / ".evoesap").exists()


def test_the_lock_goes_with_a_failed_run_and_so_do_folders_made_for_nothing(tmp_path):
    with pytest.raises(ValueError, match="calibration data"):
        make_pruner().prune(tmp_path / "new" / "out", [], rows())
    assert not (tmp_path / "new").exists()
    break_off(tmp_path / "out")
    assert not (tmp_path / "out" / ".evoesap" / "lock").exists()
    with FolderLock(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / ".evoesap" / "search-000000.json").exists()


def test_a_lock_on_a_file_that_another_run_has_replaced_is_none(tmp_path, monkeypatch):
    """B has opened the file of A when A ends and removes it; C makes a new one and locks it; B's lock comes last."""
    first, second, third = (FolderLock(tmp_path / "out") for _ in range(3))
    path = first.folder / "lock"
    acquire, tries = FileLock.acquire, []

    with ExitStack() as stack:
        first.__enter__()

        def late(self, *args, **options):
            tries.append(self)
            if self is not second._lock or tries.count(self) > 1:
                return acquire(self, *args, **options)
            # By hand, so that B ends up with the file that A had, locked and removed.
            first._lock.release()
            taken = acquire(self, *args, **options)
            path.unlink()
            stack.enter_context(third)
            return taken

        monkeypatch.setattr(FileLock, "acquire", late)
        with pytest.raises(FolderInUseError):
            second.__enter__()
        assert tries == [second._lock, third._lock, second._lock]
        assert not second._lock.is_locked and third._lock.is_locked and path.exists()
    assert not path.parent.exists()
    with second:
        assert second._lock.is_locked


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
def test_a_folder_that_goes_while_it_is_made_is_made_again(error, tmp_path, monkeypatch):
    mkdir, failures = Path.mkdir, [error()] * 3

    def racing(self, *args, **options):
        if failures:
            raise failures.pop()
        mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", racing)
    with FolderLock(tmp_path / "out"):
        assert not failures and (tmp_path / "out" / ".evoesap" / "lock").exists()


def test_a_file_where_the_folder_should_be_is_said(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".evoesap").write_text("")
    with pytest.raises(FileExistsError):
        FolderLock(tmp_path / "out").__enter__()
