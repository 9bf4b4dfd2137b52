"""Extensions: what they may import, and the host that runs them.

An extension imports from here alone (`from webui.ext import ...`). Names are looked up when they are used, so that the
web process can read manifests without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from webui.ext.api import Base as Base
    from webui.ext.api import ControlAdapter as ControlAdapter
    from webui.ext.api import Header as Header
    from webui.ext.api import Hint as Hint
    from webui.ext.api import Map as Map
    from webui.ext.api import Match as Match
    from webui.ext.api import Residuals as Residuals
    from webui.ext.api import TensorInfo as TensorInfo
    from webui.ext.api import UnetRows as UnetRows
    from webui.ext.maps import PreprocessContext as PreprocessContext

API: Final = (1, 0)
"""Major and minor version of what extensions may rely on: adding is a minor step."""

_HOMES: Final = {
    "Base": "webui.ext.api",
    "ControlAdapter": "webui.ext.api",
    "Header": "webui.ext.api",
    "Hint": "webui.ext.api",
    "Map": "webui.ext.api",
    "Match": "webui.ext.api",
    "Residuals": "webui.ext.api",
    "TensorInfo": "webui.ext.api",
    "UnetRows": "webui.ext.api",
    "PreprocessContext": "webui.ext.maps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'webui.ext' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
