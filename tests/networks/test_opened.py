"""Network files that stay open between jobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webui.networks.opened import OpenedFiles


def written(path: Path, text: str, time: int = 1) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(time, time))
    return path


def opened(files: OpenedFiles, path: Path, name: str = "a") -> str:
    return files.get(path, name, path.read_text)


@pytest.mark.parametrize("beside", ["", "a.json"])
def test_a_file_is_opened_once_and_again_when_it_or_what_stands_beside_it_changes(tmp_path: Path, beside: str) -> None:
    files, path, calls = OpenedFiles(), written(tmp_path / "a.safetensors", "one"), []
    for change in (False, False, True, False):
        if change:
            written(tmp_path / (beside or path.name), "two", 2)
        files.get(path, "a", lambda: calls.append(path.read_text()))
    assert calls == ["one", "one" if beside else "two"]


def test_the_settings_of_pefts_files_count_and_those_beside_other_files_do_not(tmp_path: Path) -> None:
    for name, expected in (("adapter_model", ["one", "one"]), ("other", ["one"])):
        files, path, calls = OpenedFiles(), written(tmp_path / name / f"{name}.safetensors", "one"), []
        for time in (1, 2):
            written(path.parent / "adapter_config.json", "{}", time)
            files.get(path, "a", lambda path=path, calls=calls: calls.append(path.read_text()))  # type: ignore[misc]
        assert calls == expected


def test_another_name_is_another_network_as_messages_say_it(tmp_path: Path) -> None:
    files, path = OpenedFiles(), written(tmp_path / "a.safetensors", "one")
    assert [files.get(path, name, lambda name=name: name) for name in "aba"] == ["a", "b", "a"]  # type: ignore[misc]


def test_files_that_were_not_used_for_the_longest_go_and_the_last_one_stays(tmp_path: Path) -> None:
    files = OpenedFiles(limit=6)
    paths = [written(tmp_path / f"{name}.safetensors", "one") for name in "abc"]
    for path in (*paths, paths[0]):
        opened(files, path)
    files.trim()
    now = [files.get(path, "a", lambda: "anew") for path in (paths[0], paths[2], paths[1])]
    assert now == ["one", "one", "anew"]
    files = OpenedFiles(limit=0)
    opened(files, paths[0])
    files.trim()
    assert files.get(paths[0], "a", lambda: "anew") == "one"


def test_a_file_that_is_gone_tells_it_by_what_opens_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors"):
        opened(OpenedFiles(), tmp_path / "a.safetensors")
