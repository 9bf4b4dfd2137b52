"""Network files on disk: what stands beside one, and the name it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.plain_json import object_in
from webui.networks.peft import CONFIG_FILE

FOLDER_STEMS = ("adapter_model", "pytorch_lora_weights")
"""Files that peft and diffusers always name alike: they go by their folder's name."""


@dataclass(frozen=True)
class NetworkStamp:
    """What changes when a file, or what stands beside it, does. settings: time of peft's settings, 0 without."""

    file: Stamp
    settings: int = 0

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self.file[1]


def network_stamp(path: Path) -> NetworkStamp:
    """How a file is now. Raises OSError."""
    settings = path.parent / CONFIG_FILE
    is_peft = path.stem == FOLDER_STEMS[0] and settings.is_file()
    return NetworkStamp(stamp_of(path), settings.stat().st_mtime_ns if is_peft else 0)


def beside(path: Path) -> Mapping[str, Any]:
    """The JSON object of the file's name (A1111's), and peft's settings where the file is peft's; empty without."""
    own = object_in(path.with_suffix(".json"))
    return {**own, **object_in(path.parent / CONFIG_FILE)} if path.stem == FOLDER_STEMS[0] else own
