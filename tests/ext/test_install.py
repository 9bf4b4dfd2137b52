"""Installing: from a folder, a zip file or git; nothing leaves its folder, nothing half-done is left, nothing runs."""

from __future__ import annotations

import io
import stat
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.ext.folders import allowed, found_in, write_extension
from webui.ext import install as module
from webui.ext.discover import discover
from webui.ext.install import InstallError, install, install_zip, remove
from webui.ext.state import Choices
from webui.schema.errors import AtelierError, BadRequest, ManifestError

MANIFEST = '[extension]\nid = "theirs"\nname = "Theirs"\nversion = "1.0.0"\napi = "1"\n'
LOUD = "raise RuntimeError('imported')\n"


def packed(files: Mapping[str, str | bytes], **kinds: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = kinds.get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_copied_and_stays_off(tmp_path: Path):
    source = write_extension(tmp_path / "source", "theirs", LOUD, files={"__pycache__/main.pyc": "", "net.py": ""})
    manifest = install(str(source), tmp_path / "into")
    assert manifest.id == "theirs"
    assert names(tmp_path / "into") == {"theirs/extension.toml", "theirs/main.py", "theirs/net.py"}
    assert [one.state for one in discover([tmp_path / "into"], Choices(), bundled={})] == ["disabled"]


def test_the_folder_gets_the_name_of_its_id(tmp_path: Path):
    source = write_extension(tmp_path / "source", "theirs").rename(tmp_path / "any name")
    install(str(source), tmp_path / "into")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["theirs"]


@pytest.mark.parametrize("top", ["", "theirs-main/"])
def test_a_zip_file_may_hold_the_files_or_one_folder_of_them(tmp_path: Path, top: str):
    (tmp_path / "x.zip").write_bytes(packed({f"{top}extension.toml": MANIFEST, f"{top}parts/main.py": LOUD}))
    install(str(tmp_path / "x.zip"), tmp_path / "into")
    assert names(tmp_path / "into") == {"theirs/extension.toml", "theirs/parts/main.py"}


@pytest.mark.parametrize(
    "name",
    ["../out.py", "a/../../out.py", "/out.py", "C:/out.py", "C:out.py", "..\\out.py", "\\\\host\\share\\out.py", "a:b"],
)
def test_no_path_of_a_zip_file_leads_out_of_its_folder(tmp_path: Path, name: str):
    with pytest.raises(InstallError, match="a path that leaves its folder"):
        install_zip(packed({"extension.toml": MANIFEST, name: "x"}), tmp_path / "a" / "into")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("kind", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_a_zip_file_holds_plain_files_alone(tmp_path: Path, kind: int):
    data = packed({"extension.toml": MANIFEST, "link": "/etc/passwd"}, link=kind)
    with pytest.raises(InstallError, match="no plain file: 'link'"):
        install_zip(data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_bomb_is_stopped_by_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST", 3 * 2**20)
    data = packed({"extension.toml": MANIFEST, "a.bin": bytes(2 * 2**20), "b.bin": bytes(2 * 2**20)})
    assert len(data) < 10_000
    with pytest.raises(InstallError, match="more than 3 MiB"):
        install_zip(data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    with pytest.raises(InstallError, match="more than 2 files"):
        install_zip(packed({"extension.toml": MANIFEST, "a": "", "b": ""}), tmp_path)


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path):
    with pytest.raises(InstallError, match="two files of one name"):
        install_zip(packed({"extension.toml": MANIFEST, "a.py": "1", "A.py": "2"}), tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04nonsense", packed({"extension.toml": MANIFEST})[:-30]])
def test_a_broken_zip_file_is_an_error_in_words(tmp_path: Path, data: bytes):
    with pytest.raises(InstallError, match="cannot be read"):
        install_zip(data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_extension_is_refused(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"There is no extension.toml\."):
        install_zip(packed({"scripts/thing.py": ""}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_there_already_is_refused(tmp_path: Path):
    install_zip(packed({"extension.toml": MANIFEST}), tmp_path)
    with pytest.raises(InstallError, match='"theirs" is already installed'):
        install_zip(packed({"extension.toml": MANIFEST, "more.py": ""}), tmp_path)
    assert names(tmp_path) == {"theirs/extension.toml"}


def test_the_id_of_a_bundled_extension_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "read_bundled", lambda: {"theirs": {}})
    with pytest.raises(InstallError, match="comes with the program"):
        install_zip(packed({"extension.toml": MANIFEST}), tmp_path)


def test_a_folder_with_a_link_is_refused(tmp_path: Path):
    source = write_extension(tmp_path / "source", "theirs")
    (source / "link").symlink_to("/etc")
    with pytest.raises(InstallError, match="holds a link: link"):
        install(str(source), tmp_path / "into")


def test_a_folder_that_holds_the_extensions_folder_is_refused(tmp_path: Path):
    write_extension(tmp_path, "theirs")
    with pytest.raises(InstallError, match="holds the extensions folder itself"):
        install(str(tmp_path), tmp_path / "theirs" / "into")


@pytest.mark.parametrize(
    "source", ["nowhere", "--upload-pack=touch x", "https://-oProxyCommand=x/y", "ext::sh -c x", ""]
)
def test_what_is_no_source_is_refused(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path / ".." if source else tmp_path)
    with pytest.raises(InstallError):
        install(source or "missing", tmp_path / "into")
    assert not (tmp_path / "into" / "theirs").exists()


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_a_git_repository_is_cloned(tmp_path: Path):
    source = write_extension(tmp_path / "source", "theirs", LOUD)
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "First")
    install(source.as_uri(), tmp_path / "into")
    assert (tmp_path / "into" / "theirs" / ".git").is_dir()
    assert (tmp_path / "into" / "theirs" / "main.py").read_text() == LOUD


def test_a_repository_that_cannot_be_reached_says_so(tmp_path: Path):
    with pytest.raises(
        InstallError, match=r"Git could not fetch it: .*(not appear to be a git repository|does not exist)"
    ):
        install((tmp_path / "nothing").as_uri(), tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_removing_deletes_the_folder_alone(tmp_path: Path):
    for id in ("one", "two"):
        write_extension(tmp_path, id)
    remove(next(found for found in found_in(tmp_path) if found.id == "one"))
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_removing_a_linked_folder_leaves_what_it_points_to(tmp_path: Path):
    source = write_extension(tmp_path / "source", "theirs")
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "theirs").symlink_to(source, target_is_directory=True)
    (found,) = discover([tmp_path / "into"], allowed("theirs"), bundled={})
    remove(found)
    assert list((tmp_path / "into").iterdir()) == []
    assert (source / "main.py").exists()


def test_what_comes_with_the_program_is_not_removed(tmp_path: Path):
    from webui.ext.bundled import file_hashes

    folder = write_extension(tmp_path, "canny")
    (found,) = discover([tmp_path], Choices(), {"canny": file_hashes(folder)})
    with pytest.raises(BadRequest, match="comes with the program"):
        remove(found)
    assert folder.exists()


def test_a_folder_that_cannot_be_written_is_an_error_in_words(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AtelierError, match="Nothing can be installed into"):
        install_zip(packed({"extension.toml": MANIFEST}), tmp_path / "file")
