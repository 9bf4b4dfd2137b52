"""ComfyUI's `extra_model_paths.yaml`: where its users have their models.

a1111:                              a section, of any name
    base_path: /home/me/webui       what the others are below of; relative to the file
    is_default: true                it goes before the others
    checkpoints: models/Stable-diffusion
    loras: |                        several folders, one a line
        models/Lora
        models/LyCORIS
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from webui.checkpoints.trees import COMFY, Kind
from webui.schema.errors import BadRequest

LARGEST = 1_000_000
_KINDS: dict[str, Kind] = {name: kind for kind, names in COMFY.items() for name in names}


@dataclass(frozen=True)
class Section:
    """folders: with the kind of what is in each; root: what is looked for to know whether it is there; first: it goes
    before other sections."""

    name: str
    root: Path
    folders: tuple[tuple[Kind, Path], ...]
    first: bool = False


def read_comfy_paths(file: Path) -> tuple[Section, ...]:
    """The sections of a file. Folders of kinds that mean nothing here are passed over.

    Raises:
        BadRequest: it cannot be read, is no YAML, or is laid out otherwise; with its line.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise _wrong(file, None, "it is far too large")
        top = yaml.compose(file.read_text(encoding="utf-8-sig"), yaml.SafeLoader)
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror or error}.", "Check --comfy-paths.") from None
    except UnicodeDecodeError:
        raise _wrong(file, None, "it is no text in UTF-8") from None
    except yaml.YAMLError as error:
        said = getattr(error, "problem", None) or "it is no YAML"
        raise _wrong(file, getattr(error, "problem_mark", None), said) from None
    if top is None:
        return ()
    return tuple(_section(file, key, node) for key, node in _pairs(file, top) if not _is_empty(node))


def _section(file: Path, name: str, node: yaml.Node) -> Section:
    values = dict(_pairs(file, node))
    base = file.parent
    if "base_path" in values:
        lines = _lines(file, values.pop("base_path"))
        base = _below(base, lines[0]) if lines else base
    default = values.pop("is_default", None)
    first = default is not None and _lines(file, default)[:1] == ["true"]
    folders = [
        (_KINDS[key], _below(base, line)) for key, value in values.items() if key in _KINDS
        for line in _lines(file, value)
    ]  # fmt: skip
    return Section(name, base, tuple(folders), first)


def _pairs(file: Path, node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(file, node.start_mark, "here should be names with values, as in `checkpoints: models`")
    for key, value in node.value:
        yield str(key.value), value


def _lines(file: Path, node: yaml.Node) -> list[str]:
    """A text, or a list of texts, line by line."""
    if isinstance(node, yaml.SequenceNode):
        return [line for item in node.value for line in _lines(file, item)]
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(file, node.start_mark, "here should be a folder")
    plain = [line.strip() for line in str(node.value).splitlines()]
    if node.tag.endswith(":bool"):
        plain = ["true" if line.lower() in ("true", "yes", "on") else "false" for line in plain]
    return [] if _is_empty(node) else [line for line in plain if line]


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _below(base: Path, text: str) -> Path:
    """With "~" and the variables of the environment filled in."""
    return Path(os.path.abspath(base / os.path.expandvars(os.path.expanduser(text))))


def _wrong(file: Path, mark: yaml.Mark | None, said: str) -> BadRequest:
    where = f"{file.name}, line {mark.line + 1}" if mark is not None else file.name
    return BadRequest(
        f"{where}: {said}.", "It should look as ComfyUI's extra_model_paths.yaml.example does; spaces count, tabs fail."
    )
