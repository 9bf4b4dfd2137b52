"""Control units and extension values of a request, checked before any model work; and what units can be made of."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Protocol

from webui.checkpoints.control import UNION, UNION_TYPES
from webui.checkpoints.control_catalogue import ControlCatalogue, ControlModel
from webui.control.validate import FAMILY_NAMES, Known, KnownPreprocessor, check_units
from webui.ext.manifest import Manifest, PreprocessorSpec
from webui.ext.needs import require_models, require_models_of_fields
from webui.ext.params import values_of
from webui.networks.tags import Catalogues, check_tags
from webui.nn.config import ModelConfig
from webui.prompt.grammar import read_prompt
from webui.prompt.picture_prompts import checked_prompts
from webui.runtime.extensions import Extensions
from webui.schema.control import NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import BadRequest, NotFound
from webui.schema.requests import Request, Txt2Img
from webui.schema.resolve import hires_model, hires_request

ALL = "All"
OWN_ADAPTERS = "controlnet"
_WORDS = {"OpenPose": ("pose",), "NormalMap": ("normal",), "MLSD": ("mlsd", "lines"), "Segmentation": ("seg",)}
"""Control type -> words in the names of model files, where they differ from the type's own name."""


class Checkpoints(Protocol):
    """What the files of checkpoints say."""

    def config(self, name: str) -> ModelConfig:
        """The architecture of one. Raises NotFound, ModelError."""


