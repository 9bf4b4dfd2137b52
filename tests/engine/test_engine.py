"""The engine on a small random model: the same pictures alone and in batches, and faults that cost one job alone."""

from __future__ import annotations

import io
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from tests.support import write_tiny_checkpoint
from webui.diffusion.preview import family_factors
from webui.engine.api import Pipeline
from webui.engine.devices import place
from webui.engine.engine import Engine
from webui.engine.memory.machine import Machine
from webui.nn.vae import VAE
from webui.schema.errors import AtelierError, BadRequest, ModelError, NotFound, NumericError
from webui.schema.events import Done, Event, Failed, ImageReady, Note, Preview, Progress, Started
from webui.schema.names import SAMPLER_NAMES
from webui.schema.requests import MASKED_CONTENTS, Img2Img, Inpaint, Request, Txt2Img

SIZE = {"width": 64, "height": 48, "steps": 4, "sampler": "Euler a"}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "Stable-diffusion").mkdir()
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors", seed=1)
    write_tiny_checkpoint(folder / "Stable-diffusion" / "other.safetensors", seed=2)
    return folder


@pytest.fixture(scope="module")
def pipe(models_dir: Path) -> Pipeline:
    return Pipeline.load("tiny", models_dir=models_dir, device="cpu")


def pixels(pipe: Pipeline, request: Request) -> list[np.ndarray]:
    return [np.asarray(made.image) for made in pipe.generate(request).images]


