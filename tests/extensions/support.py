"""Runs a bundled preprocessor as the engine does: manifest, checked parameters, its own package, a checked map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from webui.ext.loader import Loader
from webui.ext.manifest import Manifest, read_manifest, values_of
from webui.ext.maps import Map, PreprocessContext, make_map

ROOT = Path(__file__).parent.parent.parent / "extensions"
Pixels = NDArray[np.uint8]


@contextmanager
def module(id: str, name: str = "main") -> Iterator[ModuleType]:
    """One module of a bundled extension, imported for as long as the block lasts."""
    loader = Loader()
    try:
        yield loader.load(id, ROOT / id, name)
    finally:
        loader.close()


def manifest(id: str) -> Manifest:
    return read_manifest(ROOT / id)


def context(
    models: Mapping[str, Path] | None = None, seed: int = 0, preprocess: Callable[..., Map] | None = None
) -> PreprocessContext:
    """What the core lends: these model folders by id, random numbers of this seed, a cache of its own."""
    kept: dict[str, Any] = {}

    def load(key: str, make: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = make()
        return kept[key]

    return PreprocessContext(
        rng=np.random.default_rng(seed),
        mask=None,
        device="cpu",
        model=lambda id: (models or {})[id],
        load=load,
        check_cancel=lambda: None,
        preprocess=preprocess or partial(_nothing_else),
    )


def _nothing_else(id: str, _image: Pixels, **_values: Any) -> Map:
    raise AssertionError(f"{id} was not expected")


def run(id: str, image: Pixels, ctx: PreprocessContext | None = None, as_: str = "", **values: Any) -> Map:
    """The map that a preprocessor of the extension `id` makes (`as_`: its own id where there are several)."""
    found = manifest(id)
    spec = next(spec for spec in found.preprocessors if spec.id == (as_ or id))
    entry, _, function = spec.entry.partition(":")
    with module(id, entry) as code:
        return make_map(getattr(code, function), image, values_of(spec.params, values), ctx or context())


def pixels(image: Pixels, id: str, as_: str = "", **values: Any) -> Pixels:
    """The picture of the map alone."""
    return run(id, image, as_=as_, **values).image


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """A picture of random colours (h w 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cloud(height: int, width: int, seed: int = 0) -> Pixels:
    """A picture of smooth random colours (h w 3), with edges of every strength and direction."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(rng.uniform(-0.4, 0.4) * rows + rng.uniform(-0.4, 0.4) * columns + rng.uniform(0, 6)) for _ in range(12)
    ]
    mixed = np.stack([sum(waves[channel::3]) for channel in range(3)], axis=2)
    return np.clip(mixed * 60 + 128, 0, 255).astype(np.uint8)
