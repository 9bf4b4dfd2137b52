from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.nn.small import SD1_UNET, SDXL_UNET, UNETS
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.blocks import timestep_embedding
from webui.nn.config import SD15, SDXL, UNetConfig
from webui.nn.unet import Controls, UNet

SMALL = UNetConfig(
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    transformer_depth=(0, 1),
    context_dim=8,
    num_heads=2,
    norm_groups=4,
)
SD15_SHAPES = {
    "time_embed.0.weight": (1280, 320),
    "input_blocks.0.0.weight": (320, 4, 3, 3),
    "input_blocks.1.0.in_layers.0.weight": (320,),
    "input_blocks.1.0.emb_layers.1.weight": (320, 1280),
    "input_blocks.1.1.proj_in.weight": (320, 320, 1, 1),
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0.bias": (320,),
    "input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
    "input_blocks.1.1.transformer_blocks.0.ff.net.2.weight": (320, 1280),
    "input_blocks.3.0.op.weight": (320, 320, 3, 3),
    "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
    "input_blocks.11.0.out_layers.3.weight": (1280, 1280, 3, 3),
    "middle_block.1.norm.weight": (1280,),
    "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
    "output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
    "output_blocks.11.0.in_layers.2.weight": (320, 640, 3, 3),
    "out.2.weight": (4, 320, 3, 3),
}
SDXL_SHAPES = {
    "label_emb.0.0.weight": (1280, 2816),
    "input_blocks.4.1.proj_in.weight": (640, 640),
    "middle_block.1.transformer_blocks.9.attn2.to_v.weight": (1280, 2048),
    "output_blocks.5.2.conv.weight": (640, 640, 3, 3),
    "output_blocks.8.0.skip_connection.weight": (320, 640, 1, 1),
}


@pytest.fixture(scope="module")
def unet() -> UNet:
    network = UNet(SMALL)
    randomise(network)
    return network


def given(config: UNetConfig = SMALL, b: int = 2, size: tuple[int, int] = (8, 6)) -> tuple[torch.Tensor, ...]:
    return draw(b, 4, *size), torch.linspace(1, 999, b), draw(b, 5, config.context_dim, seed=2)


@pytest.mark.parametrize(("config", "shapes"), [(SD15.unet, SD15_SHAPES), (SDXL.unet, SDXL_SHAPES)])
def test_layers_carry_the_names_and_shapes_of_the_checkpoint(
    config: UNetConfig, shapes: dict[str, tuple[int, ...]]
) -> None:
    with torch.device("meta"):
        weights = UNet(config).state_dict()
    assert {name: tuple(weights[name].shape) for name in shapes} == shapes


def test_a_unet_built_on_the_meta_device_takes_no_memory() -> None:
    with torch.device("meta"):
        network = UNet(SDXL.unet)
    assert all(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])


def test_weights_assigned_to_a_meta_unet_are_all_it_needs(unet: UNet, tmp_path: Path) -> None:
    save_file(unet.state_dict(), tmp_path / "unet.safetensors")
    with torch.device("meta"):
        again = UNet(SMALL).eval()
    again.load_state_dict(load_file(tmp_path / "unet.safetensors"), assign=True)
    assert torch.equal(again(*given()), unet(*given()))


def test_an_untrained_unet_answers_zero() -> None:
    assert torch.equal(UNet(SMALL)(*given()), torch.zeros(2, 4, 8, 6))


@pytest.mark.parametrize("config", UNETS.values(), ids=UNETS)
@torch.no_grad()
def test_zero_controls_give_the_plain_answer_bit_for_bit(config: UNetConfig) -> None:
    network = UNet(config)
    randomise(network)
    y = None if config.adm_channels is None else draw(2, config.adm_channels, seed=3)
    blocks = len(network.input_blocks)
    zeros = Controls(
        skips=[torch.zeros(1, 1, 1, 1)] * blocks,
        middle=torch.zeros(1, 1, 1, 1),
        hidden={i: torch.zeros(1, 1, 1, 1) for i in range(blocks)},
    )
    plain = network(*given(config, size=(16, 16)), y)
    assert plain.std() > 0
    for controls in (zeros, Controls(), Controls(skips=[None] * blocks)):
        assert torch.equal(network(*given(config, size=(16, 16)), y, controls), plain)


@torch.no_grad()
def test_each_control_residual_changes_the_answer(unet: UNet) -> None:
    plain = unet(*given())
    one = torch.ones(1, 1, 1, 1)
    blocks = len(unet.input_blocks)
    alone = [[one if i == j else None for j in range(blocks)] for i in range(blocks)]
    controls = [
        *(Controls(skips=skips) for skips in alone),
        *(Controls(hidden={i: one}) for i in range(blocks)),
        Controls(middle=one),
    ]
    answers = [unet(*given(), controls=each) for each in controls]
    assert all(relative_error(answer, plain) > 1e-4 for answer in answers)


