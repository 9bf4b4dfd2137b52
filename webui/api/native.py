"""Jobs, pictures and models over HTTP: /api/v1. A refusal is always {"code", "message", "cure"}."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from PIL import Image
from starlette.datastructures import UploadFile

from webui.api.identity import Owner, current_user
from webui.images.form import Form, read_form
from webui.images.read import opaque, read_image
from webui.images.textchunks import read_texts
from webui.prompt.picture_prompts import written_form
from webui.runtime.runtime import Runtime
from webui.schema.errors import BadImage, ModelError, NotFound
from webui.schema.generation import AUTOMATIC_VAE, OWN_VAE
from webui.schema.images import reference
from webui.schema.requests import ImageRef, parse_request
from webui.schema.results import JobView

PREFIX = "/api/v1"
THUMB_SIDE = 256
# A picture never changes under its id.
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
FRESH = {"cache-control": "private, no-store"}
Count = Annotated[int, Query(ge=1, le=500)]
Key = Annotated[str | None, Header(max_length=200)]


def build_router(runtime: Runtime, server: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """server: what the status tells of the server."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    _add_jobs(router, runtime)
    _add_pictures(router, runtime)
    _add_reading(router, runtime, server)
    return router


def _add_jobs(router: APIRouter, runtime: Runtime) -> None:
    jobs = runtime.jobs

    @router.post("/jobs", status_code=201)
    def submit(owner: Owner, body: Annotated[dict[str, Any], Body()], idempotency_key: Key = None) -> dict[str, str]:
        """A request (its `kind` says which) becomes a job. The same Idempotency-Key names the same job."""
        return {"id": jobs.submit(parse_request(body), owner, idempotency_key)}

    @router.get("/jobs")
    def newest(owner: Owner, limit: Count = 60, before: str | None = None) -> dict[str, list[JobView]]:
        """The user's jobs, newest first; `before`: only those older than this job."""
        return {"jobs": jobs.list(owner, limit, before)}

    @router.get("/jobs/{job_id}")
    def view(job_id: str, owner: Owner) -> JobView:
        return jobs.view(job_id, owner)

    @router.get("/jobs/{job_id}/preview.jpg")
    def preview(job_id: str, owner: Owner) -> Response:
        """The latest preview of a job that runs."""
        _number, jpeg = jobs.preview(job_id, owner)
        return Response(jpeg, media_type="image/jpeg", headers=FRESH)

    @router.post("/jobs/{job_id}/interrupt")
    def interrupt(job_id: str, owner: Owner) -> JobView:
        """Ends a job; one that waits is taken out of the queue."""
        return jobs.interrupt(job_id, owner)

    @router.post("/jobs/{job_id}/skip")
    def skip(job_id: str, owner: Owner) -> JobView:
        """Lets a running job go on with its next batch."""
        return jobs.skip(job_id, owner)


def _add_pictures(router: APIRouter, runtime: Runtime) -> None:
    @router.post("/images", status_code=201)
    async def hand_in(request: Request) -> ImageRef:
        """A picture for a request to start from: the bytes alone, or the first file of a form."""
        data = await _picture_bytes(request)
        return await run_in_threadpool(runtime.inputs.add, data)

    @router.get("/images/{image_id}.png")
    def picture(image_id: str, owner: Owner) -> FileResponse:
        """The file as it was saved, with its PNG text."""
        return FileResponse(runtime.outputs.get(image_id, owner), media_type="image/png", headers=KEPT)

    @router.get("/images/{image_id}/thumb.jpg")
    def thumbnail(image_id: str, owner: Owner) -> Response:
        """At most 256 pixels a side."""
        jpeg = _thumbnail(runtime.outputs.get(image_id, owner).read_bytes())
        return Response(jpeg, media_type="image/jpeg", headers=KEPT)


