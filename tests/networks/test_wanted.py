"""The tags of a prompt as networks of a model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.networks.files import delta, lora, write
from tests.nn.weights import draw, relative_error
from webui.checkpoints.load import LoadedModel
from webui.networks.apply import applied
from webui.networks.tags import Catalogues
from webui.networks.wanted import WantedNetworks, wanted_networks
from webui.prompt.schedule import Clock
from webui.prompt.tags import split_tags
from webui.schema.errors import AtelierError, BadRequest, NotFound

Tiny = Callable[[str], LoadedModel]
OURS = "input_blocks.3.1.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
CLOCK = Clock(10)


@pytest.fixture
def model(tiny: Tiny) -> LoadedModel:
    return tiny("sd1")


@pytest.fixture
def folder(tmp_path: Path, model: LoadedModel) -> Path:
    weight = model.unet.get_parameter(f"{OURS}.weight")
    for seed, name in enumerate(("ink", "knight")):
        write(tmp_path / "Lora" / f"{name}.safetensors", lora(KOHYA, weight, 3 * seed))
    return tmp_path


def wanted(prompt: str, folder: Path, model: LoadedModel) -> WantedNetworks:
    return wanted_networks(split_tags(prompt)[1], Catalogues.of(folder), model)


def test_each_tag_is_a_use_in_its_order(folder: Path, model: LoadedModel) -> None:
    found = wanted("a <lora:knight:0.5:2> b <lyco:Ink> <lora:knight:1>", folder, model)
    uses = found.uses(0, CLOCK)
    assert [(use.network.name, use.te, use.unet) for use in uses] == [
        ("knight", 0.5, 2), ("Ink", 1, 1), ("knight", 1, 1)
    ]  # fmt: skip
    assert uses[0].network is uses[2].network
    assert not found.changes
    assert found.said[0] == "knight: LoRA, 3 of 3 keys matched."


def test_strengths_follow_the_steps_in_the_unet_alone(folder: Path, model: LoadedModel) -> None:
    found = wanted("<lora:ink:0@0,1@10>", folder, model)
    before = model.unet.get_parameter(f"{OURS}.weight").data.clone()
    added = delta(load_file(folder / "Lora" / "ink.safetensors"), KOHYA)
    assert found.changes
    with applied(model, found.uses(0, CLOCK)) as networks:
        for step in range(10):
            networks.set(found.uses(step, CLOCK))
            assert relative_error(model.unet.get_parameter(f"{OURS}.weight"), before + step / 10 * added) < 1e-6
            assert found.uses(step, CLOCK)[0].te == 0
    assert torch.equal(model.unet.get_parameter(f"{OURS}.weight"), before)


def test_the_text_encoders_keep_the_first_passs_strength_in_the_hires_pass(folder: Path, model: LoadedModel) -> None:
    found = wanted("<lora:ink:0.25@0,1@10>", folder, model)
    (use,) = found.uses(3, Clock(5, before=10, part=1), first=CLOCK)
    assert (use.te, use.unet) == (0.25, 1)


@pytest.mark.parametrize(
    ("prompt", "kind", "said"),
    [
        ("<foo:ink:1>", BadRequest, "Tags of the kind of <foo:ink:1> are not known here"),
        ("<lora:nothing>", NotFound, 'There is no network "nothing"'),
        ("<lora:ink:x>", BadRequest, '"x" is no weight'),
        ("<lora::1>", BadRequest, "names no network"),
    ],
)
def test_a_tag_that_means_nothing_is_refused(
    prompt: str, kind: type[AtelierError], said: str, folder: Path, model: LoadedModel
) -> None:
    with pytest.raises(kind, match=said) as raised:
        wanted(prompt, folder, model)
    assert raised.value.cure


@torch.no_grad()
def test_a_hypernetwork_is_a_tap_of_what_keys_and_values_are_made_of(folder: Path, model: LoadedModel) -> None:
    layer = f"{OURS.rpartition('.')[0]}.to_k"
    width = model.unet.get_parameter(f"{layer}.weight").shape[1]
    matrix = draw(width, width)
    write(folder / "hypernetworks" / "h.safetensors", {f"{width}.k.linear.0.weight": matrix})
    found = wanted("<hypernet:h:0.5@0,1@10> <lora:ink>", folder, model)
    x = draw(1, 3, width, seed=4)
    for step in (0, 5):
        taps = found.taps(step, CLOCK, model.unet)
        assert relative_error(taps[layer](x), (0.5 + step / 20) * x @ matrix.T) < 1e-5
    assert not found.changes  # no weights do
    assert len(found.uses(0, CLOCK)) == 1


def test_no_tags_want_nothing(folder: Path, model: LoadedModel) -> None:
    assert wanted("a red ball", folder, model) == WantedNetworks()
