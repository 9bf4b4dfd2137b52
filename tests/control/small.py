"""Small control files with random weights in which nothing is zero, and what loads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.extensions.support import ROOT
from tests.nn.weights import randomise
from webui.checkpoints.control_catalogue import ControlModel, describe_control
from webui.control.adapters import Base, ControlAdapter
from webui.control.shelf import Loaded, load_control
from webui.ext.loader import Loader
from webui.ext.manifest import read_manifest
from webui.nn.config import UNetConfig
from webui.nn.unet import UNet

CPU = torch.device("cpu")


def adapters(loader: Loader) -> list[type[ControlAdapter]]:
    """The classes of the bundled extension, in the order of its manifest."""
    folder = ROOT / "controlnet"
    main = loader.load("controlnet", folder, "main")
    entries = [spec.entry.split(":") for spec in read_manifest(folder).adapters]
    return [getattr(loader.module(main, module), name) for module, name in entries]


def base_of(config: UNetConfig, family: str = "sd1", unet: UNet | None = None) -> Base:
    """A checkpoint with random weights."""
    unet = unet or randomise(UNet(config), seed=5)
    weights = {name: tensor.detach() for name, tensor in unet.state_dict().items()}
    return Base(family, config, weights, torch.float32, unet.tap_names.attentions)


def write(path: Path, tensors: Mapping[str, Tensor], config: UNetConfig | None = None, family: str = "sd1") -> Path:
    """A control file; `config` goes into its header, as small models need."""
    header: dict[str, Any] = {}
    if config is not None:
        from webui.nn.config import SD15, ModelConfig

        plain = ModelConfig(family, config, SD15.vae, SD15.texts).to_json()
        header["atelier.config"] = json.dumps({"family": family, "unet": plain["unet"]})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, path, header)
    return path


def load(path: Path, base: Base, loader: Loader, name: str = "") -> Loaded:
    """The file's adapter, chosen as the engine does."""
    model: ControlModel = describe_control(path, name or path.stem)
    assert model.error == ""
    return load_control(model, adapters(loader), base, CPU)
