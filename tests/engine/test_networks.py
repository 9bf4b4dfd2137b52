"""Networks of a prompt, from the tag to the pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.ext.studio import Studio
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine.api import Pipeline
from webui.engine.devices import place
from webui.engine.memory.machine import Machine
from webui.engine.models import Models
from webui.engine.worn import LEAST_FREE, kept_limit
from webui.networks.kept import KEPT_BYTES
from webui.networks.steps import Step, work_out
from webui.schema.asks import Answer
from webui.schema.errors import BadRequest, ModelError, NotFound
from webui.schema.requests import Txt2Img

PLAIN = {"prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler", "steps": 3}
UNET = "input_blocks.3.1.transformer_blocks.0.attn2.to_k"
TEXT = "text_model.encoder.layers.0.mlp.fc1"
KEYS = {
    f"model.diffusion_model.{UNET}.weight": "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k",
    f"cond_stage_model.transformer.{TEXT}.weight": "lora_te_text_model_encoder_layers_0_mlp_fc1",
}
"""Name in the checkpoint -> kohya's name of the layer."""
ALPHA = 2.0


def write_lora(path: Path, checkpoint: Path, seed: int) -> dict[str, Tensor]:
    """A LoRA of rank 4 on one layer of each part; returns what it adds at strength 1, by name in the checkpoint."""
    generator, weights, added = torch.Generator().manual_seed(seed), load_file(checkpoint), {}
    tensors: dict[str, Tensor] = {}
    for name, layer in KEYS.items():
        out, into = weights[name].shape
        up, down = torch.randn(out, 4, generator=generator), torch.randn(4, into, generator=generator)
        tensors |= {
            f"{layer}.lora_up.weight": up,
            f"{layer}.lora_down.weight": down,
            f"{layer}.alpha": torch.tensor(ALPHA),
        }
        added[name] = up @ down * (ALPHA / 4)
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    return added


class Bench:
    """A checkpoint, two LoRAs, and checkpoints that they were merged into by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tiny = folder / "Stable-diffusion" / "tiny.safetensors"
        write_tiny_checkpoint(self.tiny)
        self.added = [write_lora(folder / "Lora" / f"{name}.safetensors", self.tiny, i) for i, name in enumerate("ab")]
        self.pipe = Pipeline.load("tiny", models_dir=folder, device="cpu")

    def draw(self, prompt: str = "", **fields: object) -> list[np.ndarray]:
        made = self.pipe.generate(Txt2Img(**{**PLAIN, **fields, "prompt": f"a red ball{prompt}"}))
        return [np.asarray(one.image) for one in made.images]

    def merged(self, *strengths: tuple[int, float, float], **fields: object) -> list[np.ndarray]:
        """What a checkpoint draws that LoRA number i stands in with strength te and unet."""
        place = self.folder / "merged"
        shutil.copytree(self.folder / "Stable-diffusion", place / "Stable-diffusion", dirs_exist_ok=True)
        path = place / "Stable-diffusion" / "tiny.safetensors"
        weights = load_file(path)
        for i, te, unet in strengths:
            for name, delta in self.added[i].items():
                weights[name] = weights[name] + (unet if "diffusion" in name else te) * delta
        with safe_open(self.tiny, framework="pt") as file:
            save_file(weights, path, file.metadata())
        other = Pipeline.load("tiny", models_dir=place, device="cpu")
        return [np.asarray(one.image) for one in other.generate(Txt2Img(**{**PLAIN, **fields})).images]


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((abs(one.astype(int) - other.astype(int)) <= 1).mean() > 0.999)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("networks"))


@pytest.mark.parametrize(
    ("tags", "strengths"),
    [
        (" <lora:a:0.8>", [(0, 0.8, 0.8)]),
        (" <lora:a:0:1>", [(0, 0.0, 1.0)]),
        (" <lora:a:1:0>", [(0, 1.0, 0.0)]),
        (" <lora:a:0.5:-0.5><lora:b:0.7>", [(0, 0.5, -0.5), (1, 0.7, 0.7)]),
    ],
)
def test_a_tag_draws_as_a_checkpoint_that_the_network_is_merged_into(
    bench: Bench, tags: str, strengths: list[tuple[int, float, float]]
) -> None:
    (drawn,), (expected,), (plain,) = bench.draw(tags), bench.merged(*strengths), bench.draw()
    assert close(drawn, expected)
    assert not close(drawn, plain)


def test_the_picture_after_it_is_as_before_byte_for_byte(bench: Bench) -> None:
    (before,) = bench.draw()
    bench.draw(" <lora:a:1><lora:b:0.5>")
    assert np.array_equal(bench.draw()[0], before)


def test_a_strength_by_steps_is_that_of_each_step(bench: Bench) -> None:
    (late,), (plain,) = bench.draw(" <lora:a:0:0@0,0@1>"), bench.draw()
    assert np.array_equal(late, plain)
    (rising,), (whole,) = bench.draw(" <lora:a:0:0@0,1@1>"), bench.draw(" <lora:a:0:1>")
    assert not close(rising, plain)
    assert not close(rising, whole)


def test_pictures_of_a_batch_may_have_networks_of_their_own(bench: Bench) -> None:
    prompt = " {<lora:a:1>|<lora:b:1>}"
    together = bench.draw(prompt, batch_size=4)
    for index, one in enumerate(together):
        assert close(one, bench.draw(prompt, seed=5 + index)[0])
    for tag in ("<lora:a:1>", "<lora:b:1>"):  # both were chosen
        assert any(close(one, bench.draw(f" {tag}", seed=5 + index)[0]) for index, one in enumerate(together))


def test_each_pass_of_hires_has_its_networks(bench: Bench) -> None:
    fields = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.8}
    (drawn,), (expected,) = bench.draw(" <lora:a:0.8>", **fields), bench.merged((0, 0.8, 0.8), **fields)
    assert close(drawn, expected)


def test_a_network_that_is_not_there_or_does_nothing_is_an_error(bench: Bench) -> None:
    with pytest.raises(NotFound, match="nobody"):
        bench.draw(" <lora:nobody:1>")
    with pytest.raises(BadRequest, match="kind"):
        bench.draw(" <style:a:1>")
    zeros = {name: torch.zeros_like(value) for name, value in load_file(bench.folder / "Lora/a.safetensors").items()}
    save_file(zeros, bench.folder / "Lora" / "empty.safetensors")
    with pytest.raises(ModelError, match="changes nothing"):
        bench.draw(" <lora:empty:1>")
    (plain,) = bench.draw()
    assert np.array_equal(bench.draw()[0], plain)


def test_keys_without_a_place_are_told(bench: Bench) -> None:
    tensors = load_file(bench.folder / "Lora" / "a.safetensors")
    layer = next(iter(KEYS.values())).replace("to_k", "to_x")
    save_file({**tensors, f"{layer}.lora_up.weight": torch.ones(4, 4)}, bench.folder / "Lora" / "more.safetensors")
    made = bench.pipe.generate(Txt2Img(**{**PLAIN, "prompt": "a red ball <lora:more:1>"}))
    assert any("6 of 7 keys matched" in note for note in made.notes), made.notes


LOOKS = """
def open_pass(p):
    yield

