"""The application: REST and the event stream, then the page, inside the login wall, inside the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from webui.api import control, extensions, memory, models, native, prompts
from webui.api.identity import current_user
from webui.runtime.runtime import Runtime
from webui.schema.errors import AtelierError, QueueFull
from webui.server import events, login_page
from webui.server.auth import Login, Wall
from webui.server.guard import App, Guard
from webui.server.hosts import Hosts

# Gradio runs at most so many events at once, of all windows together; ours only submit and read.
GRADIO_EVENTS = 40


@dataclass(frozen=True)
class Faces:
    """What is served, and to whom. login None: to everybody. server: what the status tells of the server."""

    runtime: Runtime
    page: gr.Blocks
    page_options: Mapping[str, Any]
    hosts: Hosts
    login: Login | None = None
    server: Callable[[], Mapping[str, Any]] = dict


def build_app(faces: Faces) -> App:
    """The whole server as one ASGI application."""
    return Guard(Wall(build_inner(faces), faces.login), faces.hosts)


def build_inner(faces: Faces) -> FastAPI:
    """The routes. Gradio's mount at "/" hides whatever would be added after it."""
    app = FastAPI(docs_url=None, openapi_url=None, redoc_url=None)
    _add_error_handlers(app)
    app.include_router(native.build_router(faces.runtime, lambda: {"login": faces.login is not None, **faces.server()}))
    app.include_router(control.build_router(faces.runtime))
    app.include_router(extensions.build_router(faces.runtime))
    app.include_router(memory.build_router(faces.runtime))
    app.include_router(models.build_router(faces.runtime))
    app.include_router(prompts.build_router(faces.runtime))
    app.include_router(events.build_router(faces.runtime.jobs))
    if faces.login is not None:
        app.include_router(login_page.build_router(faces.login))
    mount_page(app, faces.page, faces.page_options)
    return app


def mount_page(app: FastAPI, page: gr.Blocks, options: Mapping[str, Any]) -> None:
    """Mount the page at "/", for logged-in users alone, with Gradio's check of input files switched on."""
    page.max_threads = GRADIO_EVENTS
    gr.mount_gradio_app(app, page, path="/", auth_dependency=current_user, **options)
    # Only launch() sets it, and without it Gradio reads any path of this machine that a client names as an upload.
    page.has_launched = True


def _add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AtelierError, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _unexpected)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AtelierError)
    headers = {"retry-after": "10"} if isinstance(error, QueueFull) else None
    return JSONResponse(error.to_json(), error.status, headers)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}" for item in error.errors()[:5]]
    return _problem("bad_request", "; ".join(parts), 422)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "login" if error.status_code == 401 else "refused"
    return _problem(code, str(error.detail), error.status_code, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return _problem("error", "Something went wrong in the server. Its log says what.", 500)


def _problem(code: str, message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"code": code, "message": message, "cure": ""}, status, headers)
