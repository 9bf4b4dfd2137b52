"""What the hooks around a job are given. Each extension has a context of its own; what belongs to the job is shared."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from PIL import Image
from pydantic import ValidationError

from webui.ext.files import NO_MODELS, ModelFiles
from webui.images.given import read_given
from webui.schema.errors import BadRequest
from webui.schema.images import ImageRef, reference
from webui.schema.requests import Request
from webui.schema.validation import describe_validation

S = TypeVar("S")


@dataclass
class JobData:
    """A job, as all extensions of it share it. images: sha256 -> PNG; models: of each extension."""

    id: str
    request: Request
    images: dict[str, bytes]
    note: Callable[[str], None]
    stopped: Callable[[], bool]
    models: Callable[[str], ModelFiles] = lambda _owner: NO_MODELS
    states: dict[tuple[Any, ...], Any] = field(default_factory=dict)


class JobContext:
    """`prepare_job(job)`, `job_done(job, error)`, and `p.job` of every pass.

    id: of the job. params: the values of the extension's own fields, checked, defaults filled in. settings: its own,
    by key. images: the pictures of the request, sha256 -> PNG. preprocessors: ids of the extension's own.
    """

    def __init__(
        self,
        owner: str,
        data: JobData,
        params: Mapping[str, Any],
        settings: Mapping[str, Any],
        preprocessors: frozenset[str] = frozenset(),
    ) -> None:
        self.owner = owner
        self.preprocessors = preprocessors
        self.params = params
        self.settings = settings
        self._data = data

    @property
    def id(self) -> str:
        return self._data.id

    @property
    def request(self) -> Request:
        """What is drawn, a frozen value. Only `update` changes it. Values of absent extensions are not in it."""
        request = self._data.request
        return request.model_copy(update={"absent_ext": {}}) if request.absent_ext else request

    @property
    def images(self) -> Mapping[str, bytes]:
        return MappingProxyType(self._data.images)

    def update(self, **fields: Any) -> None:
        """Change fields of the request, in `prepare_job` alone: the result is checked as any request is.

        Raises:
            BadRequest: names the field that is wrong. The model, the kind and the pictures' number stay as they are.
        """
        fixed = sorted({"model", "kind", "n_iter", "batch_size", "absent_ext"} & set(fields))
        if fixed:
            raise BadRequest(f"An extension cannot change {', '.join(fixed)} of a job that has begun.")
        kind = type(self._data.request)
        given = {name: getattr(self._data.request, name) for name in kind.model_fields} | fields
        try:
            self._data.request = kind.model_validate(given)
        except ValidationError as error:
            raise BadRequest(describe_validation(error, kind)) from None

    def add_image(self, image: Image.Image) -> ImageRef:
        """Hand in a picture, for a field of the request that names one."""
        data = io.BytesIO()
        image.save(data, "PNG")
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        self._data.images[digest] = data.getvalue()
        return ImageRef(sha256=digest)

    def image(self, ref: ImageRef | Mapping[str, Any]) -> Image.Image:
        """A picture of the request, upright, RGB or RGBA; of a field of the type image,
        `job.image(job.params["painting"])`.

        Raises:
            BadRequest: it is not there, or no picture is named. BadImage: it cannot be read.
        """
        named = ref if isinstance(ref, ImageRef) else reference(ref)
        if named is None:
            raise BadRequest(f"{ref!r:.60} names no picture.", "It is {'sha256': ...} of one that was handed in.")
        return read_given(self._data.images, named)

    @property
    def models(self) -> ModelFiles:
        """The model files that the extension declares."""
        return self._data.models(self.owner)

    def state(self, kind: Callable[[], S]) -> S:
        """This extension's object of this class for this job, made when it is first asked for."""
        return kept(self._data.states, (self.owner, kind), kind)

    def note(self, text: str) -> None:
        """Tell the user something, once; it stands under the pictures."""
        self._data.note(text)

    @property
    def stopped(self) -> bool:
        """Whether the owner of the job asked it to stop."""
        return self._data.stopped()


class PictureContext:
    """`on_image(img)`: a finished picture before it is handed out; return another one (PIL), or None.

    image: PIL, RGB. index: of the job's pictures, from 0. infotext: what is added to the PNG text; may be changed.
    rank: may be set; when the job has ended, pictures with a rank come first, the largest rank before the others.
    """

    def __init__(self, job: JobContext, image: Image.Image, index: int, seed: int, infotext: dict[str, Any]) -> None:
        self.job = job
        self.params = job.params
        self.image = image
        self.index = index
        self.seed = seed
        self.infotext = infotext
        self.dropped = False
        self._rank: float | None = None

    @property
    def rank(self) -> float | None:
        """A number, or None. Setting it raises ValueError or TypeError for what has no place among numbers."""
        return self._rank

    @rank.setter
    def rank(self, value: float | None) -> None:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"a picture's rank is a finite number or None, not {value}")
        self._rank = None if value is None else float(value)

    def drop(self) -> None:
        """Do not hand this picture out."""
        self.dropped = True


@dataclass(frozen=True)
class ModelEvent:
    """`model_changed(ev)`: another model was loaded. name: as the user knows it; family: "sd1", "sdxl", ..."""

    name: str
    family: str


def kept(states: dict[tuple[Any, ...], Any], key: tuple[Any, ...], make: Callable[[], S]) -> S:
    """The object under a key, made now where there is none."""
    if key not in states:
        states[key] = make()
    found: S = states[key]
    return found
