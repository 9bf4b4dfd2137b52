import pytest
import torch
from torch import Tensor

from tests.nn import small
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.config import SD15, SDXL, VAEConfig
from webui.nn.vae import VAE, Posterior

SD_SHAPES = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down.0.block.0.norm1.weight": (128,),
    "encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
    "encoder.down.2.downsample.conv.weight": (512, 512, 3, 3),
    "encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
    "encoder.mid.block_2.conv2.bias": (512,),
    "encoder.norm_out.weight": (512,),
    "encoder.conv_out.weight": (8, 512, 3, 3),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "decoder.up.0.block.0.nin_shortcut.weight": (128, 256, 1, 1),
    "decoder.up.3.block.2.conv1.weight": (512, 512, 3, 3),
    "decoder.up.1.upsample.conv.weight": (256, 256, 3, 3),
    "decoder.mid.attn_1.proj_out.weight": (512, 512, 1, 1),
    "decoder.conv_out.weight": (3, 128, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
    "post_quant_conv.weight": (4, 4, 1, 1),
}


@pytest.fixture(scope="module")
def vae() -> VAE:
    network = VAE(small.VAE)
    randomise(network)
    return network


def test_layers_carry_the_names_and_shapes_of_the_checkpoint() -> None:
    with torch.device("meta"):
        weights = VAE(SD15.vae).state_dict()
    assert {name: tuple(weights[name].shape) for name in SD_SHAPES} == SD_SHAPES
    assert all(tensor.is_meta for tensor in weights.values())


def test_a_sample_is_mean_plus_standard_deviation_times_noise() -> None:
    posterior = Posterior(torch.tensor([1.0]), torch.tensor([2.0]).log())
    assert torch.allclose(posterior.sample(torch.tensor([3.0])), torch.tensor([1 + 3 * 2**0.5]))
    assert torch.equal(posterior.mode(), torch.tensor([1.0]))


@pytest.mark.parametrize("config", [SD15.vae, SDXL.vae, VAEConfig(scale_factor=0.36, shift=0.12)])
def test_the_latent_scale_has_an_inverse(config: VAEConfig) -> None:
    with torch.device("meta"):
        scale = VAE(config)
    z = draw(1, 4, 3, 3, dtype=torch.float64)
    assert torch.allclose(scale.to_latent(z), (z - config.shift) * config.scale_factor)
    assert torch.allclose(scale.from_latent(scale.to_latent(z)), z)


def test_the_log_variance_stays_finite(vae: VAE) -> None:
    with torch.no_grad():
        assert vae.encode(draw(1, 3, 16, 16) * 1e6).logvar.abs().max() <= 30


@torch.no_grad()
def test_a_picture_of_one_tile_is_encoded_and_decoded_whole(vae: VAE) -> None:
    picture, z = draw(1, 3, 64, 48), draw(1, 4, 8, 6)
    assert torch.equal(vae.encode_tiled(picture, tile=8, overlap=2).mean, vae.encode(picture).mean)
    assert torch.equal(vae.decode_tiled(z, tile=8, overlap=2), vae.decode(z))


@torch.no_grad()
def test_tiles_of_a_local_network_join_to_the_whole() -> None:
    local = Local(VAE(small.VAE))
    picture, z = draw(2, 3, 8 * 21, 8 * 13), draw(2, 4, 21, 13)
    tiled, whole = local.encode_tiled(picture, tile=8, overlap=3), local.encode(picture)
    assert tiled.mean.shape == (2, 4, 21, 13)
    assert relative_error(tiled.mean, whole.mean) < 1e-6
    assert relative_error(tiled.logvar, whole.logvar) < 1e-6
    assert relative_error(local.decode_tiled(z, tile=8, overlap=3), local.decode(z)) < 1e-6


@torch.no_grad()
def test_tiled_pictures_have_the_size_and_nearly_the_values_of_the_whole(vae: VAE) -> None:
    z = draw(1, 4, 24, 20)
    tiled, whole = vae.decode_tiled(z, tile=16, overlap=8), vae.decode(z)
    assert tiled.shape == whole.shape
    assert relative_error(tiled, whole) < 0.2
    posterior = vae.encode_tiled(whole, tile=16, overlap=8)
    assert relative_error(posterior.mean, vae.encode(whole).mean) < 0.2


class Local(VAE):
    """An autoencoder whose pixels do not see each other, so that tiles must agree with the whole."""

    def __init__(self, vae: VAE) -> None:
        super().__init__(vae.config)

    def moments(self, x: Tensor) -> Tensor:
        means = torch.nn.functional.avg_pool2d(x, self.config.downscale)
        return torch.cat([means, means, means], dim=1)[:, :8]

    def decode(self, z: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(z[:, :3], scale_factor=float(self.config.downscale))
