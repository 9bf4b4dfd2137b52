"""Textual inversion embeddings (Gal et al. 2022, arXiv:2208.01618) in the models folder, by their headers. No torch.

An embedding is one or more vectors that a word in a prompt stands for, for each text encoder of a model:

    emb_params (n d)                  SD 1.x and 2.x, as A1111 writes and converted pickles have it
    <word> (n d) or (d)               the same as diffusers writes it, one tensor under the word's own name
    clip_l (n 768), clip_g (n 1280)   SDXL; also text_encoders_0, text_encoders_1
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from webui.checkpoints.files import Stamp, is_model_file, walk
from webui.checkpoints.header import Header, read_header
from webui.checkpoints.kinds import EMBEDDINGS, wrong_kind
from webui.checkpoints.listing import Listing, find, near, refuse_pickle
from webui.networks.family import FAMILY_NAMES
from webui.nn.config import ModelConfig
from webui.schema.errors import AtelierError, ModelError, NotFound

FOLDER = "embeddings"
_PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))
_ONE = ("emb_params", "string_to_param.*", "*")
_FAMILIES = {(768,): "sd1", (1024,): "sd2", (768, 1280): "sdxl", (1280,): "sdxl_refiner"}
"""Widths of the vectors for each text encoder -> family."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """keys: the tensor of each text encoder, in the order in which the U-Net reads them; widths: of their vectors;
    vectors: how many tokens the word takes."""

    keys: tuple[str, ...]
    widths: tuple[int, ...]
    vectors: int

    @property
    def family(self) -> str:
        """Of the checkpoints it fits, "" where it is none of the published ones."""
        return _FAMILIES.get(self.widths, "")

    def fits(self, config: ModelConfig) -> bool:
        return bool(self.keys_for(config))

    def keys_for(self, config: ModelConfig) -> tuple[str, ...]:
        """The tensor of each text encoder of a model; none where it does not fit. SDXL's refiner reads the second part
        of SDXL's embeddings."""
        wanted = tuple(text.width for text in config.texts)
        if config.family == "sdxl_refiner" and wanted == self.widths[-1:]:
            return self.keys[-1:]
        return self.keys if wanted == self.widths else ()


@dataclass(frozen=True)
class EmbeddingFile:
    """A file as pages list it. name: the word that stands for it; info: None where `error` says why it cannot be
    used."""

    name: str
    path: Path
    bytes: int = 0
    info: EmbeddingInfo | None = None
    error: str = ""


class EmbeddingCatalogue:
    """Embeddings under models_dir/embeddings and, as A1111 has it, in the folder embeddings beside models_dir."""

    def __init__(self, models_dir: str | Path) -> None:
        models = Path(models_dir)
        self.folders = (models / FOLDER, models.absolute().parent / FOLDER)
        self._listing = Listing(partial(_files, self.folders), describe_embedding)

    def list(self) -> builtins.list[EmbeddingFile]:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._listing.list(), key=lambda file: file.name.lower())

    def stamped(self) -> builtins.list[tuple[Stamp, EmbeddingFile]]:
        """The same in the order of the folders, with what changes when a file does."""
        return self._listing.stamped()

    def find(self, name: str) -> EmbeddingFile:
        """The embedding of this name, whatever its letters' case.

        Raises:
            NotFound: with names that are near.
            ModelError: the file cannot be used.
        """
        files = self._listing.list()
        found = find(files, name, (_words,), lambda file: file.info is not None)
        if found is None:
            like = near(name, [file.name for file in files if file.info is not None])
            put = f"Put its file into {self.folders[0]}"
            raise NotFound(f'There is no embedding "{name}".', f"{put}, or use one of: {like}." if like else f"{put}.")
        if found.info is None:
            raise ModelError(found.error)
        return found


def describe_embedding(path: Path, name: str, size: int = 0) -> EmbeddingFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        refuse_pickle(path)
        return EmbeddingFile(name, path, size, detect_embedding(read_header(path)))
    except AtelierError as error:
        return EmbeddingFile(name, path, size, error=str(error))


def detect_embedding(header: Header) -> EmbeddingInfo:
    """The vectors of a file, from its header.

    Raises:
        ModelError: it is no embedding.
    """
    keys = _keys(header)
    shapes = [header.tensors[key].shape for key in keys]
    if not keys or any(len(shape) not in (1, 2) or 0 in shape for shape in shapes):
        raise wrong_kind(header, "embedding", EMBEDDINGS, _CURE, "It has no vectors by a known name. ")
    counts = {1 if len(shape) == 1 else shape[0] for shape in shapes}
    if len(counts) > 1:
        raise ModelError("This embedding has another number of vectors for each text encoder.", _CURE)
    return EmbeddingInfo(keys, tuple(shape[-1] for shape in shapes), counts.pop())


def check_fits(name: str, info: EmbeddingInfo, config: ModelConfig) -> None:
    """Raises ModelError for an embedding of another family than the loaded model's."""
    if not info.fits(config):
        fits = FAMILY_NAMES.get(info.family, f"text encoders of {' and '.join(map(str, info.widths))} channels")
        loaded = FAMILY_NAMES.get(config.family, config.family)
        raise ModelError(
            f'"{name}" is an embedding for {fits}, the loaded model is {loaded}.',
            f"Choose a checkpoint of {fits}, or take the word out of the prompt.",
        )


_CURE = f"Put a textual inversion embedding into {EMBEDDINGS}."


def _keys(header: Header) -> tuple[str, ...]:
    """The tensor of each text encoder; none where this is no embedding."""
    names = header.tensors
    for pair in _PAIRS:
        if any(key in names for key in pair):
            return tuple(key for key in pair if key in names)
    known = [key for key in _ONE if key in names]
    return tuple(known[:1] or (names if len(names) == 1 else ()))


def _words(file: EmbeddingFile) -> tuple[str, ...]:
    return (file.name,)


def _files(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Files and their words: the name without ending, whatever folder it lies in."""
    seen: set[Path] = set()
    for folder in folders:
        for path in walk(folder, True):
            if is_model_file(path) and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path, path.stem
