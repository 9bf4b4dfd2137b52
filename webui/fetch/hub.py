"""The Hugging Face hub: what an address or a name means there, and the files of a repository.

The list of a repository is asked for as huggingface_hub does it (GET /api/models/OWNER/NAME/revision/REVISION), but
through `Web`: the library itself reads once and for all whether it is offline, and follows redirects anywhere.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from webui.fetch.errors import FetchError
from webui.fetch.web import Web, tokens_of_environment
from webui.schema.errors import BadRequest, NotFound

MAIN: Final = "main"
_REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")
_HOSTS: Final = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_LARGEST_LIST: Final = 64 * 2**20


@dataclass(frozen=True)
class HubPlace:
    """A repository ("owner/name"), or a file or folder in it. revision: a branch, a tag or a commit."""

    repository: str
    path: str = ""
    revision: str = MAIN

    @property
    def name(self) -> str:
        """The repository's own name."""
        return self.repository.rpartition("/")[2]


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. bytes, sha256: 0 and "" where the hub does not tell them."""

    path: str
    bytes: int = 0
    sha256: str = ""

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Hub:
    """endpoint: its address, without a stroke at the end."""

    web: Web
    endpoint: str

    def files(self, place: HubPlace) -> tuple[HubFile, ...]:
        """All files of the repository.

        Raises:
            NotFound: there is no such repository or revision, or it is not for everybody. FetchError.
        """
        url = f"{self.endpoint}/api/models/{place.repository}/revision/{quote(place.revision, safe='')}?blobs=true"
        what = f"The list of {place.repository}"
        try:
            with self.web.open(url, what=what) as answer:
                told = json.loads(answer.read(_LARGEST_LIST))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise FetchError(f"{what} was not fetched: {error.reason}.", "Try again later.") from error
            raise NotFound(
                f"The hub has no model repository {place.repository} with the revision {place.revision}.",
                "Check the name. A private one wants a token in HF_TOKEN.",
            ) from error
        except (OSError, ValueError) as error:
            raise FetchError(f"{what} was not fetched: {getattr(error, 'reason', error)}.", "Try again.") from error
        found = told.get("siblings") if isinstance(told, Mapping) else None
        return tuple(_file(entry) for entry in found or () if _is_plain(str(entry.get("rfilename", ""))))

    def url(self, place: HubPlace, path: str) -> str:
        """Where a file of the repository is fetched from."""
        return f"{self.endpoint}/{place.repository}/resolve/{quote(place.revision, safe='')}/{quote(path)}"


def endpoint_of(environment: Mapping[str, str] | None = None) -> str:
    """The address of the hub: HF_ENDPOINT, else the public one."""
    said = (os.environ if environment is None else environment).get("HF_ENDPOINT", "")
    return said.rstrip("/") or "https://huggingface.co"


def known_tokens() -> dict[str, str]:
    """Host -> token: of the environment, and for the hub the one that `hf auth login` keeps."""
    from huggingface_hub import get_token

    found, stored = tokens_of_environment(), get_token()
    hosts = ("huggingface.co", urlsplit(endpoint_of()).hostname or "")
    return {**dict.fromkeys(filter(None, hosts), stored), **found} if stored else found


def read_place(what: str, endpoint: str, revision: str = "") -> HubPlace | None:
    """The place on the hub that a user means; None where it is another address.

    "owner/name", "owner/name/folder/file.safetensors", the same behind "hf:" or "hf://", with "@revision" behind the
    repository, or an address of the hub's pages.

    Raises:
        BadRequest: it is neither an address nor a repository.
    """
    parts = urlsplit(what)
    if parts.scheme in ("https", "http"):
        host = urlsplit(endpoint).hostname or ""
        return _of_page(unquote(parts.path), revision) if parts.hostname in _HOSTS | {host} else None
    plain = re.sub(r"^(hf|huggingface):(//)?", "", what.strip()).rstrip("/")
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/(?!/)(.+))?", plain)
    if found is None or ".." in plain.split("/"):
        raise BadRequest(
            f'"{what}" is neither an https address nor a repository of the Hugging Face hub.',
            "Repositories are called owner/name, their files owner/name/path/file.safetensors.",
        )
    return HubPlace(found[1], found[3] or "", revision or found[2] or MAIN)


def _of_page(path: str, revision: str) -> HubPlace | None:
    steps = [step for step in path.split("/") if step]
    repository = "/".join(steps[:2])
    if not _REPOSITORY.fullmatch(repository) or ".." in steps:
        return None
    if len(steps) > 3 and steps[2] in ("resolve", "blob", "tree", "raw"):
        return HubPlace(repository, "/".join(steps[4:]), revision or steps[3])
    return HubPlace(repository, "", revision or MAIN) if len(steps) == 2 else None


def _file(entry: Mapping[str, Any]) -> HubFile:
    lfs = entry.get("lfs")
    large = lfs if isinstance(lfs, Mapping) else {}
    size = large.get("size") or entry.get("size")
    sha256 = str(large.get("sha256") or "").lower()
    return HubFile(
        str(entry["rfilename"]),
        size if isinstance(size, int) else 0,
        sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else "",
    )


def _is_plain(path: str) -> bool:
    """Whether a path stays in its folder on every system."""
    return (
        bool(path)
        and "\\" not in path
        and ":" not in path
        and not {"..", "."} & set(path.split("/"))
        and path[0] != "/"
    )
