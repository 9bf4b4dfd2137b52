import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from models.toybox.export import CHECKPOINT
from models.toybox.sample import load_model
from models.toybox.tokenizer import WordTokenizer
from tests.support import tiny_config, word_tokenizer, write_tiny_checkpoint
from webui import Pipeline, Txt2Img
from webui.nn.config import ModelConfig


@pytest.fixture(scope="module")
def model():
    return load_model(CHECKPOINT)


@pytest.fixture(scope="module")
def header():
    with safe_open(CHECKPOINT, "pt") as file:
        return {key: json.loads(value) for key, value in file.metadata().items()}


def test_the_file_is_under_18_megabytes():
    assert CHECKPOINT.stat().st_size < 18_000_000


def test_the_header_has_config_tokenizer_examples_and_preview(header):
    config = ModelConfig.from_json(header["atelier.config"])
    assert config.native_size == 128
    assert config.vae.downscale == 8
    assert header["atelier.tokenizer"] == WordTokenizer.of_the_world().header()
    assert len(header["atelier.about"]["examples"]) == 6
    assert header["atelier.about"]["hint"]
    assert [len(row) for row in header["atelier.preview"]] == [3] * (config.vae.z_channels + 1)


def test_every_tensor_is_finite_half_precision_under_a_name_of_sd_1():
    prefixes = ("first_stage_model.", "model.diffusion_model.", "cond_stage_model.transformer.text_model.")
    with safe_open(CHECKPOINT, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            tensor = file.get_tensor(name)
            assert name.startswith(prefixes)
            assert tensor.dtype == torch.float16
            assert tensor.isfinite().all()


def test_the_unet_has_at_most_six_million_parameters(model):
    assert sum(parameter.numel() for parameter in model.loaded.unet.parameters()) <= 6_000_000


def test_a_prompt_gives_a_picture_and_unknown_words_do_not_break_it(model):
    pictures = model.draw(["a big red ball on a green floor, blue sky", "zebra 42 !?"], seed=1, steps=2)
    assert pictures.shape == (2, 3, 128, 128)
    assert pictures.isfinite().all()
    assert pictures.std() > 0.1


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.load(str(CHECKPOINT), device="cpu")


@pytest.mark.parametrize(("width", "height"), [(96, 96), (192, 192), (96, 160)])
def test_at_other_sizes_than_its_own_the_floor_has_the_colour_asked_for(pipe, width, height):
    green, pink = (
        floor_of(pipe, Txt2Img(prompt=prompt, seed=1, steps=8, cfg_scale=4, width=width, height=height))
        for prompt in ("a small red ball on a green floor, blue sky", "a small red ball on a pink floor, blue sky")
    )
    assert green[1] - green[0] > 10
    assert pink[0] - pink[1] > 10


def floor_of(pipe, request):
    """Mean red, green and blue of the lowest rows."""
    image = pipe.generate(request).images[0].image
    assert image.size == (request.width, request.height)
    return np.asarray(image)[-8:].astype(float).mean((0, 1))


@pytest.mark.parametrize(
    "prompt", ["", "zebra 42 !?", "a big rеd bäll 球 on a green floor", "(cat:1.4), [dog]", "word " * 200]
)
def test_every_prompt_gives_a_picture(pipe, prompt):
    image = pipe.generate(Txt2Img(prompt=prompt, seed=1, steps=2)).images[0].image
    assert image.size == (128, 128)
    assert np.asarray(image).std() > 1


def test_a_second_small_model_with_other_words_and_widths_draws_beside_it(tmp_path):
    words = ("ship", "sea", "storm", "on", "the")
    tokenizer = word_tokenizer(words)
    pieces = len(tokenizer["vocab"])
    base = tiny_config(vocabulary=pieces)
    text = replace(base.texts[0], width=48, heads=3, mlp_width=96, layers=3, start_id=pieces - 2, end_id=pieces - 1)
    unet = replace(base.unet, model_channels=24, channel_mult=(1, 2, 2), transformer_depth=(0, 1, 0), context_dim=48)
    vae = replace(base.vae, channels=12, channel_mult=(1, 2, 2), z_channels=4)
    config = replace(base, unet=unet, vae=vae, texts=(text,), prediction="v", native_size=48)
    folder = tmp_path / "Stable-diffusion"
    write_tiny_checkpoint(folder / "seas.safetensors", words=words, config=config)
    (folder / CHECKPOINT.name).symlink_to(CHECKPOINT)
    pictures = {
        name: np.asarray(
            Pipeline.load(name, models_dir=tmp_path, device="cpu")
            .generate(Txt2Img(prompt="the ship on the sea", seed=1, steps=2))
            .images[0]
            .image
        )
        for name in ("seas", "toybox")
    }
    assert pictures["seas"].shape == (48, 48, 3)
    assert pictures["toybox"].shape == (128, 128, 3)
    loaded = load_model(folder / "seas.safetensors").loaded
    assert [len(chunk) for chunk in [loaded.tokenizers[0].chunks("the ship")[0].ids]] == [77]
    assert loaded.config == config


def test_the_floor_is_drawn_in_the_colour_asked_for(model):
    green, pink = model.draw([f"a small red ball on a {c} floor, blue sky" for c in ("green", "pink")], steps=8)
    red, green_part = green[:, -16:].mean((1, 2))[:2]
    assert green_part > red
    red, green_part = pink[:, -16:].mean((1, 2))[:2]
    assert red > green_part


def test_the_autoencoder_gives_a_rendered_picture_back(model):
    from models.toybox.data import HELD_OUT
    from models.toybox.evaluate import psnr
    from models.toybox.lessons import autoencoded
    from models.toybox.render import render
    from models.toybox.world import scene_of

    images = torch.stack([torch.from_numpy(render(scene_of(HELD_OUT + seed)).image) for seed in range(6)])
    pictures = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    assert psnr(pictures, autoencoded(model.loaded.vae, pictures)) > 25
