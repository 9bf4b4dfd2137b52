"""Which device and number format the models use."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from webui.schema.errors import BadRequest
from webui.schema.storage import UNET_STORAGES, UnetStorage

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Placement:
    """Where models live and in which format. VAEs that overflow in half precision are decoded in float32 instead.
    unet_storage: how the weights of U-Nets lie in memory, never "auto"."""

    device: torch.device
    dtype: torch.dtype
    unet_storage: UnetStorage = "dtype"


def place(device: str = "auto", dtype: str = "auto", unet_storage: UnetStorage = "auto") -> Placement:
    """The placement for the words a user gave.

    Raises:
        BadRequest: for a device this machine does not have, or an unknown format.
    """
    chosen = _device(best_device() if device == "auto" else device)
    if dtype != "auto" and dtype not in DTYPES:
        raise BadRequest(f"There is no dtype {dtype!r}.", f"Choose one of: auto, {', '.join(DTYPES)}.")
    usual = torch.float32 if chosen.type == "cpu" else torch.float16
    return Placement(chosen, DTYPES.get(dtype, usual), _storage(unet_storage, chosen))


def _storage(wish: UnetStorage, device: torch.device) -> UnetStorage:
    if wish not in UNET_STORAGES:
        raise BadRequest(f"There is no U-Net storage {wish!r}.", f"Choose one of: {', '.join(UNET_STORAGES)}.")
    if wish == "auto":
        return "file" if device.type == "cuda" else "dtype"
    if device.type == "mps" and wish != "dtype":
        raise BadRequest("Apple's GPUs have no numbers of 8 bits.", "Leave --unet-storage out, or choose --device cpu.")
    return wish


def best_device() -> str:
    """A GPU where there is one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadRequest(f"The device {name!r} cannot be used: {reason}", "Choose --device auto or cpu.") from None
    return device
