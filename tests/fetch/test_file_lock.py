"""A file that one program at a time may hold."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from webui.fetch.file_lock import locked

HOLDER = """
import sys
from pathlib import Path
from webui.fetch.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_another_program_waits_and_the_file_is_gone_afterwards(tmp_path: Path) -> None:
    path, waited = tmp_path / "x.lock", []
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"

    def waiting() -> None:
        if not waited:
            child.communicate("go on\n")
        waited.append(path)

    with locked(path, waiting):
        assert path.exists()
    assert waited == [path]
    assert not path.exists()


def test_a_holder_that_is_killed_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.kill()
    child.communicate()
    with locked(path, lambda: pytest.fail("it is free")):
        pass


def test_one_thread_at_a_time_holds_it(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "x.lock", [], []

    def hold() -> None:
        for _ in range(20):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 60)


def test_who_waits_may_give_up(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"

    def give_up() -> None:
        raise TimeoutError

    with locked(path), pytest.raises(TimeoutError), locked(path, give_up):
        pass
    assert not path.exists()
