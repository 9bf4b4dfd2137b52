"""The Python API: the same engine in the caller's own process.

>>> pipe = Pipeline.load("toybox")                                              # doctest: +SKIP
>>> pipe.generate(Txt2Img(prompt="a big red ball on a green floor", seed=1)).images[0].save("ball.png")
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from webui.checkpoints.catalogue import place_of
from webui.checkpoints.folder import is_model_folder
from webui.checkpoints.named import with_files
from webui.checkpoints.places import Places
from webui.engine.devices import place
from webui.engine.engine import Engine
from webui.engine.extensions import Folders
from webui.ext.discover import HOME
from webui.images.infotext import PARAMETERS, texts_of
from webui.images.read import read_image
from webui.images.save import png_bytes, save_png
from webui.schema.errors import AtelierError
from webui.schema.events import Event, Failed, ImageReady, MapReady, Note, Prepared, UnitReport
from webui.schema.memory import MemoryOptions
from webui.schema.requests import ImageRef, Img2Img, Request, parse_request
from webui.schema.resolve import default_model, enlarged, resolve
from webui.schema.results import ModelInfo, by_rank
from webui.schema.storage import UnetStorage


@dataclass(frozen=True)
class MadeImage:
    """A picture that was made: PIL picture, seed, and its texts by the name of their PNG chunk."""

    image: Image.Image
    seed: int
    texts: Mapping[str, str]

    @property
    def infotext(self) -> str:
        """A1111's `parameters`."""
        return self.texts[PARAMETERS]

    def png(self) -> bytes:
        """The PNG file with its texts."""
        return png_bytes(self.image, self.texts)

    def save(self, path: str | Path) -> None:
        """Write the PNG file with its texts."""
        save_png(self.image, Path(path), self.texts)


@dataclass(frozen=True)
class Made:
    """What a request gave. maps: what each control unit's model saw, by the unit's number, from 1; reports: what the
    units did, pass by pass."""

    images: tuple[MadeImage, ...]
    notes: tuple[str, ...] = ()
    maps: Mapping[int, Image.Image] = field(default_factory=dict)
    reports: tuple[UnitReport, ...] = ()


@dataclass
class _Collector:
    """Turns the events of one job into its result."""

    request: Request
    model: ModelInfo
    images: list[MadeImage] = field(default_factory=list)
    ranks: list[float | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    maps: dict[int, Image.Image] = field(default_factory=dict)
    reports: list[UnitReport] = field(default_factory=list)
    error: AtelierError | None = None

    def __call__(self, event: Event, blob: bytes | None) -> None:
        match event:
            case ImageReady():
                image = _picture(event, blob)
                texts = texts_of(self.request, self.model, event)
                self.images.append(MadeImage(image, event.seed, texts))
                self.ranks.append(event.rank)
            case MapReady():
                self.maps[event.unit] = _picture(event, blob)
            case UnitReport():
                self.reports.append(event)
            case Note():
                self.notes.append(event.message)
            case Prepared():
                self.request = parse_request(event.request)
            case Failed():
                self.error = AtelierError.from_json(event.error)

    @property
    def made(self) -> Made:
        """All that came."""
        return Made(by_rank(self.images, self.ranks), tuple(self.notes), self.maps, tuple(self.reports))


def _is_path(path: Path) -> bool:
    """Whether a checkpoint's name is a path: a file's with its ending, or a folder's."""
    if path.is_dir():
        return len(path.parts) > 1 or is_model_folder(path)
    return bool(path.suffix) and path.is_file()


def _picture(event: ImageReady | MapReady, blob: bytes | None) -> Image.Image:
    return Image.frombytes("RGB", (event.width, event.height), blob or b"")


class Pipeline:
    """One model, ready to draw."""

    def __init__(self, engine: Engine, model: ModelInfo) -> None:
        self._engine = engine
        self.model = model
        self._inputs: dict[str, bytes] = {}

    @classmethod
    def load(
        cls,
        name: str = "",
        *,
        models_dir: Places | str | Path = "models",
        device: str = "auto",
        dtype: str = "auto",
        unet_storage: UnetStorage = "auto",
        extensions_dirs: Sequence[Path] = (HOME,),
        data_dir: Path | None = None,
        memory: MemoryOptions = MemoryOptions(),
    ) -> Pipeline:
        """The model of this name under `models_dir`/Stable-diffusion (empty: the default), or at this path: a file, or
        a folder in diffusers' layout. Networks and embeddings are then those beside the `Stable-diffusion` that it lies
        in, or those in its own folder.

        extensions_dirs: folders of extensions. data_dir: where it stands which of them are on; without it, those that
        come with the program. memory: how much of it is used.

        Raises:
            NotFound, ModelError: when there is no such model, or it cannot be used.
        """
        path = Path(name)
        if _is_path(path):
            root, name = place_of(path)
            models_dir = replace(Places.of(models_dir), models_dir=root)
        folders = Folders(tuple(extensions_dirs), data_dir)
        placement = place(device, dtype, unet_storage)
        engine = Engine(Places.of(models_dir), placement, folders=folders, preview="none", memory=memory)
        catalogue = engine.models.catalogue
        return cls(engine, catalogue.find(default_model(catalogue.list(), name)))

    def add_image(self, image: Image.Image | bytes | str | Path) -> ImageRef:
        """Hand in a picture for an img2img or inpaint request, or for a control unit."""
        if isinstance(image, Image.Image):
            raw = png_bytes(image)
        else:
            raw = image if isinstance(image, bytes) else Path(image).read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        self._inputs[digest] = raw
        return ImageRef(sha256=digest)

    def generate(self, request: Request, progress: Callable[[Event], Any] | None = None) -> Made:
        """Draw what the request asks for.

        Raises:
            AtelierError: what the page would show, with its cause and cure.
        """
        resolved = resolve(
            request, model=self.model.name, native_size=self.model.native_size, init_size=self._size(request)
        )
        resolved = with_files(resolved, self._engine.models.catalogue)
        collector = _Collector(resolved, self.model)

        def emit(event: Event, blob: bytes | None) -> None:
            collector(event, blob)
            if progress is not None:
                progress(event)

        self._engine.run("local", resolved, self._pictures(resolved), emit)
        if collector.error is not None:
            raise collector.error
        return collector.made

    def _pictures(self, request: Request) -> Mapping[str, bytes]:
        return {ref.sha256: self._inputs[ref.sha256] for ref in request.image_refs if ref.sha256 in self._inputs}

    def _size(self, request: Request) -> tuple[int, int] | None:
        if not isinstance(request, Img2Img) or request.init_image.sha256 not in self._inputs:
            return None
        return enlarged(read_image(self._inputs[request.init_image.sha256]).size, self.model.extra)
