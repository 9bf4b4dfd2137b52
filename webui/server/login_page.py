"""The login page: /login and /logout. It stands alone, because everything else is closed to whoever sees it."""

from __future__ import annotations

import html
import string
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from webui.server.auth import Login, address_of

PAGE = string.Template((Path(__file__).parent / "static" / "login.html").read_text(encoding="utf-8"))
Field = Annotated[str, Form(max_length=1000)]
WRONG = "This name and password are not known here."


def build_router(login: Login) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def show(request: Request) -> Response:
        if login.session_user(request.scope["headers"]) is not None:
            return RedirectResponse("/", 303)
        return _page()

    @router.post("/login")
    def log_in(request: Request, user: Field = "", password: Field = "") -> Response:
        answer = login.log_in(user, password, address_of(request.scope))
        if answer.token:
            secure = request.headers.get("x-forwarded-proto") == "https" or request.url.scheme == "https"
            return RedirectResponse("/", 303, headers={"set-cookie": login.set_cookie(answer.token, secure)})
        if answer.wait:
            return _page(f"Too many tries. The next one is possible in {answer.wait:.0f} s.", 429, answer.wait, user)
        return _page(WRONG, 401, 0, user)

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        login.log_out(request.scope["headers"])
        return RedirectResponse("/login", 303, headers={"set-cookie": login.set_cookie("", secure=False)})

    return router


def _page(problem: str = "", status: int = 200, wait: float = 0, user: str = "") -> HTMLResponse:
    text = PAGE.substitute(problem=html.escape(problem), user=html.escape(user, quote=True))
    headers = {"cache-control": "no-store", **({"retry-after": f"{wait:.0f}"} if wait else {})}
    return HTMLResponse(text, status, headers)
