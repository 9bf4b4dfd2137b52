"""Going to and fro between models: memory comes back to what it was, and a model that is kept is not read again."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.memory.test_modes import HUGE, Bench
from tests.engine.test_networks import write_lora
from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.engine.memory.machine import Machine
from webui.schema.events import Done, Event, Stage
from webui.schema.memory import GB, MemoryOptions
from webui.schema.requests import Txt2Img

SIZE: dict[str, Any] = {
    "prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "steps": 1, "sampler": "Euler",
    "subseed": 0, "model": "tiny",
}  # fmt: skip
SWITCHES: tuple[dict[str, Any], ...] = (
    {"model": "tiny"},
    {"model": "other", "prompt": "a red ball <lora:a>"},
    {"model": "large"},
    {"model": "tiny", "vae": "others"},
    {"model": "other"},
)


@pytest.fixture(autouse=True)
def _others_leave_enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "free", property(lambda _: 1 << 50))


def prepared(folder: Path, memory: MemoryOptions) -> Pipeline:
    place = folder / "Stable-diffusion"
    for seed, (name, family) in enumerate({"tiny": "sd1", "other": "sd1", "large": "sdxl"}.items()):
        write_tiny_checkpoint(place / f"{name}.safetensors", family, seed=seed)
    write_lora(folder / "Lora" / "a.safetensors", place / "tiny.safetensors", 3)
    (folder / "VAE").mkdir()
    vae = {name: one for name, one in load_file(place / "other.safetensors").items() if "first_stage" in name}
    save_file(vae, folder / "VAE" / "others.safetensors")
    return Pipeline.load("tiny", models_dir=folder, device="cpu", memory=memory)


def draw(pipe: Pipeline, **fields: Any) -> list[str]:
    """The stages of the job."""
    events: list[Event] = []
    pipe._engine.run("job", Txt2Img(**{**SIZE, **fields}), {}, lambda event, _blob: events.append(event))
    assert isinstance(events[-1], Done), events[-1]
    return [event.message for event in events if isinstance(event, Stage)]


def tensors() -> list[torch.Tensor]:
    """All that live."""
    gc.collect()
    return [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor) and one.device.type == "cpu"]


def tensor_bytes(others: Sequence[torch.Tensor]) -> int:
    """Of all storages that live, each once, but for those of others, which are held as long as they are told apart."""
    theirs = {one.untyped_storage().data_ptr() for one in others}
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors()}
    return sum(size for place, size in storages.items() if place not in theirs)


@pytest.mark.parametrize("kept", [1e-6, 1.0], ids=["one at a time", "all of them"])
def test_after_twenty_switches_as_many_bytes_live_as_after_the_first_round(tmp_path: Path, kept: float) -> None:
    gc.unfreeze()
    others = tensors()  # of other tests of this process
    pipe = prepared(tmp_path, MemoryOptions(cpu_gb=kept))
    readings = []
    for _ in range(4):
        for fields in SWITCHES:
            draw(pipe, **fields)
        readings.append(tensor_bytes(others))
    assert max(readings) <= 1.02 * readings[0]
    pipe._engine.models.unload()
    assert tensor_bytes(others) < 0.2 * readings[0]


def test_a_model_that_is_kept_is_not_read_again_and_draws_the_same(tmp_path: Path) -> None:
    pipe = prepared(tmp_path, MemoryOptions(cpu_gb=1))
    first = pipe.generate(Txt2Img(**SIZE)).images[0].image.tobytes()
    assert draw(pipe, model="other")[0] == "loading other"
    assert draw(pipe)[0] == "changing to tiny"
    assert draw(pipe, model="other", prompt="a blue cat")[0] == "changing to other"
    assert pipe.generate(Txt2Img(**SIZE)).images[0].image.tobytes() == first


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    pipe = prepared(tmp_path, MemoryOptions(cpu_gb=1))
    draw(pipe)
    draw(pipe, model="other")
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors", seed=9)
    assert draw(pipe)[0] == "loading tiny"


def test_the_least_recently_used_goes_when_the_budget_is_full(tmp_path: Path) -> None:
    pipe = prepared(tmp_path, MemoryOptions(cpu_gb=1))
    for name in ("tiny", "other"):
        draw(pipe, model=name)
    garage = pipe._engine.models.garage
    sizes = {held.name: held.bytes for held in garage}
    garage.budget = sizes["tiny"] + sizes["other"]
    draw(pipe)
    gone = weakref.ref(next(held.executor.unet for held in garage if held.name == "other"))
    draw(pipe, model="large")
    assert "other" not in [held.name for held in garage]
    assert gone() is None


def test_all_is_let_go_on_demand_and_drawn_again(tmp_path: Path) -> None:
    pipe = prepared(tmp_path, MemoryOptions(cpu_gb=1))
    draw(pipe)
    draw(pipe, model="other")
    models = pipe._engine.models
    assert models.modules
    models.unload()
    assert models.modules == {}
    assert list(models.garage) == []
    assert draw(pipe)[0] == "loading tiny"


def test_twenty_switches_leave_the_device_as_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "auto", HUGE)
    jobs: tuple[tuple[tuple[dict[str, Any], ...], dict[str, Any]], ...] = (
        ((), {"prompt": "a red ball <lora:a:0.7>"}),
        (({},), {}),
        ((), {"model": "other"}),
        ((), {"model": "wide"}),
        ((), {"vae": "others"}),
    )
    readings = []
    for _ in range(4):
        for units, fields in jobs:
            bench.draw(*units, **{"steps": 1, **fields})
        here = bench.engine.models.memory.here
        readings.append((len(here), sum(part.size.of(part.manner) for part in here)))
    assert readings[1:] == [readings[0]] * 3


RSS = """
import gc, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.engine.memory.test_switches import SWITCHES, draw, prepared
from webui.engine.memory.machine import process_bytes
from webui.schema.memory import MemoryOptions
pipe = prepared(Path(sys.argv[1]), MemoryOptions(cpu_gb=1e-6))
readings = []
for _ in range(5):
    for fields in SWITCHES:
        draw(pipe, **fields)
    readings.append(process_bytes())
print(*readings)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_after_twenty_switches_the_process_is_as_large_as_after_the_first_round(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RSS, str(tmp_path)], capture_output=True, text=True, check=True)
    first, *rest = map(int, done.stdout.split())
    assert len(rest) == 4
    assert rest[-1] <= 1.02 * first
    assert first < 4 * GB