@torch.no_grad()
def test_a_residual_of_another_size_is_resized_by_nearest_neighbour(unet: UNet) -> None:
    coarse = draw(2, 32, 2, 3, seed=7)
    fine = coarse.repeat_interleave(2, dim=-2)
    assert torch.equal(unet(*given(), controls=Controls(middle=coarse)), unet(*given(), controls=Controls(middle=fine)))


def test_a_missing_skip_residual_is_refused(unet: UNet) -> None:
    with pytest.raises(ValueError, match="shorter"):
        unet(*given(), controls=Controls(skips=[None]))


@pytest.mark.parametrize(("config", "y"), [(SD1_UNET, torch.zeros(2, 40)), (SDXL_UNET, None)], ids=["given", "missing"])
def test_a_vector_condition_must_fit_the_model(config: UNetConfig, y: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"y is (given|missing)"):
        UNet(config)(*given(config), y)


@torch.no_grad()
def test_a_class_is_told_to_the_model(unet: UNet) -> None:
    config = replace(SD1_UNET, num_classes=10)
    classed = UNet(config).eval()
    randomise(classed)
    same = (one[:1].expand_as(one) for one in given(config))
    first, second = classed(*same, torch.tensor([3, 7]))
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="y is missing"):
        classed(*given(config))


@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other(unet: UNet) -> None:
    x, timesteps, context = given(b=3)
    together = unet.double()(x.double(), timesteps, context.double())
    alone = [unet(x[i : i + 1].double(), timesteps[i : i + 1], context[i : i + 1].double()) for i in range(3)]
    unet.float()
    assert relative_error(torch.cat(alone), together) < 1e-12


@torch.no_grad()
def test_the_memory_format_does_not_change_the_answer(unet: UNet) -> None:
    x, timesteps, context = given()
    last = unet(x.contiguous(memory_format=torch.channels_last), timesteps, context)
    assert relative_error(last, unet(x, timesteps, context)) < 1e-5


def test_it_trains_in_bfloat16() -> None:
    network = UNet(SMALL).to(memory_format=torch.channels_last)
    randomise(network)
    with torch.autocast("cpu", torch.bfloat16):
        answer = network(*given())
    answer.float().square().mean().backward()
    assert answer.dtype == torch.bfloat16
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_weights_give_about_the_same_answer(dtype: torch.dtype) -> None:
    network = UNet(SMALL)
    randomise(network)
    x, timesteps, context = given()
    exact = network(x, timesteps, context)
    half = network.to(dtype)(x.to(dtype), timesteps, context.to(dtype))
    assert half.dtype == dtype
    assert relative_error(half, exact) < 0.05


@torch.no_grad()
def test_it_compiles_without_a_break_with_controls(unet: UNet) -> None:
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    controls = Controls(middle=draw(2, 32, 4, 3, seed=9))
    assert torch.equal(compiled(*given()), unet(*given()))
    assert torch.equal(compiled(*given(), controls=controls), unet(*given(), controls=controls))


def test_blocks_may_differ_in_number_by_level() -> None:
    network = UNet(replace(SMALL, num_res_blocks=(1, 3)))
    assert len(network.input_blocks) == 1 + 1 + 1 + 3
    assert len(network.output_blocks) == 2 + 4
    assert network(*given()).shape == (2, 4, 8, 6)


def test_the_middle_may_go_without_attention() -> None:
    network = UNet(replace(SMALL, transformer_depth_middle=0))
    assert len(network.middle_block) == 2
    assert network(*given()).shape == (2, 4, 8, 6)


def test_timestep_embedding_is_the_formula() -> None:
    embedding = timestep_embedding(torch.tensor([0.0, 2.5]), 4, torch.float64)
    expected = torch.tensor([[0.0, 0.0], [2.5, 2.5 / 100]], dtype=torch.float64)
    assert torch.allclose(embedding, torch.cat([expected.cos(), expected.sin()], dim=1), rtol=0, atol=1e-15)


def test_half_precision_does_not_round_the_timestep() -> None:
    half = timestep_embedding(torch.tensor([998.5, 999.0]), 320, torch.bfloat16)
    full = timestep_embedding(torch.tensor([998.5, 999.0]), 320, torch.float32)
    assert torch.equal(half, full.to(torch.bfloat16))
    assert not torch.equal(half[0], half[1])


def test_an_odd_width_is_padded_with_a_zero() -> None:
    assert timestep_embedding(torch.tensor([7.0]), 5, torch.float32)[0, 4] == 0
