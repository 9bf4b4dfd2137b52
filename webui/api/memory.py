"""Memory over HTTP: what is used and free, what is loaded, and letting it go. /api/v1/memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends

from webui.api.identity import current_user
from webui.runtime.runtime import Runtime


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix="/api/v1/memory", dependencies=[Depends(current_user)])

    @router.get("")
    def memory() -> Mapping[str, Any]:
        """Bytes of the device and of the machine, how the device is used, and the checkpoints that are loaded."""
        return runtime.questions.memory()

    @router.post("/unload")
    def unload() -> Mapping[str, Any]:
        """Let go of all that is loaded; while a job runs, of what it does not use. What is left is told."""
        return runtime.questions.memory(unload=True)

    return router
