"""A file is resumed where it broke off, begun anew where it is another one, and kept only if it is the declared one."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.fetch.stand_in import Served, StandIn
from webui.fetch.errors import FetchError
from webui.fetch.names import name_of, plain_name
from webui.fetch.receive import Known, Wanted, receive
from webui.fetch.room import SPARE
from webui.fetch.web import Web
from webui.schema.errors import DiskError

HERE = Web(private=True)
DATA = bytes(range(256)) * 20_000
SHA = hashlib.sha256(DATA).hexdigest()


def wanted(far: StandIn, tmp_path: Path, **more: object) -> Wanted:
    return Wanted(f"{far.url}/file", tmp_path / "part", "net", **more)  # type: ignore[arg-type]


def begin(far: StandIn, tmp_path: Path, **more: object) -> int:
    """Fetch so much that the connection ends in the middle; how much has come."""
    far.files["/file"].cut = 3_000_000
    with pytest.raises(FetchError, match="what has come is kept"):
        receive(wanted(far, tmp_path, **more), HERE)
    far.files["/file"].cut = 0
    return (tmp_path / "part").stat().st_size


def test_the_rest_is_asked_for_with_the_mark_of_what_was_begun(far: StandIn, tmp_path: Path):
    far.files["/file"] = Served(DATA, '"one"')
    there = begin(far, tmp_path)
    assert 0 < there < len(DATA)
    receive(wanted(far, tmp_path), HERE)
    assert (tmp_path / "part").read_bytes() == DATA
    assert far.asked[-1].headers["range"] == f"bytes={there}-"
    assert far.asked[-1].headers["if-range"] == '"one"'


@pytest.mark.parametrize("honest", [True, False])
def test_another_file_of_that_name_is_begun_anew(far: StandIn, tmp_path: Path, honest: bool):
    far.files["/file"] = Served(DATA, '"one"')
    begin(far, tmp_path)
    far.files["/file"] = Served(DATA[::-1], '"two"', honest=honest)
    receive(wanted(far, tmp_path), HERE)
    assert (tmp_path / "part").read_bytes() == DATA[::-1]


def test_a_server_without_ranges_begins_anew(far: StandIn, tmp_path: Path):
    far.files["/file"] = Served(DATA, '"one"', ranges=False)
    begin(far, tmp_path)
    receive(wanted(far, tmp_path), HERE)
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_begun_anew(far: StandIn, tmp_path: Path):
    far.files["/file"] = Served(DATA, '"one"')
    (tmp_path / "part").write_bytes(DATA + b"more")
    receive(wanted(far, tmp_path), HERE)
    assert (tmp_path / "part").read_bytes() == DATA


def test_what_has_come_whole_is_not_asked_for_again(far: StandIn, tmp_path: Path):
    far.files["/file"] = Served(DATA, '"one"')
    receive(wanted(far, tmp_path), HERE)
    receive(wanted(far, tmp_path, sha256=SHA), HERE)
    assert len(far.asked) == 1


def test_the_sha256_that_the_hub_tells_is_checked(far: StandIn, other: StandIn, tmp_path: Path):
    far.files["/file"] = Served(to=f"{other.url}/stored", headers={"X-Linked-Etag": f'"{"0" * 64}"'})
    other.files["/stored"] = Served(DATA)
    with pytest.raises(FetchError, match=f"not the declared file: its sha256 is {SHA}"):
        receive(wanted(far, tmp_path), HERE)
    assert list(tmp_path.iterdir()) == []
    far.files["/file"].headers["X-Linked-Etag"] = f'"{SHA}"'
    receive(wanted(far, tmp_path), HERE)


def test_room_is_asked_for_before_anything_is_written(far: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    far.files["/file"] = Served(DATA)
    usage = shutil.disk_usage(tmp_path)._replace(free=len(DATA))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskError, match="net needs 5 MB, free are 5 MB"):
        receive(wanted(far, tmp_path), HERE)
    assert list(tmp_path.iterdir()) == []


def test_who_looks_at_what_the_server_says_can_refuse_it(far: StandIn, tmp_path: Path):
    far.files["/file"] = Served(DATA, headers={"Content-Disposition": 'attachment; filename="a b.safetensors"'})
    told: list[Known] = []

    def look(known: Known) -> None:
        told.append(known)
        raise FetchError("no, thanks")

    with pytest.raises(FetchError, match="no, thanks"):
        receive(wanted(far, tmp_path), HERE, starting=look)
    assert (told[0].name, told[0].total, told[0].page) == ("a b.safetensors", len(DATA), False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('attachment; filename="style.safetensors"', "style.safetensors"),
        ("attachment; filename=style.safetensors; x=1", "style.safetensors"),
        ("attachment; filename*=UTF-8''%E2%82%AC%20rates.safetensors; filename=no.txt", "€ rates.safetensors"),
        ('attachment; filename="../../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\windows\\\\x.safetensors"', "x.safetensors"),
        ("", "file.safetensors"),
    ],
)
def test_the_name_a_server_gives_is_never_a_path(said: str, name: str):
    headers = {"Content-Disposition": said} if said else {}
    assert name_of(headers, "https://example.org/models/file.safetensors?x=1") == name


@pytest.mark.parametrize("name", ["..", ".", "/", "..\\..", "", "...", "a/.."])
def test_a_name_of_dots_is_none(name: str):
    assert plain_name(name) == ""


def test_a_long_name_keeps_its_ending():
    assert plain_name("x" * 500 + ".safetensors") == "x" * 120 + ".safetensors"
    assert plain_name("a<b>:c\0.safetensors") == "a_b__c_.safetensors"


def test_a_long_name_of_other_letters_fits_into_every_file_system(tmp_path: Path):
    name = plain_name("水彩画" * 100 + ".safetensors")
    assert name == "水彩画" * 16 + "水彩" + ".safetensors"
    (tmp_path / f".{name}.preview.part").touch()


@pytest.mark.parametrize("name", ["NUL.safetensors", "con", "Lpt1.x.safetensors", "aux .safetensors"])
def test_names_of_devices_are_no_names_of_files(name: str):
    assert plain_name(name) == f"_{name}"


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "9" * 30])
def test_a_length_that_makes_no_sense_is_none(far: StandIn, tmp_path: Path, length: str):
    far.files["/file"] = Served(DATA, headers={"Content-Length": length}, told=False)
    assert receive(wanted(far, tmp_path), HERE).total == 0
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_file_of_unknown_length_does_not_fill_the_disk(far: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    far.files["/file"] = Served(DATA, told=False)
    monkeypatch.setattr("webui.fetch.receive._BLIND", 2**20)
    free = iter([10**12, SPARE + 1, SPARE - 1])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=next(free)))
    with pytest.raises(DiskError, match="no room for net, whose size is not told"):
        receive(wanted(far, tmp_path), HERE)
    assert list(tmp_path.iterdir()) == []
