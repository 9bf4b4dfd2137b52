import subprocess
import sys

import pytest
import torch

from tests.nn.small import TEXTS
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.config import SD15, SDXL
from webui.nn.text import TextEncoder, build_text


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    network = build_text(TEXTS["sdxl openclip"])
    randomise(network)
    return network


def ids(*words: int) -> torch.Tensor:
    """start, words, end, zeros: (1 77)."""
    row = [58, *words, 59]
    return torch.tensor([row + [0] * (77 - len(row))])


def test_keys_are_those_of_transformers_files() -> None:
    with torch.device("meta"):
        sd1, bigg = build_text(SD15.texts[0]).state_dict(), build_text(SDXL.texts[1]).state_dict()
    assert tuple(sd1["text_model.embeddings.token_embedding.weight"].shape) == (49408, 768)
    assert tuple(sd1["text_model.encoder.layers.11.mlp.fc1.weight"].shape) == (3072, 768)
    assert all(name.startswith("text_model.") for name in sd1)
    assert tuple(bigg["text_projection.weight"].shape) == (1280, 1280)


def test_an_encoder_built_on_the_meta_device_runs_once_its_weights_are_assigned(encoder: TextEncoder) -> None:
    with torch.device("meta"):
        again = build_text(encoder.config).eval()
    assert all(parameter.is_meta for parameter in again.parameters())
    again.load_state_dict(encoder.state_dict(), assign=True)
    again.to("cpu", torch.float32)
    assert torch.equal(again(ids(3, 4)).hidden, encoder(ids(3, 4)).hidden)


@torch.no_grad()
def test_words_see_only_the_words_before_them(encoder: TextEncoder) -> None:
    one, other = encoder(ids(3, 4, 5)).hidden, encoder(ids(3, 4, 6)).hidden
    assert torch.allclose(one[:, :3], other[:, :3], atol=1e-6)
    assert relative_error(one[:, 3], other[:, 3]) > 0.01


@torch.no_grad()
def test_pooled_is_the_state_at_the_first_end_token(encoder: TextEncoder) -> None:
    short = encoder(ids(3, 4))
    later = ids(3, 4)
    later[0, 10] = 59
    assert torch.allclose(encoder(later).pooled, short.pooled, atol=1e-6)
    assert relative_error(encoder(ids(3, 5)).pooled, short.pooled) > 0.01


@torch.no_grad()
def test_pooled_does_not_depend_on_clip_skip(encoder: TextEncoder) -> None:
    assert torch.equal(encoder(ids(3), skip=1).pooled, encoder(ids(3), skip=4).pooled)


@torch.no_grad()
def test_embeddings_may_stand_in_the_place_of_words(encoder: TextEncoder) -> None:
    tokens = ids(3, 4)
    embeddings = encoder.embed(tokens)
    assert torch.equal(encoder(tokens, embeddings=embeddings).hidden, encoder(tokens).hidden)
    embeddings[0, 1] = draw(32)
    assert relative_error(encoder(tokens, embeddings=embeddings).hidden, encoder(tokens).hidden) > 0.01


@pytest.mark.parametrize("skip", [0, -1, 33])
def test_a_clip_skip_beyond_the_layers_is_refused(encoder: TextEncoder, skip: int) -> None:
    with pytest.raises(ValueError, match=r"clip skip -?\d+ is outside 1\.\.32"):
        encoder(ids(3), skip=skip)


def test_the_unet_and_the_autoencoder_need_torch_and_numpy_alone() -> None:
    code = (
        "import sys; import webui.nn.unet, webui.nn.vae, webui.nn.text, webui.nn.config;"
        "print(sorted({'transformers', 'diffusers', 'pydantic', 'PIL', 'cv2', 'safetensors'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
