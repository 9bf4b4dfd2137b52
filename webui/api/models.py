"""Model files over HTTP: a list by pages, everything about one, its picture, the user's notes; downloads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import Owner, current_user
from webui.api.native import FRESH, KEPT, PREFIX
from webui.modelfiles.cards import Sort, Wanted
from webui.modelfiles.order import Order
from webui.runtime.errands import Errand
from webui.runtime.model_files import LOCKED, ModelFiles
from webui.runtime.runtime import Runtime

MOST = 500
Text = Annotated[str, Field(max_length=8000)]
Short = Annotated[str, Field(max_length=500)]


class NoteBody(BaseModel):
    """What a user says of a model; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    description: Text | None = None
    activation: Text | None = None
    negative: Text | None = None
    notes: Text | None = None
    weight: float | None = Field(None, ge=-10, le=10)
    version: Literal["", "SD1", "SD2", "SDXL", "Other", "Unknown"] | None = None


class DownloadBody(BaseModel):
    """As the command `models download`. token: for the host of the address; it is not kept."""

    model_config = ConfigDict(extra="forbid")
    what: str = Field(min_length=1, max_length=2000)
    to: Short = ""
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    revision: Short = ""
    name: Short = ""
    variant: Short = ""
    convert: bool = False
    token: Short = ""


class PictureBody(BaseModel):
    """A picture that was made here, by its id."""

    model_config = ConfigDict(extra="forbid")
    image: str = Field(max_length=100)


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    _add_list(router, runtime.model_files)
    _add_one(router, runtime.model_files)
    _add_changes(router, runtime)
    _add_errands(router, runtime.model_files)
    return router


def _add_list(router: APIRouter, files: ModelFiles) -> None:
    @router.get("/model-files")
    def cards(
        kind: str = "",
        search: Annotated[str, Query(max_length=500)] = "",
        family: str = "",
        folder: Annotated[str, Query(max_length=1000)] = "",
        sort: Sort = "name",
        down: bool = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        fresh: bool = False,
    ) -> dict[str, Any]:
        """Some of the files that are wanted, how many there are, and how many of each kind. fresh: the folders are
        looked at anew. locked: why nothing can be changed from here, or nothing."""
        if fresh:
            files.refresh()
        found = files.cards(Wanted(kind, search, family, folder, sort, down, offset, limit))
        return {**asdict(found), "locked": LOCKED if files.locked else "", "offline": files.offline}

    @router.get("/model-files/hashing")
    def hashing() -> dict[str, Any]:
        """How far the server is with reading the files' sha256."""
        return files.hashing()

    @router.post("/model-files/hashing/{verb}")
    def pause(verb: Literal["pause", "resume"]) -> dict[str, Any]:
        """Lets the reading of hashes rest, but for those that jobs need, or go on."""
        files.pause_hashing(verb == "pause")
        return files.hashing()


def _add_one(router: APIRouter, files: ModelFiles) -> None:
    @router.get("/model-files/{id}")
    def info(id: str) -> dict[str, Any]:
        """Everything that is known of a file."""
        return files.info(id)

    @router.get("/model-files/{id}/thumb.webp")
    def thumbnail(id: str) -> Response:
        """Its preview picture, small; no content where there is none."""
        data = files.thumbnail(id)
        return (
            Response(data, media_type="image/webp", headers=KEPT) if data else Response(status_code=204, headers=FRESH)
        )


def _add_changes(router: APIRouter, runtime: Runtime) -> None:
    files = runtime.model_files

    @router.post("/model-files/{id}/note")
    def note(id: str, body: NoteBody) -> dict[str, Any]:
        """Writes what the user says of a file into the JSON file beside it, in A1111's words."""
        return files.set_note(id, body.model_dump(exclude_none=True))

    @router.post("/model-files/{id}/picture")
    def picture(id: str, body: PictureBody, owner: Owner) -> dict[str, str]:
        """Makes a picture that was made here the preview of a file."""
        files.set_picture(id, runtime.outputs.get(body.image, owner).read_bytes())
        return {"message": "It is the preview picture now."}

    @router.post("/model-files/{id}/convert", status_code=202)
    def convert(id: str) -> Errand:
        """Converts a pickle into safetensors beside it, in the background."""
        return files.convert(id)


def _add_errands(router: APIRouter, files: ModelFiles) -> None:
    @router.get("/downloads")
    def errands() -> dict[str, list[Errand]]:
        """Downloads and conversions, the latest last."""
        return {"downloads": files.errands.list()}

    @router.post("/downloads", status_code=202)
    def start(body: DownloadBody) -> Errand:
        """Fetches a model in the background and puts it into the folder of its kind."""
        return files.download(Order(**body.model_dump(exclude={"token"})), body.token)

    @router.post("/downloads/{id}/cancel")
    def cancel(id: str) -> dict[str, str]:
        """Ends one; what has come is kept, and another download of the same goes on there."""
        files.cancel(id)
        return {"message": "It was stopped."}
