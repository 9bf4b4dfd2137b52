"""What a user means by a place on the hub, and what a repository holds."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.fetch.stand_in import Served, StandIn
from webui.fetch.errors import FetchError
from webui.fetch.hub import Hub, HubFile, HubPlace, endpoint_of, read_place
from webui.fetch.web import Web
from webui.schema.errors import BadRequest, NotFound

MIRROR = "https://mirror.example"


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("owner/name", HubPlace("owner/name")),
        ("hf:owner/name", HubPlace("owner/name")),
        ("hf://owner/na.me-1/", HubPlace("owner/na.me-1")),
        ("owner/name@v1", HubPlace("owner/name", "", "v1")),
        ("owner/name@v1/a/b.safetensors", HubPlace("owner/name", "a/b.safetensors", "v1")),
        ("owner/name/a b/c.safetensors", HubPlace("owner/name", "a b/c.safetensors")),
        ("https://huggingface.co/owner/name", HubPlace("owner/name")),
        ("https://huggingface.co/owner/name/tree/v1/unet", HubPlace("owner/name", "unet", "v1")),
        ("https://huggingface.co/owner/name/blob/main/a%20b.safetensors", HubPlace("owner/name", "a b.safetensors")),
        ("https://hf.co/owner/name/resolve/main/x.safetensors?download=true", HubPlace("owner/name", "x.safetensors")),
        ("https://mirror.example/owner/name/resolve/v2/x.safetensors", HubPlace("owner/name", "x.safetensors", "v2")),
        ("https://civitai.com/api/download/models/12", None),
        ("https://huggingface.co/datasets/owner/name/resolve/main/x", None),
    ],
)
def test_places_are_read_as_users_write_them(what: str, place: HubPlace | None):
    assert read_place(what, MIRROR) == place


@pytest.mark.parametrize(
    "what", ["model", "/etc/passwd", "owner/../name", "hf:owner/name/../../x", "file:///etc/passwd", ""]
)
def test_what_is_no_place_is_refused(what: str):
    with pytest.raises(BadRequest, match="neither an https address nor a repository"):
        read_place(what, MIRROR)


def test_a_given_revision_goes_before_the_written_one():
    assert read_place("owner/name@v1", MIRROR, "v2") == HubPlace("owner/name", "", "v2")


def test_the_files_of_a_repository_have_sizes_and_hashes(far: StandIn):
    far.serve_repository("owner/name", {"a/b.safetensors": b"data"})
    files = Hub(Web(private=True), far.url).files(HubPlace("owner/name"))
    assert files == (HubFile("a/b.safetensors", 4, hashlib.sha256(b"data").hexdigest()),)
    assert (files[0].folder, files[0].name) == ("a", "b.safetensors")


def test_files_that_would_leave_their_folder_are_left_out(far: StandIn):
    names = ["../x", "/etc/x", "a/../../x", "C:x", "a\\b", "", "good.json"]
    listed = json.dumps({"siblings": [{"rfilename": name, "size": 1} for name in names]})
    far.files["/api/models/owner/name/revision/main"] = Served(listed.encode())
    assert [file.path for file in Hub(Web(private=True), far.url).files(HubPlace("owner/name"))] == ["good.json"]


def test_a_repository_that_is_not_there_and_a_list_that_is_none_are_told(far: StandIn):
    hub = Hub(Web(private=True), far.url)
    with pytest.raises(NotFound, match="no model repository owner/name with the revision main"):
        hub.files(HubPlace("owner/name"))
    far.files["/api/models/owner/name/revision/main"] = Served(b"<html>")
    with pytest.raises(FetchError, match="The list of owner/name was not fetched"):
        hub.files(HubPlace("owner/name"))


def test_the_mirror_of_the_environment_is_asked():
    assert endpoint_of({"HF_ENDPOINT": "https://mirror.example/"}) == MIRROR
    assert endpoint_of({}) == "https://huggingface.co"
