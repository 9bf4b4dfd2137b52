"""Previews: which decoder draws them, what they may cost, and that none is worth a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.checkpoints.tiny_files import their_tiny, write_taesd
from tests.support import write_tiny_checkpoint
from webui.checkpoints.tiny import TinyCatalogue
from webui.engine.devices import place
from webui.engine.engine import Engine
from webui.engine.preview import INTERVAL, SHARE, Draw, Previewer
from webui.engine.telling import Telling
from webui.engine.tiny import TinyDecoders
from webui.schema.events import Done, Event, Note, Preview
from webui.schema.names import PreviewMethod
from webui.schema.requests import Txt2Img


class Model:
    """A loaded model for previews: the linear map draws grey, a tiny decoder white."""

    preview_factors = torch.zeros(5, 3)

    def __init__(self, draw: Draw | None = None) -> None:
        self.draw = draw

    def tiny_preview(self) -> Draw | None:
        return self.draw


class Time:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def white(latents: Sequence[Tensor]) -> list[Tensor]:
    return [torch.ones(3, 8 * latent.shape[1], 8 * latent.shape[2]) for latent in latents]


def telling(notes: list[str], calls: list[str] | None = None) -> Telling:
    def emit(event: Event, blob: bytes | None) -> None:
        assert isinstance(event, Note)
        notes.append(event.message)

    def watch(kind: str, seconds: float | None) -> None:
        if calls is not None and seconds is None:
            calls.append(kind)

    return Telling("job", emit, watch, lambda: ())


def drawn(method: PreviewMethod, draw: Draw | None, size: tuple[int, int] = (4, 6)) -> tuple[int, list[str]]:
    """The brightness of a preview in the middle, and the notes."""
    notes: list[str] = []
    previewer = Previewer(Model(draw), method, telling(notes))
    jpeg = [previewer.draw([torch.zeros(4, *size)])[0] for _ in range(2)][1]
    image = np.asarray(Image.open(io.BytesIO(jpeg)))
    return int(image[image.shape[0] // 2, image.shape[1] // 2, 0]), notes


@pytest.mark.parametrize(
    ("method", "draw", "brightness"),
    [("auto", white, 255), ("auto", None, 128), ("tiny", white, 255), ("linear", white, 128)],
)
def test_a_tiny_decoder_draws_where_it_is_wanted_and_there(method: Any, draw: Any, brightness: int) -> None:
    found, notes = drawn(method, draw)
    assert abs(found - brightness) <= 2
    assert notes == []


def test_a_tiny_decoder_that_is_wanted_and_not_there_is_told_once() -> None:
    found, notes = drawn("tiny", None)
    assert abs(found - 128) <= 2
    assert len(notes) == 1
    assert "no tiny autoencoder for this checkpoint in models/VAE-approx" in notes[0]


def test_a_tiny_decoder_that_fails_is_told_once_and_not_asked_again() -> None:
    asked = []

    def fail(latents: Sequence[Tensor]) -> list[Tensor]:
        asked.append(latents)
        raise RuntimeError("broken\nin many lines")

    found, notes = drawn("auto", fail)
    assert abs(found - 128) <= 2
    assert notes == ["The previews of this job are rough: RuntimeError: broken"]
    assert len(asked) == 1


def test_a_tiny_decoder_works_under_the_supervisors_clock() -> None:
    calls: list[str] = []
    Previewer(Model(white), "auto", telling([], calls)).draw([torch.zeros(4, 2, 2)])
    assert calls == ["preview"]


def test_none_is_never_due() -> None:
    assert not Previewer(Model(), "none", telling([])).due
    assert Previewer(Model(), "auto", telling([])).due


def test_previews_wait_for_their_interval_and_keep_to_their_share_of_the_time() -> None:
    clock = Time()

    def slow(latents: Sequence[Tensor]) -> list[Tensor]:
        clock.now += 2.0
        return white(latents)

    previewer = Previewer(Model(slow), "auto", telling([]), clock)
    previewer.draw([torch.zeros(4, 2, 2)])
    clock.now = 1.5 / SHARE - 0.1
    assert not previewer.due
    clock.now = 1.5 / SHARE + 0.1
    assert previewer.due
    quick = Previewer(Model(white), "auto", telling([]), clock)
    quick.draw([torch.zeros(4, 2, 2)])
    assert not quick.due
    clock.now += INTERVAL + 0.01
    assert quick.due


@pytest.mark.parametrize("size", [(1024, 2), (2, 1024), (1, 1), (64, 64)])
def test_a_preview_of_any_shape_is_a_jpeg(size: tuple[int, int]) -> None:
    latent = torch.zeros(4, size[1], size[0])
    data, width, height = Previewer(Model(), "auto", telling([])).draw([latent])
    assert Image.open(io.BytesIO(data)).size == (width, height)
    assert max(width, height) <= 2048


def test_a_decoder_is_read_once_until_it_is_let_go_or_its_file_changes(tmp_path: Path) -> None:
    decoders = TinyDecoders(TinyCatalogue(tmp_path), place("cpu"))
    path = write_taesd(tmp_path / "VAE-approx")
    latent = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    for seed in (0, 7):
        path.unlink()
        write_taesd(tmp_path / "VAE-approx", seed=seed)
        file = TinyCatalogue(tmp_path).list()[0]
        expected = (their_tiny(seed).decode(latent[None]).sample[0] / 2 + 0.5).clamp(0, 1)
        for _ in range(2):
            assert torch.allclose(decoders.draw(file, [latent])[0], expected, atol=1e-5)
    held = decoders._held
    decoders.draw(file, [latent])
    assert decoders._held is held
    decoders.release()
    assert decoders._held is None


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(1, (64, 64), (32, 32)), (4, (16, 16), (16, 16)), (4, (64, 16), (32, 8))]
)
def test_large_latents_are_shrunk_together(
    count: int, size: tuple[int, int], expected: tuple[int, int], tmp_path: Path
) -> None:
    write_taesd(tmp_path / "VAE-approx")
    decoders = TinyDecoders(TinyCatalogue(tmp_path), place("cpu"))
    shrunk = decoders._shrunk(torch.ones(count, 4, *size))
    assert [tuple(one.shape) for one in shrunk] == [(1, 4, *expected)] * count
    assert all(torch.allclose(one, torch.ones(())) for one in shrunk)


@pytest.mark.parametrize("broken", [False, True])
def test_a_job_draws_its_previews_by_the_tiny_decoder_at_hand_and_never_fails_by_it(
    broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors")
    write_taesd(tmp_path / "VAE-approx")
    if broken:
        monkeypatch.setattr("webui.engine.tiny.load_tiny_decoder", lambda *given: 1 / 0)
    engine = Engine(tmp_path, place("cpu"))
    events: list[Event] = []
    request = Txt2Img(model="tiny", seed=1, subseed=0, width=256, height=128, steps=2)  # half a preview's area
    engine.run("job", request, {}, lambda event, blob: events.append(event))
    assert isinstance(events[-1], Done)
    assert (engine.models.tiny._held is None) == broken
    first = next(event for event in events if isinstance(event, Preview))
    assert (first.width, first.height) == (512, 256)
    notes = [event.message for event in events if isinstance(event, Note)]
    assert notes == (["The previews of this job are rough: ZeroDivisionError: division by zero"] if broken else [])
    engine.models.unload()
    assert engine.models.tiny._held is None