def _add_reading(router: APIRouter, runtime: Runtime, server: Callable[[], Mapping[str, Any]]) -> None:
    @router.post("/png-info")
    async def png_info(request: Request) -> dict[str, Any]:
        """The text in a picture, and the fields of a request that it stands for."""
        return await run_in_threadpool(_read_text, runtime, await _picture_bytes(request))

    @router.get("/models")
    def models() -> dict[str, Any]:
        """All checkpoints and VAE files, with the reason where one cannot be used; the checkpoint that is meant where
        none is named."""
        try:
            default: str | None = runtime.default_model
        except NotFound:
            default = None
        listed = [info.model_dump() for info in runtime.catalogue.list()]
        vaes = [{"name": file.name, "error": file.error} for file in runtime.catalogue.vaes.list()]
        return {"models": listed, "default": default, "vaes": vaes}

    @router.get("/status")
    def status(owner: Owner) -> dict[str, Any]:
        """Whether the engine is ready, how the server is reached, and who asks."""
        return {"ready": runtime.engine.ready, "message": runtime.engine.message, "user": owner, **server()}


async def _picture_bytes(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=10) as form:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    raise BadImage("The form holds no file.", "Send the picture as the body, or as a file of a form.")


def _read_text(runtime: Runtime, data: bytes) -> dict[str, Any]:
    text, chunk = read_texts(data)
    if not text:
        return {"infotext": "", "fields": {}, "notes": []}
    form = _sorted(runtime, read_form(text, chunk, runtime.steering.thresholds()))
    form = written_form(form, runtime.settings.places.prompts)
    model = {"model": form.model} if form.model else {}
    files, notes = _files(runtime, form)
    fields = {**form.values, **model, **files}
    return {"infotext": text, "fields": fields, "notes": [*form.notes, *notes, *_missing(runtime, form)]}


def _files(runtime: Runtime, form: Form) -> tuple[dict[str, str], list[str]]:
    """The VAE and the further checkpoints as they are called here, and notes where they are not here."""
    fields, notes = dict[str, str](), list[str]()
    missing = {
        "hr_model": "The checkpoint of its hires pass, {}, is not here: the first one is used.",
        "refiner": "Its refiner, {}, is not here: none is used.",
    }
    for field in missing:
        if named := form.values.get(field):
            try:
                fields[field] = runtime.catalogue.find(named).name
            except NotFound:
                fields[field] = ""
                notes.append(missing[field].format(named))
    vae = form.values.get("vae", AUTOMATIC_VAE)
    if vae not in (AUTOMATIC_VAE, OWN_VAE):
        try:
            fields["vae"] = runtime.catalogue.vaes.find(vae).name
        except (NotFound, ModelError):
            fields["vae"] = AUTOMATIC_VAE
            notes.append(f"Its VAE, {vae}, is not here: {AUTOMATIC_VAE} is used.")
    return fields, notes


def _sorted(runtime: Runtime, form: Form) -> Form:
    """Values of extensions as a request takes them here: in `ext` of those that run, in `absent_ext` of others."""
    ext, absent = runtime.extensions.sort_out(form.values.get("ext", {}), form.values.get("absent_ext", {}))
    return replace(form, values={**form.values, "ext": ext, "absent_ext": absent})


def _missing(runtime: Runtime, form: Form) -> Iterator[str]:
    """What a picture's text names that is not on this server."""
    for number, unit in enumerate(form.values.get("control", ()), 1):
        if not all(runtime.inputs.path(ref).is_file() for ref in unit.image_refs):
            yield f"The pictures of control unit {number} are not on this server: choose them again."
    for id, values in form.values.get("ext", {}).items():
        if not all(runtime.inputs.path(ref).is_file() for ref in map(reference, values.values()) if ref is not None):
            yield f"A picture of the extension {id!r} is not on this server: choose it again."
    for id in form.values.get("absent_ext", {}):
        yield f"The extension {id!r} is not there or switched off: its values are kept, without effect."


def _thumbnail(png: bytes) -> bytes:
    image = opaque(read_image(png))
    image.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
