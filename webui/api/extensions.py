"""Extensions over HTTP: what there is and how it is, switching, settings, installing, and their own routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import current_user
from webui.api.native import PREFIX
from webui.ext.discover import Found
from webui.ext.install import install, install_zip, remove
from webui.ext.manifest import Manifest
from webui.runtime.extensions import LOCKED, Extensions
from webui.runtime.runtime import Runtime
from webui.schema.asks import RouteCall
from webui.schema.errors import NotFound
from webui.schema.images import ImageRef

Object = Annotated[dict[str, Any], Body()]


class Source(BaseModel):
    """A folder or .zip file of the server's computer, or a git address."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(min_length=1, max_length=2000)


class Wanted(BaseModel):
    """Ids of models that the extension declares."""

    model_config = ConfigDict(extra="forbid")
    models: tuple[str, ...]


class RouteBody(BaseModel):
    """What goes to an extension's route: JSON, and pictures that were handed in."""

    model_config = ConfigDict(extra="forbid")
    body: dict[str, Any] = Field(default_factory=dict)
    images: tuple[ImageRef, ...] = ()


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    _add_list(router, runtime)
    _add_installing(router, runtime.extensions)
    _add_calls(router, runtime)
    _add_switches(router, runtime.extensions)
    return router


def _add_calls(router: APIRouter, runtime: Runtime) -> None:
    @router.post("/extensions/{id}/fetch", status_code=202)
    def fetch(id: str, wanted: Wanted) -> dict[str, str]:
        """Fetches declared model files in the background; the list of extensions tells how far they are."""
        runtime.downloads.start(id, wanted.models)
        return {"message": "They are fetched in the background."}

    @router.post("/ext/{id}/{name}")
    def route(id: str, name: str, given: RouteBody) -> dict[str, Any]:
        """Calls a function that the extension declares as a route; it runs in the engine."""
        body, images = runtime.questions.route(RouteCall(ext=id, name=name, body=given.body, images=given.images))
        return {"body": body, "images": [ref.model_dump() for ref in images]}


def _add_list(router: APIRouter, runtime: Runtime) -> None:
    @router.get("/extensions")
    def listed() -> dict[str, Any]:
        """All folders, with what the engine says of them. locked: why nothing can be changed, or nothing."""
        reports = {report["id"]: report for report in runtime.questions.report()}
        extensions = runtime.extensions
        told = [describe(runtime, found, reports.get(found.id, {})) for found in extensions.list()]
        return {"extensions": told, "locked": LOCKED if extensions.locked else ""}


def _add_switches(router: APIRouter, extensions: Extensions) -> None:
    verbs: dict[str, Callable[[str], None]] = {
        "enable": extensions.enable,
        "allow": lambda id: extensions.enable(id, allow=True),
        "disable": extensions.disable,
        "reload": extensions.reload,
        "remove": lambda id: extensions.remove(id, remove),
    }

    @router.post("/extensions/refresh")
    def refresh() -> dict[str, str]:
        """Reads the folders again."""
        extensions.may_change()
        extensions.refresh()
        return {"message": "The folders were read again."}

    @router.post("/extensions/{id}/settings")
    def settings(id: str, changes: Object) -> dict[str, Any]:
        """Changes some settings; all of them are told."""
        return {"values": extensions.set_settings(id, changes)}

    @router.post("/extensions/{id}/{verb}")
    def switch(id: str, verb: str) -> dict[str, str]:
        """enable, allow (also third-party code), disable, reload, remove; it counts from the next job on."""
        if verb not in verbs:
            raise NotFound(f"Nothing is called {verb!r} here.", f"Known are: {', '.join(verbs)}, settings.")
        name = extensions.find(id).name
        verbs[verb](id)
        return {"message": f"{name}: {_DONE[verb]}"}


def _add_installing(router: APIRouter, extensions: Extensions) -> None:
    @router.post("/extensions/install", status_code=201)
    def from_source(source: Source) -> dict[str, str]:
        """From a folder or .zip of the server's computer, or a git address."""
        extensions.install(lambda into: install(source.source, into))
        return {"message": "Installed. It is off until you allow it."}

    @router.post("/extensions/install-zip", status_code=201)
    async def from_upload(request: Request) -> dict[str, str]:
        """From a .zip that is the body."""
        data = await request.body()
        await run_in_threadpool(extensions.install, lambda into: install_zip(data, into))
        return {"message": "Installed. It is off until you allow it."}


_DONE = {
    "enable": "on from the next job.", "allow": "allowed, and on from the next job.",
    "disable": "off from the next job.", "reload": "its files are read again before the next job.",
    "remove": "removed.",
}  # fmt: skip


def describe(runtime: Runtime, found: Found, report: Mapping[str, Any]) -> dict[str, Any]:
    """A folder as lists show it. report: what the engine says of it (`webui.ext.report.ExtensionReport`)."""
    extensions = runtime.extensions
    choice = extensions.choice(found.id)
    state, reason = found.state, found.reason
    if state == "ready" and report.get("state") in ("active", "failed"):
        state, reason = report["state"], report.get("reason", "")
    told = {
        "id": found.id, "name": found.name, "folder": found.folder.name, "state": state, "reason": reason,
        "bundled": found.bundled, "allowed": found.bundled or choice.allowed,
        "load_seconds": report.get("load_seconds") or None,
        "seconds": {name: timing["seconds"] for name, timing in report.get("hooks", {}).items()},
        "switched_off": list(report.get("switched_off", ())),
    }  # fmt: skip
    if found.manifest is None:
        return told | _of_manifest(None) | {"values": {}}
    own = {"values": extensions.settings(found.id), "models": runtime.downloads.describe(found.manifest)}
    return told | _of_manifest(found.manifest) | own


def _of_manifest(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        lists = ("authors", "hooks", "preprocessors", "adapters", "models", "permissions", "settings", "accordions")
        return {"version": "", "description": "", "license": "", "homepage": "", **{name: [] for name in lists}}
    data = manifest.model_dump(mode="json")
    kept = ("version", "description", "license", "homepage", "authors", "hooks", "models", "settings", "accordions")
    pair = ("id", "label")
    specs = ("preprocessors", "adapters")
    named = {name: [{key: spec[key] for key in pair} for spec in data[name]] for name in specs}
    wants = [name for name, wanted in data["permissions"].items() if wanted]
    return {name: data[name] for name in kept} | named | {"permissions": wants}
