"""What stands beside the weights: a JSON or YAML file of the same name, a folder's configs, the name itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from webui.checkpoints.plain_json import object_in

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C where it is there: a tenth of the time."""
MAX_YAML = 1_000_000
"""Bytes; the configs of training programs have a few thousand."""


@dataclass(frozen=True)
class Notes:
    """What is said of a checkpoint outside its weights.

    name: of the file, without its ending. sidecar: the JSON object beside it. yaml: what a training program's config
    beside it says, and folder: what a diffusers folder's configs say, both in the form of `ModelConfig.to_json`.
    """

    name: str = ""
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    yaml: Mapping[str, Any] = field(default_factory=dict)
    folder: Mapping[str, Any] = field(default_factory=dict)


def read_notes(path: Path, folder: Mapping[str, Any] | None = None) -> Notes:
    """The notes of a file, or of a folder whose configs say `folder`."""
    return Notes(path.name if folder else path.stem, read_sidecar(path), read_yaml(path), folder or {})


def beside(path: Path, ending: str) -> Path:
    """The file of the same name and another ending; a folder's name has none to lose."""
    return path.with_name(path.name + ending) if path.is_dir() else path.with_suffix(ending)


def read_sidecar(path: Path) -> dict[str, Any]:
    """The JSON object beside a model (`model.json` for `model.safetensors`); empty where there is none."""
    return object_in(beside(path, ".json"))


def read_yaml(path: Path) -> dict[str, Any]:
    """What the config of a training program beside a model says (`model.yaml`); empty where there is none.

    ldm's configs name what the network predicts as `parameterization`, sgm's (SDXL) by a class of their own.
    """
    file = beside(path, ".yaml")
    try:
        if not file.is_file() or file.stat().st_size > MAX_YAML:
            return {}
        data = yaml.load(file.read_text(encoding="utf-8-sig"), _YAML)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    params = _inside(data, "model", "params")
    network = params.get("unet_config") or params.get("network_config")
    return _facts(params, _inside(network, "params")) if network else {}


def _facts(params: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    schedule = {
        ours: kind(params[theirs]) for ours, (theirs, kind) in _SCHEDULE.items() if _is_number(params.get(theirs))
    }
    if params.get("zero_terminal_snr") or params.get("rescale_betas_zero_snr"):
        schedule["zero_terminal_snr"] = True
    facts: dict[str, Any] = {"prediction": _prediction(params), "schedule": schedule}
    if _is_number(params.get("scale_factor")):
        facts["vae"] = {"scale_factor": float(params["scale_factor"])}
    if _is_number(network.get("num_head_channels")) and int(network["num_head_channels"]) > 0:  # -1: not used
        facts["unet"] = {"num_heads": None, "head_dim": int(network["num_head_channels"])}
    elif _is_number(network.get("num_heads")):
        facts["unet"] = {"num_heads": int(network["num_heads"]), "head_dim": None}
    return facts


_SCHEDULE: Mapping[str, tuple[str, type[float] | type[int]]] = {
    "beta_start": ("linear_start", float), "beta_end": ("linear_end", float), "steps": ("timesteps", int),
}  # fmt: skip


def _is_number(value: Any) -> bool:
    """Whether it can be read as one: YAML takes 1e-4, without a point, for a text."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _prediction(params: Mapping[str, Any]) -> str:
    scaling = str(_inside(params, "denoiser_config", "params", "scaling_config").get("target", ""))
    if params.get("parameterization") in ("v", "x0"):
        return "v" if params["parameterization"] == "v" else "sample"
    return {"": "epsilon", "EpsScaling": "epsilon", "VScaling": "v"}.get(scaling.rpartition(".")[2], "")


def _inside(data: Any, *keys: str) -> Mapping[str, Any]:
    """The object at this path; empty where there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
