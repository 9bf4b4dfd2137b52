"""Model files of extensions are fetched in the background, when somebody says so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.steered import SKETCH, allow, write_extension
from webui.ext.manifest import ModelFile
from webui.ext.weights import fetch_model
from webui.runtime.downloads import Downloads
from webui.runtime.extensions import Extensions
from webui.schema.errors import Forbidden, NotFound

MODEL = """
[[model]]
id = "net"
file = "net.safetensors"
url = "https://example.org/net.safetensors"
bytes = 10
license = "MIT"
"""


@pytest.fixture
def extensions(tmp_path: Path) -> Extensions:
    write_extension(tmp_path / "extensions" / "sketch", SKETCH + MODEL)
    allow(tmp_path / "data", "sketch")
    return Extensions((tmp_path / "extensions",), tmp_path / "data")


def told(downloads: Downloads, extensions: Extensions) -> dict[str, Any]:
    manifest = extensions.find("sketch").manifest
    assert manifest is not None
    (model,) = downloads.describe(manifest)
    return model


def test_a_model_is_fetched_once_and_told_of_meanwhile(extensions: Extensions, tmp_path: Path) -> None:
    half, go_on, calls = threading.Event(), threading.Event(), []

    def fetch(model: ModelFile, models_dir: Path, progress: Any) -> None:
        calls.append(model.id)
        progress(model.file, 5, 10)
        half.set()
        go_on.wait(10)
        place = models_dir / "ControlNetPreprocessor" / model.file
        place.parent.mkdir(parents=True)
        place.write_bytes(b"0123456789")

    downloads = Downloads(extensions, tmp_path / "models", fetch)
    assert not told(downloads, extensions)["there"]
    downloads.start("sketch", ["net"])
    assert half.wait(10)
    downloads.start("sketch", ["net"])
    now = told(downloads, extensions)
    assert (now["running"], now["done"], now["total"], now["there"]) == (True, 5, 10, False)
    go_on.set()
    downloads.close()
    assert told(downloads, extensions)["there"]
    assert calls == ["net"]


def test_it_is_told_where_a_model_comes_from(extensions: Extensions, tmp_path: Path) -> None:
    downloads = Downloads(extensions, tmp_path / "models")
    assert told(downloads, extensions)["repository"] == "https://example.org/net.safetensors"
    write_extension(tmp_path / "extensions" / "sketch", f'{SKETCH}{MODEL}repository = "someone/net"\n')
    extensions.refresh()
    assert told(downloads, extensions)["repository"] == "someone/net"
    downloads.close()


def test_without_an_address_the_reason_and_the_place_are_told(extensions: Extensions, tmp_path: Path) -> None:
    nowhere = MODEL.replace("https://example.org/net.safetensors", "")
    write_extension(tmp_path / "extensions" / "sketch", SKETCH + nowhere)
    extensions.refresh()
    begun = threading.Event()

    def fetch(*given: Any) -> None:
        begun.set()
        fetch_model(*given)

    downloads = Downloads(extensions, tmp_path / "models", fetch)
    downloads.start("sketch", ["net"])
    assert begun.wait(10)
    downloads.close()
    now = told(downloads, extensions)
    assert not now["running"]
    assert "put net.safetensors into" in now["error"]


def test_only_declared_models_are_fetched_and_not_from_afar(extensions: Extensions, tmp_path: Path) -> None:
    downloads = Downloads(extensions, tmp_path / "models")
    with pytest.raises(NotFound, match="declares no model 'other'"):
        downloads.start("sketch", ["other"])
    extensions.locked = True
    with pytest.raises(Forbidden):
        downloads.start("sketch", ["net"])
    downloads.close()
