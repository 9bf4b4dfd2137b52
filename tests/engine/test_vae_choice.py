"""A VAE of one's choice, from the request to the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.schema.errors import NotFound
from webui.schema.events import Stage
from webui.schema.requests import Txt2Img

PLAIN = {"prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler a", "steps": 2}


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    """Two checkpoints that differ in all their weights, and the VAE of the second one as a file."""
    folder = tmp_path / "Stable-diffusion"
    for seed, name in enumerate(("tiny", "other")):
        write_tiny_checkpoint(folder / f"{name}.safetensors", seed=seed)
    vae = {name: value for name, value in load_file(folder / "other.safetensors").items() if "first_stage" in name}
    (tmp_path / "VAE").mkdir()
    save_file(vae, tmp_path / "VAE" / "others.safetensors")
    return Pipeline.load("tiny", models_dir=tmp_path, device="cpu")


def draw(pipe: Pipeline, **fields: object) -> np.ndarray:
    return np.asarray(pipe.generate(Txt2Img(**{**PLAIN, **fields})).images[0].image)


def test_the_chosen_vae_decodes_and_the_own_one_comes_back(pipe: Pipeline) -> None:
    own = draw(pipe)
    unet, vae = pipe._engine.models.present.unet, pipe._engine.models.modules["vae"]
    assert not np.array_equal(draw(pipe, vae="others"), own)
    assert pipe._engine.models.present.unet is unet  # the rest of the model stays
    assert np.array_equal(draw(pipe, vae="None"), own)
    assert pipe._engine.models.modules["vae"] is vae


def test_a_vae_named_as_the_checkpoint_is_used_without_a_word(pipe: Pipeline) -> None:
    own, chosen = draw(pipe), draw(pipe, vae="others")
    place = pipe._engine.models.catalogue.models_dir / "VAE"
    (place / "others.safetensors").rename(place / "tiny.vae.safetensors")
    assert np.array_equal(draw(pipe), chosen)
    assert np.array_equal(draw(pipe, vae="None"), own)


def test_changing_the_vae_is_told(pipe: Pipeline) -> None:
    stages: list[str] = []

    def note(event: object) -> None:
        if isinstance(event, Stage):
            stages.append(event.message)

    pipe.generate(Txt2Img(**PLAIN), note)
    pipe.generate(Txt2Img(**PLAIN, vae="others"), note)
    assert [stage for stage in stages if stage != "decoding"] == ["loading tiny", "changing the VAE"]


def test_a_vae_goes_with_the_hires_pass_of_a_checkpoint_with_such_latents(pipe: Pipeline) -> None:
    fields = {"enable_hr": True, "hr_scale": 1.5, "hr_model": "other", "hr_upscaler": "Latent"}
    assert np.array_equal(draw(pipe, vae="others", **fields), draw(pipe, **fields))


def test_a_vae_that_is_not_there_is_refused_and_an_explicit_one_is_in_the_text(pipe: Pipeline) -> None:
    with pytest.raises(NotFound, match="others"):
        draw(pipe, vae="other")
    text = pipe.generate(Txt2Img(**PLAIN, vae="others.safetensors")).images[0].infotext
    assert ", VAE: others, Version" in text
    assert "VAE" not in pipe.generate(Txt2Img(**PLAIN)).images[0].infotext
