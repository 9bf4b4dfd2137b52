"""What the user has beside a model: A1111's JSON file, Civitai's, a config, a preview picture.

A1111 writes `NAME.json` with "description", "sd version", "activation text", "preferred weight", "negative text" and
"notes"; Civitai Helper writes `NAME.civitai.info`. What else stands in these files is kept as it is.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.checkpoints.notes import beside, read_sidecar
from webui.checkpoints.plain_json import object_in
from webui.schema.errors import BadRequest

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp")
"""Endings of a model's preview picture, the first before the others."""
CIVITAI: Final = ".civitai.info"
_CONFIGS: Final = (".json", ".yaml", CIVITAI)
_FIELDS: Final[Mapping[str, str]] = {
    "description": "description", "activation": "activation text", "negative": "negative text", "notes": "notes",
    "version": "sd version",
}  # fmt: skip
"""Ours -> A1111's."""


@dataclass(frozen=True)
class Note:
    """What a user wrote of a model. activation: words that call it; weight: the one to use, 0 where none is preferred;
    version: "SD1", "SD2", "SDXL"; link: a page about it."""

    description: str = ""
    activation: str = ""
    negative: str = ""
    weight: float = 0.0
    notes: str = ""
    version: str = ""
    link: str = ""

    @property
    def triggers(self) -> tuple[str, ...]:
        return tuple(word for word in (part.strip() for part in self.activation.split(",")) if word)


def read_note(path: Path) -> Note:
    """What stands in A1111's file, and where that is silent in Civitai's."""
    own, civitai = read_sidecar(path), object_in(_with(path, CIVITAI))
    said = {ours: str(own.get(theirs) or "").strip() for ours, theirs in _FIELDS.items()}
    weight = own.get("preferred weight")
    model = civitai.get("model")
    model = model if isinstance(model, Mapping) else {}
    words = civitai.get("trainedWords")
    return Note(
        said["description"] or _plain(str(civitai.get("description") or model.get("description") or "")),
        said["activation"] or ", ".join(str(word).strip(" ,") for word in (words if isinstance(words, list) else ())),
        said["negative"],
        float(weight) if isinstance(weight, (int, float)) and not isinstance(weight, bool) else 0.0,
        said["notes"],
        said["version"] or str(civitai.get("baseModel") or ""),
        f"https://civitai.com/models/{civitai['modelId']}" if isinstance(civitai.get("modelId"), int) else "",
    )


def noted(path: Path, note: Note) -> str:
    """The JSON text of A1111's file with this note; what else stands there stays.

    Raises:
        BadRequest: the file that is there is not read, so that what the user wrote into it would be lost.
    """
    file = note_file(path)
    if file.is_file() and not read_sidecar(path) and file.read_text("utf-8-sig", "replace").strip() not in ("", "{}"):
        raise BadRequest(
            f"{file.name} cannot be read, so nothing was written into it.",
            "Is it a JSON object (a comma too many, a quotation mark that is missing)? Repair it, or move it away.",
        )
    told = {theirs: getattr(note, ours) for ours, theirs in _FIELDS.items() if ours != "version" or note.version}
    return json.dumps({**read_sidecar(path), **told, "preferred weight": note.weight}, indent=4, ensure_ascii=False)


def note_file(path: Path) -> Path:
    """A1111's file."""
    return beside(path, ".json")


def preview_of(path: Path) -> Path | None:
    """The preview picture, where there is one."""
    return next((file for file in (_with(path, end) for end in PICTURES) if file.is_file()), None)


def preview_file(path: Path) -> Path:
    """Where a new preview picture is written, which goes before all others."""
    return _with(path, PICTURES[0])


def files_beside(path: Path) -> Iterator[str]:
    """Names of the files beside a model that are read."""
    found = [file for file in (_with(path, ending) for ending in _CONFIGS) if file.is_file()]
    picture = preview_of(path)
    yield from (file.name for file in (*found, *((picture,) if picture else ())))


def _with(path: Path, ending: str) -> Path:
    """The file of the model's name and another ending; a folder's name has none to lose."""
    name = path.name if path.is_dir() else path.name.rpartition(".")[0] or path.name
    return path.with_name(name + ending)


def _plain(text: str) -> str:
    """Civitai's HTML as text."""
    lines = re.sub(r"<(?:/p|br\s*/?|/li|/h\d)>", "\n", text)
    return html.unescape(re.sub(r"<[^>]*>", "", lines)).strip()
