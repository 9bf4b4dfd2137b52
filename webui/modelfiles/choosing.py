"""Which files of a repository on the hub make a model: one file, or what is read of a folder in diffusers' layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from webui.checkpoints.folder import INDEX, PARTS, UNET_FOLDER
from webui.checkpoints.header import PICKLES
from webui.fetch.hub import HubFile, HubPlace
from webui.schema.errors import BadRequest, NotFound

GENERIC = ("diffusion_pytorch_model", "model", "pytorch_lora_weights", "adapter_model")
"""Names that files have in many repositories: they go by the repository's."""
PLAIN = "plain"
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<before>\w+?))?(?:-\d+-of-\d+)?(?:\.(?P<after>\w+?))?\.safetensors"
)
_SHOWN = 12


@dataclass(frozen=True)
class Chosen:
    """files: what is fetched; folder: the folder of the repository that becomes a model folder, None where `files` is
    one file."""

    files: tuple[HubFile, ...]
    folder: str | None = None

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def choose(place: HubPlace, files: Sequence[HubFile], variant: str = "") -> Chosen:
    """The files that a user means by a place.

    variant: of the weights in a diffusers folder ("fp16", "plain"); "" takes fp16 where all parts have it.

    Raises:
        NotFound: there is no such file or folder, or no model in it. BadRequest: there are several.
    """
    exact = [file for file in files if file.path == place.path]
    if exact:
        return Chosen((exact[0],))
    inside = [file for file in files if not place.path or file.path.startswith(f"{place.path}/")]
    if not inside:
        raise NotFound(f"{place.repository} has no {place.path}.", _offer(files))
    root = place.path
    if any(file.path == _join(root, INDEX) for file in inside):
        return Chosen(_folder(inside, root, variant), root)
    here = [file for file in inside if file.folder == root]
    return Chosen((_single(place, here, inside, variant),))


def _single(place: HubPlace, here: Sequence[HubFile], inside: Sequence[HubFile], variant: str) -> HubFile:
    safe = [file for file in here if file.name.endswith(".safetensors")]
    named = {_variant(file.name): file for file in safe if _WEIGHTS.fullmatch(file.name)}
    if named and len(named) == len(safe):
        wanted = _pick([set(named)], variant)
        return named[wanted]
    pickles = [file for file in here if PurePosixPath(file.name).suffix in PICKLES]
    found = safe or pickles
    if len(found) == 1:
        return found[0]
    where = f"{place.repository}/{place.path}".rstrip("/")
    if not found:
        raise NotFound(f"{where} holds no model file.", _offer(inside))
    raise BadRequest(f"{where} holds {len(found)} model files.", f"Name one of them: {_named(place, found)}.")


def _folder(inside: Sequence[HubFile], root: str, variant: str) -> tuple[HubFile, ...]:
    """What is read of a diffusers folder: its index, the parts' configs, and one variant of the weights of each."""
    weights = {part: _weights(inside, _join(root, part)) for part in PARTS}
    with_some = [set(found) for found in weights.values() if found]
    if not weights[UNET_FOLDER]:
        raise NotFound(
            f"The folder {root or 'of the repository'} has no safetensors weights.",
            "Pickles are not fetched as folders: look for a single-file checkpoint.",
        )
    wanted = _pick(with_some, variant)
    chosen = [file for file in inside if file.path == _join(root, INDEX)]
    for part in PARTS:
        own = [file for file in inside if file.folder == _join(root, part)]
        configs = [file for file in own if file.name in ("config.json", "scheduler_config.json")]
        found = weights[part]
        best = found.get(wanted) or found.get("") or next(iter(found.values()), [])
        shards = "-of-" in "".join(file.name for file in best)
        chosen += [*configs, *best, *(_index(own, _variant(best[0].name)) if shards else ())]
    return tuple(chosen)


def _weights(inside: Sequence[HubFile], folder: str) -> dict[str, list[HubFile]]:
    """Variant -> the files with the weights of a part."""
    found: dict[str, list[HubFile]] = {}
    for file in inside:
        if file.folder == folder and _WEIGHTS.fullmatch(file.name):
            found.setdefault(_variant(file.name), []).append(file)
    return found


def _index(own: Sequence[HubFile], variant: str) -> list[HubFile]:
    """The lists of shards of a variant."""
    lists = [file for file in own if ".safetensors.index" in file.name]
    return [file for file in lists if (variant in file.name.split(".")) == bool(variant)] or lists


def _pick(variants: Sequence[set[str]], wanted: str) -> str:
    """The variant to fetch, of those that each part has. "" is the plain one."""
    everywhere = set.intersection(*variants)
    if wanted and (wanted if wanted != PLAIN else "") not in set.union(*variants):
        known = ", ".join(sorted(one or PLAIN for one in set.union(*variants)))
        raise BadRequest(f'There is no variant "{wanted}".', f"There are: {known}.")
    if wanted:
        return "" if wanted == PLAIN else wanted
    return next((one for one in ("fp16", "", "bf16") if one in everywhere), min(set.union(*variants)))


def _variant(name: str) -> str:
    hit = _WEIGHTS.fullmatch(name)
    return (hit["before"] or hit["after"] or "") if hit else ""


def _join(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name


def _offer(files: Sequence[HubFile]) -> str:
    models = [file.path for file in files if file.path.endswith(".safetensors")]
    return f"There are: {', '.join(models[:_SHOWN])}." if models else "It has no safetensors files."


def _named(place: HubPlace, files: Sequence[HubFile]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    told = (f"{place.repository}/{file.path} ({file.bytes / 1e9:.1f} GB)" for file in files[:_SHOWN])
    return ", ".join(told) + more