def picture(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_same_request_twice_gives_the_same_bytes(pipe: Pipeline) -> None:
    request = Txt2Img(prompt="a red ball", seed=5, **SIZE)
    first, second = (pipe.generate(request).images[0].png() for _ in range(2))
    assert first == second


def test_another_seed_or_prompt_gives_another_picture(pipe: Pipeline) -> None:
    plain = pixels(pipe, Txt2Img(prompt="red", seed=5, **SIZE))[0]
    for other in (Txt2Img(prompt="red", seed=6, **SIZE), Txt2Img(prompt="blue", seed=5, **SIZE)):
        assert not np.array_equal(plain, pixels(pipe, other)[0])


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DPM adaptive", "DDIM"])
def test_a_seed_gives_the_same_picture_in_any_batch(pipe: Pipeline, sampler: str) -> None:
    fields = {**SIZE, "sampler": sampler, "prompt": "a red ball"}
    batch = pixels(pipe, Txt2Img(seed=5, batch_size=3, **fields))
    for index, together in enumerate(batch):
        alone = pixels(pipe, Txt2Img(seed=5 + index, **fields))[0]
        close = abs(alone.astype(int) - together.astype(int)).max(axis=2) <= 1
        assert close.mean() >= 0.999


def test_batches_one_after_another_count_seeds_on(pipe: Pipeline) -> None:
    made = pipe.generate(Txt2Img(seed=7, n_iter=2, batch_size=2, **SIZE))
    assert [image.seed for image in made.images] == [7, 8, 9, 10]


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_draws_a_picture_of_the_size_asked_for(pipe: Pipeline, sampler: str) -> None:
    (drawn,) = pixels(pipe, Txt2Img(seed=1, **{**SIZE, "sampler": sampler, "steps": 2, "width": 50}))
    assert drawn.shape == (48, 50, 3)
    assert drawn.std() > 1


def test_a_variation_moves_from_one_seed_to_the_other(pipe: Pipeline) -> None:
    fields = {**SIZE, "prompt": "red"}
    low, high = (pixels(pipe, Txt2Img(seed=seed, **fields))[0] for seed in (1, 2))
    ddim = {**fields, "sampler": "DDIM"}  # draws no noise of its own after the first
    whole = pixels(pipe, Txt2Img(seed=1, subseed=2, subseed_strength=1.0, **ddim))[0].astype(int)
    assert abs(whole - pixels(pipe, Txt2Img(seed=2, **ddim))[0]).max() <= 1
    half = pixels(pipe, Txt2Img(seed=1, subseed=2, subseed_strength=0.5, **fields))[0]
    assert not np.array_equal(half, low)
    assert not np.array_equal(half, high)


def test_img2img_and_inpaint_take_the_pictures_that_were_handed_in(pipe: Pipeline) -> None:
    init = picture(70, 50)
    mask = Image.new("L", init.size, 0)
    mask.paste(255, (20, 10, 50, 40))
    ref, mask_ref = pipe.add_image(init), pipe.add_image(mask)
    (redrawn,) = pixels(pipe, Img2Img(init_image=ref, seed=1, steps=4, sampler="Euler"))
    (repainted,) = pixels(pipe, Inpaint(init_image=ref, mask=mask_ref, seed=1, steps=4, sampler="Euler", mask_blur=0))
    before = np.asarray(init)
    assert redrawn.shape == repainted.shape == before.shape
    assert not np.array_equal(redrawn, before)
    outside = np.asarray(mask) == 0
    assert np.array_equal(repainted[outside], before[outside])
    assert not np.array_equal(repainted[~outside], before[~outside])


def test_the_png_text_makes_the_picture_again(pipe: Pipeline) -> None:
    made = pipe.generate(Txt2Img(prompt="red", negative_prompt="blue", seed=9, **SIZE)).images[0]
    text = Image.open(io.BytesIO(made.png())).info["parameters"]
    assert text == made.infotext
    assert text.startswith("red\nNegative prompt: blue\nSteps: 4, Sampler: Euler a, Schedule type: Automatic")
    assert "Seed: 9, Size: 64x48" in text
    assert "Model: tiny" in text


def test_a_picture_that_is_not_there_is_a_bad_request(pipe: Pipeline) -> None:
    ref = Pipeline.load("tiny", models_dir=pipe._engine.models.catalogue.models_dir, device="cpu").add_image(picture())
    with pytest.raises(BadRequest, match="no longer there"):
        pipe.generate(Img2Img(init_image=ref, **SIZE))


def test_a_clip_skip_deeper_than_the_text_encoder_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(BadRequest, match="Clip skip"):
        pipe.generate(Txt2Img(clip_skip=12, **SIZE))


def test_an_unknown_model_is_named(models_dir: Path) -> None:
    with pytest.raises(NotFound, match="nosuch"):
        Pipeline.load("nosuch", models_dir=models_dir, device="cpu")


def poison(path: Path, name: str) -> None:
    """Put NaN into one tensor of a file."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        metadata = file.metadata()
    tensors[name][0] = float("nan")
    save_file(tensors, path, metadata)


class Recorded:
    """An engine and the events of its jobs."""

    def __init__(self, models_dir: Path) -> None:
        self.engine = Engine(models_dir, place("cpu"))
        self.events: list[Event] = []
        self.stop_at: int | None = None

    def run(self, request: Request) -> Event:
        self.events = []
        self.engine.run("job", request, {}, self._emit)
        return self.events[-1]

    def _emit(self, event: Event, blob: bytes | None) -> None:
        self.events.append(event)
        if isinstance(event, Progress) and event.step == self.stop_at:
            self.engine.cancel("job", "interrupt")

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def recorded(models_dir: Path) -> Recorded:
    return Recorded(models_dir)


def request(**fields: Any) -> Txt2Img:
    return Txt2Img(**{"model": "tiny", "seed": 1, "subseed": 0, **SIZE, **fields})


def test_a_job_tells_its_start_its_progress_its_pictures_and_its_end(recorded: Recorded) -> None:
    assert isinstance(recorded.run(request(n_iter=2, batch_size=2)), Done)
    assert isinstance(recorded.events[0], Started)
    progress = recorded.of(Progress)
    assert [(one.step, one.steps) for one in progress] == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    assert [one.fraction for one in progress] == [index / 8 for index in range(1, 9)]
    assert [(one.index, one.seed) for one in recorded.of(ImageReady)] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert recorded.of(Preview)


def test_an_interrupt_acts_within_one_step_and_delivers_what_there_is(recorded: Recorded) -> None:
    recorded.stop_at = 3
    last = recorded.run(request(steps=50, n_iter=5))
    assert isinstance(last, Done)
    assert last.interrupted
    assert [one.step for one in recorded.of(Progress)] == [1, 2, 3]
    assert len(recorded.of(ImageReady)) == 1
    assert [note.message for note in recorded.of(Note)] == ["Stopped at step 3 of 50: the picture is unfinished."]


def test_an_interrupt_before_the_job_runs_is_kept(recorded: Recorded) -> None:
    recorded.engine.prepare("job")
    recorded.engine.cancel("job", "interrupt")
    last = recorded.run(request(steps=50))
    assert isinstance(last, Done)
    assert last.interrupted
    assert recorded.of(Progress) == []


def test_calls_are_timed_by_their_kind_and_size_and_a_model_at_hand_is_not_loaded_again(models_dir: Path) -> None:
    calls: list[str] = []
    engine = Engine(models_dir, place("cpu"), watch=lambda kind, seconds: calls.append(kind))
    for _ in range(2):
        engine.run("job", request(batch_size=2, steps=1), {}, lambda event, blob: None)
    once = ["EncodeText"] * 2 + ["Denoise 2x4x6x8"] * 2 + ["DecodeLatent 2x4x6x8"] * 2
    assert calls == ["load"] * 2 + once + once


def test_nan_in_the_model_fails_the_job_by_name_and_the_next_job_works(recorded: Recorded, models_dir: Path) -> None:
    broken = models_dir / "Stable-diffusion" / "nan.safetensors"
    write_tiny_checkpoint(broken, seed=1)
    poison(broken, "model.diffusion_model.out.2.bias")
    last = recorded.run(request(model="nan"))
    assert isinstance(last, Failed)
    assert isinstance(AtelierError.from_json(last.error), NumericError)
    assert "step 1 of 4" in last.error["message"]
    assert isinstance(recorded.run(request()), Done)


def test_a_file_that_breaks_while_the_server_runs_costs_one_job(recorded: Recorded, models_dir: Path) -> None:
    path = models_dir / "Stable-diffusion" / "breaks.safetensors"
    write_tiny_checkpoint(path, seed=3)
    assert isinstance(recorded.run(request(model="breaks")), Done)
    assert isinstance(recorded.run(request()), Done)
    path.write_bytes(path.read_bytes()[:1000])
    last = recorded.run(request(model="breaks"))
    assert isinstance(last, Failed)
    assert isinstance(AtelierError.from_json(last.error), ModelError)
    assert isinstance(recorded.run(request()), Done)


def test_a_model_whose_file_was_replaced_is_loaded_anew(recorded: Recorded, models_dir: Path) -> None:
    path = models_dir / "Stable-diffusion" / "changes.safetensors"
    write_tiny_checkpoint(path, seed=3)
    recorded.run(request(model="changes"))
    assert recorded.engine.models.holds("changes")
    time.sleep(0.01)
    path.unlink()
    write_tiny_checkpoint(path, seed=4)
    assert not recorded.engine.models.holds("changes")


def test_the_old_model_is_gone_before_the_next_is_read_and_stays_where_the_next_is_no_model(
    recorded: Recorded, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.engine.models.garage.budget = 0
    recorded.run(request())
    old = weakref.ref(recorded.engine.models.executor("tiny").facts)
    (models_dir / "Stable-diffusion" / "broken.safetensors").write_bytes(b"no model at all")
    assert isinstance(recorded.run(request(model="broken")), Failed)
    assert recorded.engine.models.holds("tiny")
    seen: list[Any] = []

    def load(*arguments: Any) -> Any:
        seen.append(old())
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("webui.engine.models.load_checkpoint", load)
    last = recorded.run(request(model="other"))
    assert isinstance(last, Failed)
    assert "memory to load other.safetensors" in last.error["message"]
    assert seen == [None]
    monkeypatch.undo()
    assert isinstance(recorded.run(request()), Done)


def test_previews_of_a_model_without_factors_use_those_of_its_family(recorded: Recorded) -> None:
    recorded.run(request())
    assert torch.equal(recorded.engine.models.preview_factors, family_factors("sd1"))


def test_a_fault_nobody_foresaw_is_told_with_its_kind(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("webui.engine.executor.denoise", fail)
    last = recorded.run(request())
    assert isinstance(last, Failed)
    assert "ZeroDivisionError: by nought" in last.error["message"]


def test_a_full_device_is_told_with_the_cure_and_the_vae_tries_tiles_first(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = VAE.decode

    def full(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    tries: list[int] = []

    def full_once(*arguments: Any) -> Any:
        tries.append(1)
        return decode(*arguments) if len(tries) > 1 else full()

    with monkeypatch.context() as patch:
        patch.setattr(VAE, "decode", full_once)
        assert isinstance(recorded.run(request()), Done)
        assert "tile by tile" in recorded.of(Note)[0].message
    monkeypatch.setattr("webui.engine.executor.denoise", full)
    last = recorded.run(request())
    assert isinstance(last, Failed)
    assert last.error["code"] == "out_of_memory"


def test_a_large_picture_on_a_cpu_is_tiled_before_the_system_kills_the_process(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[tuple[int, ...]] = []
    decode = VAE.decode

    def noted(vae: VAE, z: torch.Tensor) -> torch.Tensor:
        sides.append(tuple(z.shape[-2:]))
        return decode(vae, z)

    monkeypatch.setattr(VAE, "decode", noted)
    needed = 6 * 8 * 4 * 200 * 48  # numbers per base channel, base channels, bytes of a number, pixels
    monkeypatch.setattr("webui.engine.vae_work.TILES", (24, 20, 12))
    monkeypatch.setattr(Machine, "free", property(lambda _: round(needed / 0.8)))
    for width, whole in ((200, True), (208, False)):
        sides.clear()
        done = recorded.run(request(width=width, height=48))
        assert isinstance(done, Done)
        assert (sides == [(6, 25)]) is whole
        assert (recorded.of(Note) == []) is whole
    assert set(sides) == {(6, 12)}
    assert "tile by tile" in recorded.of(Note)[0].message


@pytest.mark.parametrize("work", ["encode", "decode"])
def test_a_vae_that_overflows_in_half_precision_works_in_float32_from_then_on(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    pipe = Pipeline.load("tiny", models_dir=models_dir, device="cpu", dtype="bfloat16")
    whole, dtypes = getattr(VAE, work), []

    def overflows(vae: VAE, x: torch.Tensor) -> Any:
        dtypes.append(x.dtype)
        return whole(vae, x * torch.inf if x.dtype == torch.bfloat16 else x)

    monkeypatch.setattr(VAE, work, overflows)
    start = pipe.add_image(picture())
    made = pipe.generate(Img2Img(init_image=start, seed=1, steps=2))
    assert made.notes == ("The VAE overflowed in half precision; it works in float32 from now on.",)
    assert pipe.generate(Img2Img(init_image=start, seed=1, steps=2)).notes == ()
    assert dtypes == [torch.bfloat16, torch.float32, torch.float32]


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_model_in_half_precision_draws_nearly_the_same_picture(tmp_path: Path, family: str) -> None:
    write_tiny_checkpoint(tmp_path / "tiny.safetensors", family, seed=1)
    whole, half = (
        Pipeline.load(str(tmp_path / "tiny.safetensors"), device="cpu", dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    request = Txt2Img(prompt="a (red:1.3) ball", seed=5, enable_hr=True, hr_scale=1.5, **{**SIZE, "sampler": "Euler"})
    near = abs(pixels(whole, request)[0].astype(int) - pixels(half, request)[0])
    assert near.mean() < 4
    start = half.add_image(picture())
    mask = half.add_image(Image.fromarray(np.pad(np.full((16, 16), 255, np.uint8), ((16, 16), (24, 24)))))
    for content in MASKED_CONTENTS:
        half.generate(Inpaint(init_image=start, mask=mask, masked_content=content, cfg_rescale=0.5, seed=1, steps=2))


def test_nothing_touches_the_global_random_state(pipe: Pipeline) -> None:
    before = torch.get_rng_state()
    pixels(pipe, Txt2Img(seed=1, **SIZE))
    assert torch.equal(torch.get_rng_state(), before)
