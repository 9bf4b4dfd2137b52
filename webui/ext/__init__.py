"""Extensions: what they may import, and the host that runs them.

An extension imports from here alone (`from webui.ext import ...`). Names are looked up when they are used, so that the
web process can read manifests without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from webui.checkpoints.control import ControlInfo as ControlInfo
    from webui.checkpoints.control import control_info as control_info
    from webui.control.areas import attention_size as attention_size
    from webui.control.lone import LoneUnit as LoneUnit
    from webui.control.networks import controlnet_state as controlnet_state
    from webui.control.networks import filled as filled
    from webui.control.networks import load_controlnet as load_controlnet
    from webui.control.policy import union_type as union_type
    from webui.diffusion.denoiser import Cond as Cond
    from webui.diffusion.denoiser import Guidance as Guidance
    from webui.diffusion.guidance import rescale as rescale
    from webui.ext.api import Base as Base
    from webui.ext.api import ControlAdapter as ControlAdapter
    from webui.ext.api import Header as Header
    from webui.ext.api import Hint as Hint
    from webui.ext.api import Map as Map
    from webui.ext.api import Match as Match
    from webui.ext.api import Residuals as Residuals
    from webui.ext.api import TensorInfo as TensorInfo
    from webui.ext.api import UnetRows as UnetRows
    from webui.ext.app import App as App
    from webui.ext.contexts import JobContext as JobContext
    from webui.ext.contexts import ModelEvent as ModelEvent
    from webui.ext.contexts import PictureContext as PictureContext
    from webui.ext.files import ModelFiles as ModelFiles
    from webui.ext.maps import PreprocessContext as PreprocessContext
    from webui.ext.passes import PassContext as PassContext
    from webui.ext.steps import DecodeContext as DecodeContext
    from webui.ext.steps import StepContext as StepContext
    from webui.ext.steps import UnetContext as UnetContext
    from webui.nn.controlnet import ControlNet as ControlNet
    from webui.nn.controlnet import ControlNetConfig as ControlNetConfig
    from webui.nn.controlnet_union import ControlNetUnion as ControlNetUnion
    from webui.nn.taps import Controls as Controls
    from webui.nn.taps import KeysValues as KeysValues
    from webui.nn.taps import Taps as Taps
    from webui.schema.errors import BadRequest as BadRequest

API: Final = (1, 0)
"""Major and minor version of what extensions may rely on: adding is a minor step."""

_HOMES: Final = {
    "BadRequest": "webui.schema.errors",
    "rescale": "webui.diffusion.guidance",
    "App": "webui.ext.app",
    "attention_size": "webui.control.areas",
    "Cond": "webui.diffusion.denoiser",
    "Controls": "webui.nn.taps",
    "DecodeContext": "webui.ext.steps",
    "LoneUnit": "webui.control.lone",
    "Guidance": "webui.diffusion.denoiser",
    "JobContext": "webui.ext.contexts",
    "KeysValues": "webui.nn.taps",
    "ModelEvent": "webui.ext.contexts",
    "PassContext": "webui.ext.passes",
    "PictureContext": "webui.ext.contexts",
    "StepContext": "webui.ext.steps",
    "Taps": "webui.nn.taps",
    "UnetContext": "webui.ext.steps",
    "ControlInfo": "webui.checkpoints.control",
    "ControlNet": "webui.nn.controlnet",
    "ControlNetConfig": "webui.nn.controlnet",
    "ControlNetUnion": "webui.nn.controlnet_union",
    "controlnet_state": "webui.control.networks",
    "control_info": "webui.checkpoints.control",
    "filled": "webui.control.networks",
    "load_controlnet": "webui.control.networks",
    "union_type": "webui.control.policy",
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
    "ModelFiles": "webui.ext.files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'webui.ext' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
