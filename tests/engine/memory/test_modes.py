"""Whatever the memory mode, the pictures are the same bytes: an engine whose device is a mover that makes copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from tests.control.test_drawing import Drawing
from tests.engine.memory.test_residency import Copier
from tests.engine.test_networks import write_lora
from webui.engine.memory.residency import Residency
from webui.engine.models import Models
from webui.nn.streaming import weights_of
from webui.nn.unet import UNet
from webui.schema.events import Note
from webui.schema.memory import MemoryOptions, VramMode

JOBS: tuple[tuple[tuple[dict[str, Any], ...], dict[str, Any]], ...] = (
    ((), {}),
    ((), {"prompt": "a red ball <lora:a:0.7>"}),
    ((), {"prompt": "a red ball <lora:a:0@0,1@0.5>", "steps": 4}),
    (({},), {"prompt": "a red ball <lora:a:0.7>"}),
    (({}, {"low_vram": True}), {"batch_size": 2}),
    ((), {"vae": "others"}),
    (({"hr_option": "Both"},), {"enable_hr": True, "hr_scale": 1.5, "hr_model": "other", "denoising_strength": 0.7}),
    ((), {"model": "wide"}),
    ((), {"vae": "others"}),
    ((), {}),
)
HUGE, NOTHING = 1 << 40, 1


class Bench(Drawing):
    """One engine with all that moves. vram: the user's wish; room: bytes of its device."""

    def __init__(self, home: Path, vram: VramMode = "auto", room: int | None = None) -> None:
        super().__init__(home)
        models, data = self.engine.models.catalogue.models_dir, load_file
        folder = models / "Stable-diffusion"
        vae = {name: value for name, value in data(folder / "other.safetensors").items() if "first_stage" in name}
        (models / "VAE").mkdir()
        save_file(vae, models / "VAE" / "others.safetensors")
        write_lora(models / "Lora" / "a.safetensors", folder / "tiny.safetensors", 3)
        self.mover = Copier()
        if room is not None:
            self._move(room, vram)

    def _move(self, room: int, vram: VramMode) -> None:
        engine = self.engine
        models = Models(engine.models.catalogue, engine.models.placement, MemoryOptions(vram))
        models.memory = models.garage._memory = Residency(self.mover, lambda: room, models._spare)
        engine.models = models
        engine.extensions._residency = engine.extensions.shelf.keeper = models.memory

    def pictures(self) -> list[list[bytes]]:
        drawn = []
        for units, fields in JOBS:
            drawn.append(self.draw(*units, **fields))
        return drawn


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    return Bench(tmp_path_factory.mktemp("plain")).pictures()


@pytest.mark.parametrize(
    ("vram", "room", "manner"),
    [
        ("auto", HUGE, "together"),
        ("auto", NOTHING, "blocks"),
        ("high", NOTHING, "together"),
        ("med", HUGE, "turns"),
    ],
)
def test_every_mode_draws_the_same_bytes(
    plain: list[list[bytes]], tmp_path: Path, vram: VramMode, room: int, manner: str
) -> None:
    bench = Bench(tmp_path, vram, room)
    assert bench.pictures() == plain
    assert bench.engine.models.memory.manner == manner
    assert bench.mover.copied > 0
    bench.engine.models.memory.clear()
    for held in bench.engine.models.garage:
        for part in held.executor.parts:
            assert not part.here


def test_an_automatic_choice_of_a_slower_manner_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "auto", NOTHING)
    bench.draw()
    (note,) = bench.of(Note)
    assert "GB of the device" in note.message
    assert "block by block" in note.message
    bench.draw()
    assert bench.of(Note) == []


def test_a_wished_manner_needs_no_note(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "low", NOTHING)
    bench.draw()
    assert bench.of(Note) == []


@pytest.mark.parametrize("vram", ["auto", "low"])
def test_only_what_is_on_the_device_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vram: VramMode) -> None:
    bench = Bench(tmp_path, vram, HUGE)
    bench.draw({})
    homes = {
        weight.data_ptr()
        for held in bench.engine.models.garage
        for part in held.executor.parts
        for module in part.modules
        for weight in _at_home(bench, module)
    }
    called = nn.Module.__call__

    def check(module: nn.Module, *given: Any, **named: Any) -> Any:
        if not isinstance(module, UNet):
            own = [weight.data_ptr() for weight in module.parameters(recurse=False)]
            assert not homes & {*own}, type(module)
        return called(module, *given, **named)

    monkeypatch.setattr(nn.Module, "__call__", check)
    bench.draw({}, prompt="a blue cat", seed=9)


def _at_home(bench: Bench, module: nn.Module) -> list[Any]:
    bench.engine.models.memory.clear()
    return weights_of(module)
