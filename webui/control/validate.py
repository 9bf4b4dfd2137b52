"""Units are checked when a job is submitted, before any model work: a unit that cannot act refuses the job.

No torch: the web process does this with what headers and manifests say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.checkpoints.control import IP_ADAPTER, UNION, UNION_TYPES, ControlInfo
from webui.checkpoints.control_catalogue import ControlCatalogue, ControlModel
from webui.control.policy import acts_in_some_step, union_type
from webui.nn.config import ModelConfig
from webui.schema.control import HR_OPTIONS, NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import AtelierError, BadRequest, ModelError, NotFound
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

FAMILY_NAMES = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL", "sd2_x4": "the x4 upscaler"}


@dataclass(frozen=True)
class KnownPreprocessor:
    """A preprocessor as its manifest declares it. alone: it acts without a control model (reference_only); picture:
    whether its map follows from one.

    check: given parameters -> all of them, defaults filled in; raises BadRequest naming the one that is wrong.
    require: all parameters; raises NotFound where a model file that it needs with them is missing.
    """

    label: str
    kind: str
    alone: bool = False
    picture: bool = True
    check: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    require: Callable[[Mapping[str, Any]], None] = lambda _params: None


@dataclass(frozen=True)
class Known:
    """What units may name. preprocessors: of the enabled extensions, by id; other_adapters: whether an extension beside
    the bundled one reads control files, so that a file that is not known here may still be used."""

    catalogue: ControlCatalogue
    preprocessors: Mapping[str, KnownPreprocessor] = field(default_factory=dict)
    other_adapters: bool = False


def check_units(request: Request, base: ModelConfig, known: Known, hires: ModelConfig | None = None) -> tuple[str, ...]:
    """Check the enabled units of a request against the checkpoint that draws it, and that of its hires pass.

    Returns notes for the user: what acts otherwise than one may think.

    Raises:
        BadRequest: naming the unit (from 1, as the user counts), the field, and the cure.
    """
    notes: list[str] = []
    for number, unit in enumerate(request.control, 1):
        if unit.enabled:
            notes += _checked(Case(number, unit, request, base, hires or base, known))
    return tuple(notes)


@dataclass(frozen=True)
class Case:
    """One unit and all that it is checked against."""

    number: int
    unit: ControlUnit
    request: Request
    base: ModelConfig
    hires: ModelConfig
    known: Known

    def refuse(self, field: str, message: str, cure: str = "") -> BadRequest:
        """The error that names the unit and the field."""
        return BadRequest(f"Control unit {self.number}, {field}: {message}", cure)

    @property
    def has_hires(self) -> bool:
        return isinstance(self.request, Txt2Img) and self.request.enable_hr

    @property
    def models(self) -> list[ModelConfig]:
        """The checkpoints of the passes that the unit acts in."""
        low, high = (self.unit.hr_option != HR_OPTIONS[2]), (self.unit.hr_option != HR_OPTIONS[1])
        return [config for config, acts in ((self.base, low), (self.hires, high and self.has_hires)) if acts]

    @property
    def steps(self) -> list[int]:
        """The solver steps of the passes that the unit acts in; a picture drawn again with strength 0 has none."""
        request = self.request
        if isinstance(request, Img2Img):
            return redrawn(request.steps, request.denoising_strength)
        found = [request.steps] if self.unit.hr_option != HR_OPTIONS[2] else []
        if isinstance(request, Txt2Img) and request.enable_hr and self.unit.hr_option != HR_OPTIONS[1]:
            found += redrawn(request.hr_steps or request.steps, request.denoising_strength)
        return list(dict.fromkeys(found))


def redrawn(steps: int, strength: float) -> list[int]:
    """How many of so many steps are run where a picture is drawn again; nothing at strength 0."""
    return [min(int(min(strength, 0.999) * steps) + 1, steps)] if strength > 0 else []


def _checked(case: Case) -> list[str]:
    preprocessor = _check_preprocessor(case)
    _check_image(case, preprocessor)
    _check_pass(case)
    _check_window(case)
    if preprocessor is not None and preprocessor.alone:
        return _notes(case)
    model = _find(case)
    if model.info is not None:
        _check_family(case, model, model.info)
        _check_info(case, model.info)
    return _notes(case)


def _check_preprocessor(case: Case) -> KnownPreprocessor | None:
    unit = case.unit
    if unit.preprocessor == NO_PREPROCESSOR:
        if unit.params:
            raise case.refuse("preprocessor", f"none has no parameter {next(iter(unit.params))!r}.")
        return None
    preprocessor = case.known.preprocessors.get(unit.preprocessor)
    if preprocessor is None:
        raise case.refuse(
            "preprocessor", f"there is no {unit.preprocessor!r}.", "Choose another, or enable the extension it is of."
        )
    try:
        preprocessor.require(preprocessor.check(unit.params))
    except AtelierError as error:
        raise case.refuse("preprocessor", error.message, error.cure) from None
    return preprocessor


def _check_image(case: Case, preprocessor: KnownPreprocessor | None) -> None:
    if preprocessor is not None and not preprocessor.picture:
        return
    if case.unit.image is None and not isinstance(case.request, Img2Img):
        raise case.refuse("image", "there is none.", "Give the unit a picture, or switch it off.")


def _check_pass(case: Case) -> None:
    if not case.models:
        raise case.refuse(
            "hires-fix option", f"{case.unit.hr_option!r}, but there is no such pass.",
            "Switch Hires. fix on, or choose Both.",
        )  # fmt: skip


def _check_window(case: Case) -> None:
    """A window between two steps holds none of them."""
    unit = case.unit
    if not case.steps:
        raise case.refuse("denoising strength", "at 0 nothing is drawn that it could steer.", "Raise it.")
    if not any(acts_in_some_step(unit, steps) for steps in case.steps):
        told = " or ".join(str(steps) for steps in case.steps)
        raise case.refuse(
            "window", f"none of {told} steps lies between {unit.start:g} and {unit.end:g}.",
            "Choose an earlier start or a later end, or draw more steps.",
        )  # fmt: skip


def _find(case: Case) -> ControlModel:
    if not case.unit.model or case.unit.model == "None":
        raise case.refuse("model", "none is chosen.", "Choose a file of models/ControlNet, or switch the unit off.")
    try:
        model = case.known.catalogue.find(case.unit.model)
    except NotFound as error:
        raise case.refuse("model", error.message, error.cure) from None
    if model.error and not (model.unknown and case.known.other_adapters):
        raise case.refuse("model", model.error)
    return model


def _check_family(case: Case, model: ControlModel, info: ControlInfo) -> None:
    for config in case.models:
        try:
            check_fit(model.name, info, config)
        except ModelError as error:
            raise case.refuse("model", error.message, error.cure) from None


def check_fit(name: str, info: ControlInfo, config: ModelConfig) -> None:
    """Whether a control file fits a checkpoint.

    Raises:
        ModelError: it is of another family, or of another architecture.
    """
    cure = "Choose a control model of the checkpoint's family, or another checkpoint."
    if info.family and info.family != config.family:
        ours, theirs = (FAMILY_NAMES.get(family, family) for family in (config.family, info.family))
        raise ModelError(f"{name} is for {theirs}, the loaded model is {ours}.", cure)
    if info.unet is None:
        return
    for what, theirs_is, ours_is in (
        ("text of {} channels", info.unet.context_dim, config.unet.context_dim),
        ("{} channels at its finest level", info.unet.model_channels, config.unet.model_channels),
        ("levels {}", info.unet.channel_mult, config.unet.channel_mult),
        ("residual blocks {}", info.unet.res_blocks, config.unet.res_blocks),
        ("{} vector channels", info.unet.adm_channels, config.unet.adm_channels),
    ):
        if theirs_is != ours_is and not (what.startswith("text") and not any(info.unet.transformer_depth)):
            words = what.format(theirs_is), what.format(ours_is)
            raise ModelError(f"{name} is for a model with {words[0]}, the loaded one has {words[1]}.", cure)


def _check_info(case: Case, info: ControlInfo) -> None:
    unit = case.unit
    needs_mask = info.inpaint or (info.kind == UNION and union_type(unit) == UNION_TYPES.index("repaint"))
    if needs_mask and unit.mask is None and not isinstance(case.request, Inpaint):
        raise case.refuse("mask", "an inpaint model needs one.", "Paint on the unit's picture what it shall repaint.")
    if info.kind == UNION:
        known = UNION_TYPES[: info.union_types]
        kind = union_type(unit) if not unit.union_type or unit.union_type in known else None
        if kind is None or kind >= info.union_types:
            words = f"{unit.union_type!r} is not known." if unit.union_type else "it must be said what the map shows."
            raise case.refuse("union type", words, f"Choose one of: {', '.join(known)}.")
    seen = case.known.preprocessors.get(unit.preprocessor)
    if info.kind == IP_ADAPTER and (seen is None or seen.kind != "embedding"):
        raise case.refuse("preprocessor", "an IP-Adapter reads what CLIP sees.", "Choose one of the group IP-Adapter.")
    if unit.layer_weights and info.residuals and len(unit.layer_weights) != info.residuals:
        raise case.refuse(
            "layer weights", f"there are {len(unit.layer_weights)}, the model has {info.residuals} residuals."
        )


def _notes(case: Case) -> list[str]:
    if case.unit.weight == 0 and not any(case.unit.layer_weights):
        return [f"Control unit {case.number} has weight 0: it changes nothing."]
    return []
