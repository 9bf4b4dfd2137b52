"""What a prompt comes to, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import current_user
from webui.api.native import PREFIX
from webui.prompt.styles import Styles
from webui.runtime.runtime import Runtime
from webui.runtime.tokens import Tokens
from webui.schema.names import Emphasis


class TokensBody(BaseModel):
    """Two prompts as of a request, and what their reading depends on. model: empty: the one that is meant by none."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field("", max_length=20_000)
    negative_prompt: str = Field("", max_length=20_000)
    model: str = ""
    steps: int = Field(20, ge=1, le=1000)
    emphasis: Emphasis = "Original"


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    tokens = Tokens(runtime.catalogue, runtime.settings.models_dir)

    @router.post("/tokens")
    def count(body: TokensBody) -> dict[str, Any]:
        """The tokens of both prompts: of each chunk of their longest text, how many a chunk holds, and notes."""
        model = body.model or runtime.default_model
        prompt = tokens.count(model, body.prompt, body.steps, emphasis=body.emphasis)
        negative = tokens.count(model, body.negative_prompt, body.steps, negative=True, emphasis=body.emphasis)
        return {"prompt": asdict(prompt), "negative_prompt": asdict(negative)}

    @router.get("/styles")
    def styles() -> dict[str, Any]:
        """The styles of this server, as rows of their file."""
        return {"styles": [asdict(style) for style in Styles.beside(runtime.settings.models_dir).all().values()]}

    return router
