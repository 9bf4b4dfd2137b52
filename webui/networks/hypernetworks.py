"""Hypernetworks in the models folder, by their headers. No torch.

A1111 saves them as pickles; `models convert` writes them as safetensors, with the settings in the header:
"768.k.linear.0.weight" is a tensor of the branch before the keys of every attention that reads 768 channels, "v" of
that before its values.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from webui.checkpoints.files import is_model_file, walk
from webui.checkpoints.header import Header, read_header
from webui.checkpoints.kinds import HYPERNETWORKS, wrong_kind
from webui.checkpoints.listing import Listing, Naming, find, near, refuse_pickle
from webui.checkpoints.unpack import HYPERNETWORK
from webui.networks.family import CONTEXT_WIDTHS
from webui.networks.files import name_of
from webui.schema.errors import AtelierError, ModelError, NotFound

FOLDER = "hypernetworks"
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


@dataclass(frozen=True)
class HypernetworkFile:
    """A file as pages list it. info: None where `error` says why it cannot be used."""

    name: str
    path: Path
    bytes: int = 0
    info: HypernetworkInfo | None = None
    error: str = ""


Files = list[HypernetworkFile]


class HypernetworkCatalogue:
    """Hypernetworks under `models_dir`: in the folder hypernetworks and below it."""

    def __init__(self, models_dir: str | Path) -> None:
        self.folder = Path(models_dir) / FOLDER
        self._listing = Listing(partial(_files, self.folder), describe_hypernetwork)

    def list(self) -> Files:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._listing.list(), key=lambda file: file.name.lower())

    def find(self, name: str) -> HypernetworkFile:
        """The hypernetwork that a tag means: by its path below the folder, or its file's name.

        Raises:
            NotFound: with names that are near.
            ModelError: the file cannot be used.
        """
        files = self.list()
        found = find(files, name, _NAMINGS, lambda file: file.info is not None)
        if found is None:
            like = near(name, [file.name for file in files if file.info is not None])
            rest = f"use one of: {like}" if like else "take it out of the prompt"
            raise NotFound(f'There is no hypernetwork "{name}".', f"Put its file into {self.folder}, or {rest}.")
        if found.info is None:
            raise ModelError(found.error, "Until then, take it out of the prompt.")
        return found


def describe_hypernetwork(path: Path, name: str, size: int = 0) -> HypernetworkFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        refuse_pickle(path)
        return HypernetworkFile(name, path, size, detect_hypernetwork(read_header(path)))
    except AtelierError as error:
        return HypernetworkFile(name, path, size, error=str(error))


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


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    yield from ((path, name_of(path, folder)) for path in walk(folder, True) if is_model_file(path))


_NAMINGS: tuple[Naming[HypernetworkFile], ...] = (
    lambda file: (file.name,),
    lambda file: (file.name.rsplit("/", 1)[-1], file.path.name),
)
"""What a name may be, the most exact first."""
