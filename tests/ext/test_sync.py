"""Packages of extensions: planned against the program's own versions, installed on the user's word alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.ext.folders import allowed, found_in, write_extension
from webui.ext.discover import discover
from webui.ext.sync import SyncError, carry_out, plan, wanted_packages


class Pip:
    """Remembers what it was asked and the constraints it was given."""

    def __init__(self, report: object = None, error: str = "") -> None:
        self.asked: list[list[str]] = []
        self.constraints = ""
        self._report, self._error = report, error

    def __call__(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(list(arguments))
        self.constraints = Path(arguments[arguments.index("--constraint") + 1]).read_text()
        code = 1 if self._error else 0
        return subprocess.CompletedProcess(arguments, code, json.dumps(self._report), self._error)


def test_the_plan_is_what_pip_would_install():
    pip = Pip({"install": [{"metadata": {"name": "einops", "version": "0.8.1"}}]})
    assert plan(["einops>=0.8"], pip) == ("einops==0.8.1",)
    assert "--dry-run" in pip.asked[0]
    assert pip.asked[0][-1] == "einops>=0.8"


def test_the_programs_own_packages_are_pinned_to_what_is_installed():
    pip = Pip({"install": []})
    plan(["einops"], pip)
    assert f"numpy=={version('numpy')}\n" in pip.constraints
    assert f"torch=={version('torch')}\n" in pip.constraints
    assert all(re.fullmatch(r"[\w.-]+==\S+", line) for line in pip.constraints.splitlines())


def test_what_cannot_be_resolved_is_told_in_pips_words():
    pip = Pip(error="noise\nERROR: Cannot install numpy<2\nERROR: ResolutionImpossible: for help\n")
    with pytest.raises(SyncError, match="These packages cannot be installed: ResolutionImpossible: for help"):
        plan(["numpy<2"], pip)
    with pytest.raises(SyncError, match="These packages were not installed: "):
        carry_out(["numpy<2"], pip)


def test_without_wishes_pip_is_not_asked():
    pip = Pip()
    assert plan([], pip) == ()
    assert pip.asked == []


def test_who_is_blocked_by_a_package_is_asked_too_but_not_who_is_off(tmp_path: Path):
    for id, package in (("aa", "no-such-a"), ("bb", "no-such-b"), ("cc", "no-such-c")):
        write_extension(tmp_path, id, tables=f'[dependencies]\npackages = ["{package}"]')
    choices = allowed("aa", "bb")
    found = discover([tmp_path], choices, bundled={})
    assert wanted_packages(found, choices) == ("no-such-a", "no-such-b")
    assert wanted_packages(found, choices, ["bb"]) == ("no-such-b",)


def test_an_extension_without_wishes_wants_nothing(tmp_path: Path):
    write_extension(tmp_path, "aa")
    assert wanted_packages(found_in(tmp_path), allowed("aa")) == ()