def after_step(s):
    pass
"""


class Watched:
    """A bench of its own, and how many layers were worked out since it was last asked."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.draw = bench.draw
        self.bench = bench
        self._worked_out = 0
        monkeypatch.setattr("webui.networks.apply.work_out", self._work_out)
        bench.draw()
        self.model = bench.pipe._engine.models.present.model

    def worked_out(self) -> int:
        count, self._worked_out = self._worked_out, 0
        return count

    def weights(self) -> dict[str, bytes]:
        modules = {"unet": self.model.unet, "text": self.model.texts[0]}
        states = {f"{part}.{name}": w for part, one in modules.items() for name, w in one.state_dict().items()}
        return {name: weight.contiguous().numpy().tobytes() for name, weight in states.items()}

    def _work_out(self, step: Step, now: dict[str, Tensor]) -> bool:
        self._worked_out += 1
        return work_out(step, now)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(Bench(tmp_path), monkeypatch)


def test_the_next_job_with_the_same_networks_works_nothing_out(watched: Watched) -> None:
    (first,) = watched.draw(" <lora:a:0.8>")
    assert watched.worked_out() == 2
    (second,), (other_seed,) = watched.draw(" <lora:a:0.8>"), watched.draw(" <lora:a:0.8>", seed=6)
    assert watched.worked_out() == 0
    assert np.array_equal(second, first)
    assert not close(other_seed, first)
    (weaker,) = watched.draw(" <lora:a:0.3>")
    assert watched.worked_out() == 2
    assert not close(weaker, first)


def test_a_job_without_networks_after_some_with_is_as_in_a_fresh_engine(watched: Watched) -> None:
    before = watched.weights()
    for tags in (" <lora:a:1><lora:b:0.5>", " <lora:a:0.2@0,1@1>", " <lora:b:0.5>"):
        watched.draw(tags)
        fresh = Pipeline.load("tiny", models_dir=watched.bench.folder, device="cpu")
        (expected,) = (np.asarray(one.image) for one in fresh.generate(Txt2Img(**PLAIN)).images)
        assert np.array_equal(watched.draw()[0], expected)
        assert watched.weights() == before


