"""What a prompt comes to, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import current_user
from webui.api.native import PREFIX
from webui.prompt.schedule import Clock
from webui.prompt.styles import Styles
from webui.runtime.runtime import Runtime
from webui.runtime.tokens import Tokens
from webui.schema.names import Emphasis


class TokensBody(BaseModel):
    """The prompts of a request, and what their reading depends on. model: empty: the one that is meant by none."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field("", max_length=20_000)
    negative_prompt: str = Field("", max_length=20_000)
    hr_prompt: str = Field("", max_length=20_000)
    hr_negative_prompt: str = Field("", max_length=20_000)
    model: str = ""
    steps: int = Field(20, ge=1, le=1000)
    hr_steps: int = Field(0, ge=0, le=1000)
    emphasis: Emphasis = "Original"


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    tokens = Tokens(runtime.catalogue, runtime.settings.models_dir)

    @router.post("/tokens")
    def count(body: TokensBody) -> dict[str, Any]:
        """The tokens of the prompts: of each chunk of their longest text, how many a chunk holds, and notes."""
        model, first = body.model or runtime.default_model, Clock(body.steps)
        hires = Clock(body.hr_steps or body.steps, before=body.steps, part=1)
        read = {
            "prompt": (body.prompt, first, False),
            "negative_prompt": (body.negative_prompt, first, True),
            "hr_prompt": (body.hr_prompt, hires, False),
            "hr_negative_prompt": (body.hr_negative_prompt, hires, True),
        }
        return {name: asdict(tokens.count(model, *one, emphasis=body.emphasis)) for name, one in read.items()}

    @router.get("/styles")
    def styles() -> dict[str, Any]:
        """The styles of this server, as rows of their file."""
        return {"styles": [asdict(style) for style in Styles.beside(runtime.settings.models_dir).all().values()]}

    return router
