"""Folders become extensions with a state and one clear reason, and none of their code runs."""

from __future__ import annotations

from pathlib import Path

from tests.ext.folders import allowed, found_in, write_extension
from webui.ext.bundled import file_hashes
from webui.ext.discover import HOME, discover
from webui.ext.state import Choice, Choices

PREPROCESSOR = '[[preprocessor]]\nid = "{}"\nentry = "main:f"\n'


def states(parent: Path) -> dict[str, tuple[str, str]]:
    return {one.id: (one.state, one.reason) for one in found_in(parent)}


def test_nothing_is_imported(tmp_path: Path):
    write_extension(tmp_path, "loud", "raise RuntimeError('imported')\n", head='hooks = ["open_pass"]')
    assert states(tmp_path) == {"loud": ("ready", "")}


def test_hidden_folders_and_files_are_not_meant(tmp_path: Path):
    for name in (".git", "__pycache__", "_old"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("")
    assert found_in(tmp_path) == ()


def test_a_folder_that_is_missing_holds_nothing(tmp_path: Path):
    assert discover([tmp_path / "missing"], Choices(), bundled={}) == ()


def test_a_folder_named_twice_counts_once(tmp_path: Path):
    write_extension(tmp_path, "canny")
    assert len(discover([tmp_path, tmp_path], Choices(), bundled={})) == 1


def test_the_extensions_of_other_programs_are_invalid(tmp_path: Path):
    (tmp_path / "sd-webui-thing" / "scripts").mkdir(parents=True)
    reason = "There is no extension.toml. Extensions of other programs do not work here."
    assert states(tmp_path) == {"sd-webui-thing": ("invalid", reason)}


def test_third_party_is_off_until_it_is_allowed(tmp_path: Path):
    write_extension(tmp_path, "theirs")
    (one,) = discover([tmp_path], Choices(), bundled={})
    assert (one.state, one.reason) == ("disabled", "it does not come with the program and nobody has allowed it yet")
    (one,) = discover([tmp_path], allowed("theirs"), bundled={})
    assert one.state == "ready"


def test_a_bundled_extension_is_on_and_can_be_switched_off(tmp_path: Path):
    listed = {"canny": file_hashes(write_extension(tmp_path, "canny"))}
    (one,) = discover([tmp_path], Choices(), listed)
    assert (one.bundled, one.state) == (True, "ready")
    (one,) = discover([tmp_path], Choices(extensions={"canny": Choice(enabled=False)}), listed)
    assert (one.state, one.reason) == ("disabled", "it is switched off")


def test_a_bundled_id_with_other_content_is_third_party(tmp_path: Path):
    folder = write_extension(tmp_path, "canny")
    listed = {"canny": file_hashes(folder)}
    (folder / "main.py").write_text("import os\n")
    (one,) = discover([tmp_path], Choices(), listed)
    assert (one.bundled, one.state) == (False, "disabled")


def test_an_api_of_another_major_version_blocks(tmp_path: Path):
    folder = write_extension(tmp_path, "old")
    manifest = (folder / "extension.toml").read_text()
    for api, state in (("0", "blocked"), ("1", "ready"), ("1.0", "ready"), ("1.999", "blocked"), ("2", "blocked")):
        (folder / "extension.toml").write_text(manifest.replace('api = "1"', f'api = "{api}"'))
        assert states(tmp_path)["old"][0] == state, api
    assert states(tmp_path)["old"][1] == "wants extension API 2, this program has 1.0"


def test_another_python_or_program_blocks(tmp_path: Path):
    write_extension(tmp_path, "snake", head='python = "<3.11"')
    write_extension(tmp_path, "newer", head='webui = ">=99"')
    assert states(tmp_path)["snake"][1].startswith("wants Python <3.11, this is 3.")
    assert states(tmp_path)["newer"][1].startswith("wants Atelier >=99, this is ")


def test_packages_are_checked_by_their_metadata(tmp_path: Path):
    write_extension(tmp_path, "past", tables='[dependencies]\npackages = ["numpy<2"]')
    write_extension(tmp_path, "more", tables='[dependencies]\npackages = ["no-such-package>=3"]')
    write_extension(tmp_path, "else", tables="[dependencies]\npackages = [\"no-such-package; python_version < '3'\"]")
    found = states(tmp_path)
    assert found["past"][0] == "blocked"
    assert found["past"][1].startswith("wants numpy<2, installed is 2.")
    assert found["more"] == ("blocked", "needs the package no-such-package>=3, which is not installed")
    assert found["else"][0] == "ready"


def test_two_folders_with_one_id_are_both_blocked(tmp_path: Path):
    for parent in ("one", "two"):
        write_extension(tmp_path / parent, "same")
    found = discover([tmp_path / "one", tmp_path / "two"], allowed("same"), bundled={})
    assert [one.state for one in found] == ["blocked", "blocked"]
    assert found[0].reason == f'the id "same" is also that of the folder {tmp_path / "two" / "same"}'


def test_a_bundled_extension_keeps_its_id(tmp_path: Path):
    listed = {"canny": file_hashes(write_extension(tmp_path / "one", "canny"))}
    write_extension(tmp_path / "two", "canny", "import os\n")
    found = discover([tmp_path / "two", tmp_path / "one"], allowed("canny"), listed)
    assert [(one.bundled, one.state) for one in found] == [(True, "ready"), (False, "blocked")]


def test_a_cycle_blocks_its_members_and_nobody_else(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[order]\nafter = ["bb"]')
    write_extension(tmp_path, "bb", tables='[order]\nafter = ["aa"]')
    write_extension(tmp_path, "cc", tables='[order]\nafter = ["aa"]')
    assert states(tmp_path) == {
        "aa": ("blocked", "order: aa waits for bb waits for aa"),
        "bb": ("blocked", "order: bb waits for aa waits for bb"),
        "cc": ("ready", ""),
    }


def test_a_switched_off_extension_forms_no_cycle(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[order]\nafter = ["bb"]')
    write_extension(tmp_path, "bb", tables='[order]\nafter = ["aa"]')
    found = discover([tmp_path], allowed("aa"), bundled={})
    assert {one.id: one.state for one in found} == {"aa": "ready", "bb": "disabled"}


def test_who_needs_another_is_blocked_without_it(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[dependencies]\nextensions = ["bb"]')
    write_extension(tmp_path, "bb", tables='[dependencies]\nextensions = ["cc"]')
    assert states(tmp_path) == {
        "aa": ("blocked", 'needs the extension "bb", which is blocked'),
        "bb": ("blocked", 'needs the extension "cc", which is not there'),
    }


def test_the_version_of_a_needed_extension_counts(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[dependencies]\nextensions = ["bb>=2"]')
    write_extension(tmp_path, "bb")
    assert states(tmp_path)["aa"] == ("blocked", "wants bb>=2, present is 1.0.0")


def test_who_declares_a_conflict_steps_back(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[dependencies]\nconflicts = ["bb"]')
    write_extension(tmp_path, "bb")
    assert states(tmp_path) == {
        "bb": ("ready", ""),
        "aa": ("blocked", 'cannot run together with the extension "bb"'),
    }


def test_one_preprocessor_has_one_owner(tmp_path: Path):
    write_extension(tmp_path, "aa", tables=PREPROCESSOR.format("canny"))
    write_extension(tmp_path, "bb", tables=PREPROCESSOR.format("canny") + "[order]\norder = -1\n")
    assert states(tmp_path) == {
        "bb": ("ready", ""),
        "aa": ("blocked", 'the preprocessor "canny" is already offered by the extension "bb"'),
    }


def test_the_ready_ones_come_first_and_in_running_order(tmp_path: Path):
    write_extension(tmp_path, "aa", tables='[order]\nafter = ["cc"]')
    write_extension(tmp_path, "bb", tables="[dependencies]\npackages = ['numpy<2']")
    write_extension(tmp_path, "cc")
    assert [one.id for one in found_in(tmp_path)] == ["cc", "aa", "bb"]


def test_all_that_comes_with_the_program_is_ready():
    assert [(one.id, one.reason) for one in discover([HOME], Choices()) if one.state != "ready"] == []
