"""Atelier: a Stable Diffusion web UI whose core can be read in an afternoon.

Importing this package is cheap: neither torch, gradio nor fastapi is loaded until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webui.engine.api import Pipeline as Pipeline
    from webui.schema.control import ControlUnit as ControlUnit
    from webui.schema.requests import Img2Img as Img2Img
    from webui.schema.requests import Inpaint as Inpaint
    from webui.schema.requests import Txt2Img as Txt2Img

__version__ = "0.1.0"

_HOMES = {
    "Pipeline": "webui.engine.api",
    "Txt2Img": "webui.schema.requests",
    "Img2Img": "webui.schema.requests",
    "Inpaint": "webui.schema.requests",
    "ControlUnit": "webui.schema.control",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'webui' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
