"""Memory that runs out once, at any stage of a job: the work is done again, and nobody is blamed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.control.test_drawing import IMAGES, PICTURE, PLAIN, ref
from tests.engine.memory.test_modes import HUGE, Bench
from tests.engine.memory.test_residency import Full
from webui.schema.control import ControlUnit
from webui.schema.errors import ModelError
from webui.schema.events import Done, Event, Failed, Note
from webui.schema.requests import Txt2Img

JOB: dict[str, Any] = {
    "prompt": "a red ball <lora:a:0@0,1@0.5>", "steps": 2, "enable_hr": True, "hr_scale": 1.5, "hr_model": "other",
    "denoising_strength": 0.7, "vae": "others",
}  # fmt: skip
LOADERS = (
    ("webui.networks.wanted", "open_network"),
    ("webui.networks.apply", "work_out"),
    ("webui.engine.held", "load_vae"),
    ("webui.control.shelf", "load_control"),
)
Break = Callable[[str, str, int, Exception], list[int]]
"""break_(module, function, call, error): that call of the function (from 1) fails; how many there were."""


@pytest.fixture(scope="module", params=[None, HUGE], ids=["one memory", "device"])
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path_factory.mktemp("stages"), room=request.param)


@pytest.fixture
def break_(monkeypatch: pytest.MonkeyPatch) -> Break:
    def arrange(module: str, name: str, at: int, error: Exception) -> list[int]:
        whole, count = getattr(importlib.import_module(module), name), [0]

        def broken(*given: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == at:
                raise error
            return whole(*given, **named)

        monkeypatch.setattr(f"{module}.{name}", broken)
        return count

    return arrange


def touched(bench: Bench) -> None:
    """Networks, VAEs and control networks are to be read again, while both checkpoints are in memory."""
    folder = bench.engine.models.catalogue.models_dir
    for path in (folder / "Lora" / "a.safetensors", folder / "VAE" / "others.safetensors"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    bench.engine.extensions.drop()


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(("module", "name"), LOADERS)
def test_what_finds_no_memory_is_done_again(bench: Bench, break_: Break, module: str, name: str, at: int) -> None:
    whole = bench.draw({}, **JOB)
    touched(bench)
    calls = break_(module, name, at, Full())
    assert bench.draw({}, **JOB) == whole
    assert calls[0] > at


def test_a_vae_that_fails_with_the_second_model_is_not_laid_at_an_extensions_door(
    bench: Bench, break_: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bench.draw({}, **JOB)
    bench.engine.models.unload()
    break_("webui.engine.held", "load_vae", 2, ModelError("damaged"))
    events: list[Event] = []
    units = (ControlUnit(image=ref(PICTURE), model="edges"),)
    bench.engine.run("job", Txt2Img(**{**PLAIN, **JOB}, control=units), IMAGES, lambda event, _: events.append(event))
    assert isinstance(events[-1], Failed)
    assert "damaged" in str(events[-1].error)
    assert not [event for event in events if isinstance(event, Note) and "left" in event.message]
    monkeypatch.undo()
    assert bench.draw({}, **JOB) == whole
    assert isinstance(bench.events[-1], Done)