class Steering:
    """What requests may say of control units and extensions on this server."""

    def __init__(
        self,
        catalogue: ControlCatalogue,
        extensions: Extensions,
        checkpoints: Checkpoints,
        networks: Catalogues | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.extensions = extensions
        self._checkpoints = checkpoints
        self._networks = networks or Catalogues.of(catalogue.places)

    def check(self, request: Request) -> tuple[Request, tuple[str, ...]]:
        """The resolved request with all parameters of its units and extensions filled in, and notes for the user.

        Raises:
            BadRequest: a unit cannot act, a value breaks its declaration, or a model file that it needs is missing; it
                names the unit and the field, or the extension.
            NotFound: there is no network, style or wildcard file that the request names.
            ModelError: the checkpoint cannot be read, or a network of the prompt is for another family.
        """
        acting = any(unit.enabled for unit in request.control)
        notes = self._check_units(request) if acting else ()
        self._check_prompt(request)
        units = tuple(self._filled(unit) if unit.enabled else unit for unit in request.control)
        ext = self.extensions.check(request.ext)
        self._require_for_fields(ext)
        return request.model_copy(update={"control": units, "ext": ext}), notes

    def filled(self, unit: ControlUnit) -> ControlUnit:
        """The unit with all parameters of its preprocessor.

        Raises:
            BadRequest: it is not there, or a value is wrong. NotFound: a model file that it needs is missing.
        """
        if unit.preprocessor not in (NO_PREPROCESSOR, *self.extensions.preprocessors):
            cure = "Choose another, or enable the extension it is of."
            raise BadRequest(f"There is no preprocessor {unit.preprocessor!r}.", cure)
        whole = self._filled(unit)
        self._require(whole.preprocessor, whole.params)
        return whole

    def looks(self, preprocessor: str) -> bool:
        """Whether a map follows from a picture; else from parameters alone."""
        found = self.extensions.preprocessors.get(preprocessor)
        return found is None or found[1].picture

    def known(self) -> Known:
        """What units may name, for `check_units`."""
        made = {id: self._known(spec) for id, (_manifest, spec) in self.extensions.preprocessors.items()}
        others = any(manifest.adapters for manifest in self.extensions.ready if manifest.id != OWN_ADAPTERS)
        return Known(self.catalogue, made, others)

    def thresholds(self) -> dict[str, tuple[str, ...]]:
        """Preprocessor -> its numbers in their order: A1111's Threshold A and B."""
        return {
            id: tuple(param.id for param in spec.params if param.type in ("int", "float"))
            for id, (_manifest, spec) in self.extensions.preprocessors.items()
        }

    def types(self) -> dict[str, dict[str, Any]]:
        """Control type -> what belongs to it: preprocessors, models, and the first of each.

        A model belongs to the types whose name its own name holds.
        """
        made = self.extensions.preprocessors
        models = self.catalogue.list()
        groups = list(dict.fromkeys(spec.group for _manifest, spec in made.values() if spec.group))
        types = {ALL: _offer([NO_PREPROCESSOR, *made], models)}
        special = {id for id, (_manifest, spec) in made.items() if spec.family}
        for group in sorted(groups):
            own = [id for id, (_manifest, spec) in made.items() if spec.group == group]
            own.sort(key=special.__contains__)
            types[group] = _offer(own, [model for model in models if _belongs(model, group)])
        return types

    def _check_prompt(self, request: Request) -> None:
        """Styles, wildcard files and networks of the prompts of all pictures are there and fit."""
        passes = list[tuple[str, str]]()
        for made in checked_prompts(request, self.catalogue.places.prompts):
            passes.append((made.prompt, made.model))
            if isinstance(made, Txt2Img) and made.enable_hr:
                passes.append((hires_request(made).prompt, hires_model(made) or made.model))
        asked = ((read_prompt(prompt).tags, model) for prompt, model in dict.fromkeys(passes))
        for tags, model in dict.fromkeys(asked):
            if tags:
                check_tags(tags, self._networks, self._checkpoints.config(model).family)

    def _check_units(self, request: Request) -> tuple[str, ...]:
        second = hires_model(request)
        hires = self._checkpoints.config(second) if second else None
        return check_units(request, self._checkpoints.config(request.model), self.known(), hires)

    def _known(self, spec: PreprocessorSpec) -> KnownPreprocessor:
        check = functools.partial(values_of, spec.params)
        require = functools.partial(self._require, spec.id)
        return KnownPreprocessor(spec.label, spec.kind, spec.alone, spec.picture, check, require)

    def _require(self, id: str, params: Mapping[str, Any]) -> None:
        """Raises NotFound where a model file of the preprocessor is missing."""
        require_models(id, params, self.extensions.preprocessors, self.catalogue.models_dir)

    def _require_for_fields(self, ext: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises BadRequest where a model file that the values of an extension's fields need is missing."""
        for manifest in [manifest for manifest in self.extensions.ready if manifest.id in ext]:
            try:
                require_models_of_fields(manifest, ext[manifest.id], self.catalogue.models_dir)
            except NotFound as error:
                raise BadRequest(error.message, error.cure) from None

    def _filled(self, unit: ControlUnit) -> ControlUnit:
        found = self.extensions.preprocessors.get(unit.preprocessor)
        if found is None:
            return unit
        return unit.model_copy(update={"params": values_of(found[1].params, unit.params)})


def describe_model(model: ControlModel) -> dict[str, Any]:
    """A control file as lists show it."""
    types = list(UNION_TYPES[: model.info.union_types]) if model.info and model.kind == UNION else []
    family = FAMILY_NAMES.get(model.family, model.family)
    told = {"name": model.name, "kind": model.kind, "family": family, "fits": model.family, "bytes": model.bytes}
    return told | {"types": types, "error": "" if model.unknown else model.error}


def describe_preprocessor(manifest: Manifest, spec: PreprocessorSpec) -> dict[str, Any]:
    """A preprocessor as lists show it."""
    named = {"id", "label", "group", "kind", "resolution", "params", "help", "alone", "picture", "family", "uses"}
    told = spec.model_dump(mode="json", include=named)
    return told | {"extension": manifest.id, "models": list(spec.models)}


def _offer(preprocessors: list[str], models: list[ControlModel]) -> dict[str, Any]:
    names = [model.name for model in models]
    usable = [model.name for model in models if not model.error]
    first = next(iter(preprocessors), NO_PREPROCESSOR)
    return {"preprocessors": preprocessors, "models": names, "preprocessor": first, "model": next(iter(usable), "")}


def _belongs(model: ControlModel, group: str) -> bool:
    words = _WORDS.get(group, (group.lower(),))
    name = re.sub(r"[^a-z0-9]", "", model.name.lower())
    return model.kind == UNION or any(word.replace(" ", "") in name for word in words)
