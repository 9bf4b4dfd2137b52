"""Hypernetworks in the models folder, by their headers. No torch.

A1111 saves them as pickles; `models convert` writes them as safetensors, with the settings in the header:
"768.k.linear.0.weight" is a tensor of the branch before the keys of every attention that reads 768 channels, "v" of
that before its values.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from webui.checkpoints.forms import Memory
from webui.checkpoints.header import Header, read_header
from webui.checkpoints.kinds import HYPERNETWORKS, wrong_kind
from webui.checkpoints.places import Places
from webui.checkpoints.unpack import HYPERNETWORK
from webui.networks.catalogue import TAKE_OUT
from webui.networks.family import CONTEXT_WIDTHS
from webui.networks.named_files import NamedFile, NamedFiles, NamedForm
from webui.schema.errors import ModelError

KIND = "hypernet"
"""Of the tags that name one."""
_NAME = re.compile(r"(?P<width>\d+)\.(?P<side>[kv])\.(?P<layer>linear\.\d+|linear[12])\.(?P<part>weight|bias)")

BranchNames = tuple[tuple[str, str, str], ...]
"""Of each stage the names of its weight, of its bias and of its norm without ".weight"; "" where there is none."""


@dataclass(frozen=True)
class HypernetworkInfo:
    """branches: (width, "k" or "v") -> the tensors of its stages; activation: as the file names it, "" for none;
    activate_last: whether the last stage has it too; family: of the checkpoints it fits, "" where it does not tell."""

    branches: dict[tuple[int, str], BranchNames] = field(repr=False)
    activation: str = ""
    activate_last: bool = False
    family: str = ""

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(sorted({width for width, _side in self.branches}))


class HypernetworkFile(NamedFile[HypernetworkInfo]):
    """A file as pages list it. info: None where `error` says why it cannot be used."""


class HypernetworkCatalogue(NamedFiles[HypernetworkFile]):
    """Hypernetworks of all places: in the folder hypernetworks and below it."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        super().__init__(where, memory, _FORM, "hypernetwork", f"Until then, {TAKE_OUT}.", TAKE_OUT)


def describe_hypernetwork(path: Path, name: str, size: int = 0) -> HypernetworkFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    return _FORM.describe(path, name, size)


def detect_hypernetwork(header: Header) -> HypernetworkInfo:
    """The branches of a file, from its header.

    Raises:
        ModelError: it is no hypernetwork, or a branch of it does not hang together.
    """
    layers: dict[tuple[int, str], dict[int, str]] = defaultdict(dict)
    for name in header.tensors:
        found = _NAME.fullmatch(name)
        if found is not None and found["part"] == "weight":
            order = int(re.findall(r"\d+", found["layer"])[-1])
            layers[int(found["width"]), found["side"]][order] = name.removesuffix(".weight")
    branches = {
        place: _stages(header, [names[order] for order in sorted(names)], place[0]) for place, names in layers.items()
    }
    if not branches:
        put = f"Put one that was converted here into {HYPERNETWORKS}."
        raise wrong_kind(header, "hypernetwork", HYPERNETWORKS, put)
    said = header.object(HYPERNETWORK)
    activation = str(said.get("activation_func") or "linear").lower()
    return HypernetworkInfo(
        branches,
        "" if activation == "linear" else activation,
        bool(said.get("activate_output", True)),
        next((family for width, family in CONTEXT_WIDTHS.items() if (width, "k") in branches and width != 1280), ""),
    )


def _stages(header: Header, names: list[str], width: int) -> BranchNames:
    """The stages of a branch: each a linear layer (a matrix) and the norm behind it (a vector), where there is one."""
    stages: list[tuple[str, str, str]] = []
    now = width
    for name in names:
        shape = header.tensors[f"{name}.weight"].shape
        bias = f"{name}.bias" if f"{name}.bias" in header.tensors else ""
        if len(shape) == 2 and shape[1] == now:
            stages.append((f"{name}.weight", bias, ""))
            now = shape[0]
        elif shape == (now,) and stages and bias and not stages[-1][2]:
            stages[-1] = (*stages[-1][:2], name)
        else:
            raise ModelError(f"This hypernetwork's layer {name} does not fit the one before it.", "Convert it again.")
    if now != width:
        raise ModelError(f"This hypernetwork's branch of {width} channels ends in {now}.", "Convert it again.")
    return tuple(stages)


_FORM = NamedForm("hypernetwork", HypernetworkFile, lambda path: detect_hypernetwork(read_header(path)))
