"""Which model files preprocessors and fields need, and what the user is told where they are missing. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.checkpoints.trees import shown_path
from webui.ext.manifest import Manifest
from webui.ext.specs import ModelFile, PreprocessorSpec
from webui.ext.weights import FOLDER, files_of
from webui.schema.errors import NotFound

Offered = Mapping[str, tuple[Manifest, PreprocessorSpec]]
"""Preprocessors by id: the extension of each, and its declaration."""


def needed_models(id: str, params: Mapping[str, Any], offered: Offered) -> tuple[tuple[Manifest, ModelFile], ...]:
    """The models of a preprocessor, and of those that it uses when it is called with these parameters; each once."""
    found: dict[tuple[str, str], tuple[Manifest, ModelFile]] = {}
    asked, waiting = set[str](), [id]
    while waiting:
        one = waiting.pop(0)
        if one in asked or one not in offered:
            continue
        asked.add(one)
        manifest, spec = offered[one]
        found |= {(manifest.id, model.id): (manifest, model) for model in manifest.models if model.id in spec.models}
        named = {param.id: param.default for param in spec.params} | (dict(params) if one == id else {})
        waiting += [str(named.get(word, word)) for word in spec.uses]
    return tuple(found.values())


def require_models(id: str, params: Mapping[str, Any], offered: Offered, models_dir: Path) -> None:
    """Raises NotFound where a model that a preprocessor needs is not there, saying what to put where."""
    for manifest, model in needed_models(id, params, offered):
        place_of(manifest, model, models_dir)


def models_of_fields(manifest: Manifest, values: Mapping[str, Any]) -> tuple[ModelFile, ...]:
    """The models that an extension needs with these values of all its fields."""
    acting = [one for one in manifest.accordions if not one.when or any(values[field] for field in one.when)]
    named = {str(values.get(word, word)) for accordion in acting for word in accordion.models}
    return tuple(model for model in manifest.models if named & {model.id, model.file})


def require_models_of_fields(manifest: Manifest, values: Mapping[str, Any], models_dir: Path) -> None:
    """Raises NotFound where a model that an extension needs with these values of all its fields is not there."""
    for model in models_of_fields(manifest, values):
        place_of(manifest, model, models_dir)


def declared_place(manifest: Manifest, id: str, models_dir: Path) -> Path:
    """The file or folder of the model that a manifest declares under this id. Raises NotFound."""
    declared = next((model for model in manifest.models if model.id == id), None)
    if declared is None:
        raise NotFound(f'The extension "{manifest.id}" declares no model "{id}".')
    return place_of(manifest, declared, models_dir)


def place_of(manifest: Manifest, model: ModelFile, models_dir: Path) -> Path:
    """The file or folder of a declared model. Raises NotFound where a file of it is missing."""
    place = models_dir / FOLDER / model.file
    folder = place if model.parts else place.parent
    missing = [wanted.path for wanted in files_of(model, models_dir) if not wanted.is_there]
    if not missing:
        return place
    one = len(missing) == 1
    names = listed([path.relative_to(folder).as_posix() for path in missing])
    source = model.repository or model.url
    it = "it" if one else "them"
    raise NotFound(
        f"{manifest.name} needs {names}, which {'is' if one else 'are'} not in {shown_path(folder)}.",
        f"Fetch {it} under Extensions, or put {it} there yourself{f' (from {source})' if source else ''}.",
    )


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
