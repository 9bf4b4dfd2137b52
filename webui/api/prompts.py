"""What a prompt comes to, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import current_user
from webui.api.native import PREFIX
from webui.prompt.picture_prompts import prompts_of, styled
from webui.prompt.schedule import Clock
from webui.prompt.styles import Style
from webui.runtime.runtime import Runtime
from webui.runtime.styles import LOCKED
from webui.runtime.tokens import Tokens
from webui.schema.generation import MAX_PROMPT, MAX_STYLE_NAME, MAX_STYLES, StyleName
from webui.schema.names import Emphasis
from webui.schema.requests import Txt2Img


class TokensBody(BaseModel):
    """The prompts of a request, and what their reading depends on. model: empty: the one that is meant by none."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field("", max_length=MAX_PROMPT)
    negative_prompt: str = Field("", max_length=MAX_PROMPT)
    hr_prompt: str = Field("", max_length=MAX_PROMPT)
    hr_negative_prompt: str = Field("", max_length=MAX_PROMPT)
    model: str = ""
    steps: int = Field(20, ge=1, le=1000)
    hr_steps: int = Field(0, ge=0, le=1000)
    emphasis: Emphasis = "Original"


class StyleBody(BaseModel):
    """A style to be written down. replace: also where there is one of its name."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=MAX_STYLE_NAME)
    prompt: str = Field("", max_length=MAX_PROMPT)
    negative_prompt: str = Field("", max_length=MAX_PROMPT)
    replace: bool = False


class ApplyBody(BaseModel):
    """Prompts, and the names of the styles that are to be laid over them."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field("", max_length=MAX_PROMPT)
    negative_prompt: str = Field("", max_length=MAX_PROMPT)
    hr_prompt: str = Field("", max_length=MAX_PROMPT)
    hr_negative_prompt: str = Field("", max_length=MAX_PROMPT)
    styles: tuple[StyleName, ...] = Field(max_length=MAX_STYLES)


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    tokens = Tokens(runtime.catalogue, runtime.library.named.embeddings)
    book = runtime.styles

    def told() -> dict[str, Any]:
        found = [asdict(style) for style in book.styles.all().values()]
        return {"styles": found, "locked": LOCKED if book.locked else ""}

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
    def listed() -> dict[str, Any]:
        """The styles of this server, as rows of their file. locked: why they cannot be changed, or nothing."""
        return told()

    @router.post("/styles")
    def save(body: StyleBody) -> dict[str, Any]:
        """Writes a style down; one of its name is replaced where the body says so. Answers as the list does."""
        book.save(Style(body.name, body.prompt, body.negative_prompt), body.replace)
        return told()

    @router.delete("/styles")
    def delete(name: str) -> dict[str, Any]:
        """Takes a style out of the file. Answers as the list does."""
        book.delete(name)
        return told()

    @router.post("/styles/apply")
    def apply(body: ApplyBody) -> dict[str, str]:
        """The prompts with styles laid over them; those of a hires pass where it has its own."""
        return prompts_of(styled(Txt2Img(enable_hr=True, **body.model_dump()), book.styles))

    return router