def test_a_network_file_that_changed_between_two_jobs_is_read_again(watched: Watched) -> None:
    (first,) = watched.draw(" <lora:a:1>")
    watched.bench.added[0] = write_lora(watched.bench.folder / "Lora" / "a.safetensors", watched.bench.tiny, 7)
    (second,) = watched.draw(" <lora:a:1>")
    assert not close(first, second)
    assert close(second, watched.bench.merged((0, 1.0, 1.0))[0])


@pytest.mark.parametrize(("free", "again"), [(None, 0), (LEAST_FREE, 0), (LEAST_FREE - 1, 2)])
def test_where_memory_is_short_nothing_is_kept_for_the_next_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, free: int | None, again: int
) -> None:
    watched = Watched(bench, monkeypatch)
    monkeypatch.setattr(Machine, "free", free)
    worn = bench.pipe._engine.models.present.worn
    worn.forget()
    watched.draw(" <lora:a:0.8>")
    assert watched.worked_out() == 2
    assert (worn.kept_bytes == 0) == (again > 0)
    watched.draw(" <lora:a:0.8>")
    assert watched.worked_out() == again


def test_the_more_memory_there_is_the_more_is_kept() -> None:
    assert [kept_limit(total) for total in (None, 2**33, 2**40)] == [KEPT_BYTES, 2**30, KEPT_BYTES]


def test_a_network_that_was_refused_is_refused_again(watched: Watched) -> None:
    before, plain = watched.weights(), watched.draw()[0]
    tensors = load_file(watched.bench.folder / "Lora" / "a.safetensors")
    name = next(name for name in tensors if "te_" in name and "up" in name)
    save_file({**tensors, name: tensors[name] * torch.nan}, watched.bench.folder / "Lora" / "bad.safetensors")
    for _ in range(2):
        with pytest.raises(ModelError, match="NaN"):
            watched.draw(" <lora:bad:1>")
    assert np.array_equal(watched.draw()[0], plain)
    assert watched.weights() == before


def test_control_networks_see_the_checkpoints_own_weights(watched: Watched) -> None:
    before = watched.weights()
    watched.draw(" <lora:a:1>")
    base = watched.bench.pipe._engine.models.present.base
    seen = {f"unet.{name}": weight.contiguous().numpy().tobytes() for name, weight in base.weights.items()}
    assert seen.items() <= before.items()


@pytest.fixture
def studio(bench: Bench, tmp_path: Path) -> Studio:
    """The same models, with two extensions that only look."""
    studio = Studio(Models(Catalogue(bench.folder), place("cpu")), tmp_path)
    for id in ("one", "two"):
        studio.add(id, LOOKS, "open_pass after_step")
    return studio


def test_the_leak_guard_knows_that_networks_are_the_programs_own(bench: Bench, studio: Studio) -> None:
    prompt = "a red ball <lora:a:0.5@0,1@1>"
    studio.draw(prompt="a red ball")
    looked = studio.draw(prompt=prompt)
    assert (studio.notes, studio.restarts) == ([], [])
    studio.off("one", "two")
    assert studio.draw(prompt=prompt) == looked


NEGATIVE = '[[preprocessor]]\nid = "negative"\nentry = "main:negative"\nresolution = false'


def test_a_question_that_is_answered_while_networks_stand_is_no_leak(bench: Bench, studio: Studio) -> None:
    studio.off("one", "two")
    studio.add("asked", "def negative(image):\n    return 255 - image", tables=NEGATIVE)
    answers: list[list[Answer]] = []
    studio.on_progress = lambda: answers.append(studio.ask("negative"))
    studio.draw(prompt="a red ball <lora:a:0.5>")
    studio.on_progress = lambda: None
    assert answers[0], "it was not answered during the job"
    assert (studio.notes, studio.restarts) == ([], [])


def test_a_hypernetwork_acts_alike_with_and_without_extensions(bench: Bench, studio: Studio) -> None:
    config = bench.pipe._engine.models.catalogue.config("tiny").unet
    generator, tensors = torch.Generator().manual_seed(1), dict[str, Tensor]()
    for width in (config.widths[1], config.context_dim):
        for side in "kv":
            for layer, (out, into) in enumerate(((2 * width, width), (width, 2 * width))):
                tensors[f"{width}.{side}.linear.{layer}.weight"] = torch.randn(out, into, generator=generator)
                tensors[f"{width}.{side}.linear.{layer}.bias"] = torch.randn(out, generator=generator)
    (bench.folder / "hypernetworks").mkdir(exist_ok=True)
    save_file(tensors, bench.folder / "hypernetworks" / "hyper.safetensors")
    looked, plain = studio.draw(prompt="a red ball <hypernet:hyper:0.7>"), studio.draw(prompt="a red ball")
    off = studio.draw(prompt="a red ball <hypernet:hyper:0>")
    studio.off("one", "two")
    assert studio.draw(prompt="a red ball <hypernet:hyper:0.7>") == looked != plain
    assert off == plain == studio.draw(prompt="a red ball")
