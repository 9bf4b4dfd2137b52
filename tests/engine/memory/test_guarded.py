"""Code of extensions is watched while the program itself brings weights to a device and away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.memory.test_residency import Copier
from tests.ext.studio import Studio
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine.devices import place
from webui.engine.memory.residency import Residency
from webui.engine.models import Models
from webui.schema.memory import MemoryOptions, VramMode

QUIET = "def open_pass(p):\n    yield\n"
PATCH = """
def open_pass(p):
    yield
    p._scope.tools.unet.time_embed[0].weight.data.add_(1)
"""


def studio_of(tmp_path: Path, vram: VramMode) -> Studio:
    write_tiny_checkpoint(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    models = Models(Catalogue(tmp_path / "models"), place("cpu"), MemoryOptions(vram))
    models.memory = models.garage._memory = Residency(Copier(), lambda: 1 << 40, models._spare)
    return Studio(models, tmp_path)


@pytest.mark.parametrize("vram", ["auto", "med", "low"])
def test_moves_are_no_fault_of_an_extension(tmp_path: Path, vram: VramMode) -> None:
    studio = studio_of(tmp_path, vram)
    plain = studio.draw()
    studio.add("quiet", QUIET, "open_pass")
    for _ in range(2):
        assert studio.draw() == plain
        assert studio.notes == []
        assert studio.restarts == []
    assert studio.engine.models.holds("tiny")


@pytest.mark.parametrize("vram", ["auto", "low"])
def test_what_an_extension_writes_into_weights_never_reaches_the_next_picture(tmp_path: Path, vram: VramMode) -> None:
    studio = studio_of(tmp_path, vram)
    plain = studio.draw()
    studio.add("rude", PATCH, "open_pass")
    studio.draw()
    studio.off("rude")
    assert studio.draw() == plain
