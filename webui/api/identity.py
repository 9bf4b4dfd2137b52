"""Who asks. The server's login wall writes it into the request; every route depends on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request

LOCAL = "local"
"""The one owner of everything on a server without login."""
USER_KEY = "atelier.user"


def current_user(request: Request) -> str:
    """The user of a request: a dependency of every route, and Gradio's. Raises HTTPException 401 for nobody."""
    user = request.scope.get(USER_KEY)
    if not isinstance(user, str):
        raise HTTPException(401, "You are not logged in.")
    return user


Owner = Annotated[str, Depends(current_user)]
"""The type of a route's parameter that stands for the user who asks."""
