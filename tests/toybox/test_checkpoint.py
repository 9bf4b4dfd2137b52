import json

import pytest
import torch
from safetensors import safe_open

from models.toybox.export import CHECKPOINT
from models.toybox.sample import load_model
from models.toybox.tokenizer import WordTokenizer
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
