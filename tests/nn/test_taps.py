import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.nn.test_unet import SMALL, given
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.taps import Attend, KeysValues, Taps
from webui.nn.unet import UNet

LAYER = "input_blocks.3.1"
SELF = f"{LAYER}.transformer_blocks.0.attn1"
CROSS = f"{LAYER}.transformer_blocks.0.attn2"


@pytest.fixture(scope="module")
def unet() -> UNet:
    network = UNet(SMALL)
    randomise(network)
    return network


def answer(unet: UNet, taps: Taps | None = None) -> Tensor:
    with torch.no_grad():
        return unet(*given(), taps=taps)


def ip_keys_values(weight: float | Tensor) -> KeysValues:
    return KeysValues(draw(2, 4, 32, seed=5), draw(2, 4, 32, seed=6), weight)


def test_names_are_those_of_the_checkpoint(unet: UNet) -> None:
    assert LAYER in unet.tap_names.layers
    assert [name for name in unet.tap_names.attentions if name.startswith(LAYER)] == [SELF, CROSS]
    modules = dict(unet.named_modules())
    for name in [*unet.tap_names.layers, *unet.tap_names.attentions, *unet.tap_names.inputs]:
        assert name in modules


@pytest.mark.parametrize(
    "taps",
    [
        Taps(blocks={"input_blocks.99.0": lambda h: h}),
        Taps(inputs={CROSS: lambda x: x}),
        Taps(keys_values={LAYER: [ip_keys_values(1.0)]}),
        Taps(attentions={"to_q": lambda attend, x, context: attend(x, context)}),
    ],
)
def test_a_tap_on_a_layer_that_does_not_exist_is_refused(unet: UNet, taps: Taps) -> None:
    with pytest.raises(ValueError, match=r"has no '.+' to tap"):
        answer(unet, taps)


def test_taps_that_change_nothing_give_the_plain_answer_bit_for_bit(unet: UNet) -> None:
    idle = Taps(
        blocks={name: lambda h: h for name in unet.tap_names.layers},
        inputs=dict.fromkeys(unet.tap_names.inputs, torch.zeros_like),
        keys_values={CROSS: [ip_keys_values(0.0)]},
        attentions={name: lambda attend, x, context: attend(x, context) for name in unet.tap_names.attentions},
    )
    assert torch.equal(answer(unet, idle), answer(unet))
    assert torch.equal(answer(unet, Taps()), answer(unet))


def test_every_tap_is_called_once_a_pass(unet: UNet) -> None:
    called: list[str] = []

    def block(name: str, h: Tensor) -> Tensor:
        called.append(name)
        return h

    def silent(name: str, x: Tensor) -> Tensor:
        called.append(name)
        return torch.zeros_like(x)

    names = unet.tap_names
    taps = Taps(
        blocks={name: lambda h, name=name: block(name, h) for name in names.layers},
        inputs={name: lambda x, name=name: silent(name, x) for name in names.inputs},
    )
    answer(unet, taps)
    assert sorted(called) == sorted([*names.layers, *names.inputs])


def test_a_block_tap_stands_in_the_place_of_the_output(unet: UNet) -> None:
    kept: list[Tensor] = []
    answer(unet, Taps(blocks={LAYER: lambda h: kept.append(h) or h}))
    assert kept[0].shape == (2, 32, 4, 3)
    changed = answer(unet, Taps(blocks={LAYER: lambda h: h * 2}))
    again = answer(unet, Taps(blocks={LAYER: lambda _: kept[0] * 2}))
    assert torch.equal(changed, again)
    assert relative_error(changed, answer(unet)) > 0.01


def test_further_keys_and_values_are_a_second_attention_added_to_the_first(unet: UNet) -> None:
    attention = unet.get_submodule(CROSS)
    x, context = draw(2, 12, 32, seed=3), draw(2, 5, 8, seed=4)
    extra = ip_keys_values(0.7)

    def heads(tokens: Tensor) -> Tensor:
        return torch.stack(tokens.chunk(2, dim=-1), dim=1)  # (b heads n d)

    with torch.no_grad():
        q, k, v = heads(attention.to_q(x)), heads(attention.to_k(context)), heads(attention.to_v(context))
        first = (q @ k.mT / 4).softmax(-1) @ v
        second = (q @ heads(extra.keys).mT / 4).softmax(-1) @ heads(extra.values)
        mixed = first + 0.7 * second
        expected = attention.to_out[0](torch.cat(mixed.unbind(1), dim=-1))
        assert relative_error(attention(x, context, Taps(keys_values={CROSS: [extra]})), expected) < 1e-6


def test_further_keys_and_values_add_up(unet: UNet) -> None:
    half, whole = ip_keys_values(0.5), ip_keys_values(1.0)
    two = answer(unet, Taps(keys_values={CROSS: [half, half]}))
    one = answer(unet, Taps(keys_values={CROSS: [whole]}))
    assert relative_error(two, one) < 1e-6
    assert relative_error(one, answer(unet)) > 0.01


def test_a_weight_may_differ_by_token(unet: UNet) -> None:
    everywhere, nowhere = torch.ones(1, 12, 1), torch.zeros(1, 12, 1)
    plain, full = answer(unet), answer(unet, Taps(keys_values={CROSS: [ip_keys_values(1.0)]}))
    assert torch.equal(answer(unet, Taps(keys_values={CROSS: [ip_keys_values(everywhere)]})), full)
    assert torch.equal(answer(unet, Taps(keys_values={CROSS: [ip_keys_values(nowhere)]})), plain)
    region = torch.cat([everywhere[:, :6], nowhere[:, 6:]], dim=1)
    partly = answer(unet, Taps(keys_values={CROSS: [ip_keys_values(region)]}))
    assert relative_error(partly, full) > 1e-3
    assert relative_error(partly, plain) > 1e-3


def test_a_replaced_attention_may_attend_to_more(unet: UNet) -> None:
    def with_reference(attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        return attend(x, torch.cat([context, context.flip(0)], dim=1))

    assert relative_error(answer(unet, Taps(attentions={SELF: with_reference})), answer(unet)) > 1e-3


def test_a_replaced_attention_keeps_the_other_taps(unet: UNet) -> None:
    extra = {CROSS: [ip_keys_values(1.0)]}
    through = Taps(keys_values=extra, attentions={CROSS: lambda attend, x, context: attend(x, context)})
    assert torch.equal(answer(unet, through), answer(unet, Taps(keys_values=extra)))


def test_an_input_tap_is_added_to_what_the_projection_reads(unet: UNet) -> None:
    attention = unet.get_submodule(CROSS)
    x, context, delta = draw(2, 12, 32, seed=3), draw(2, 5, 8, seed=4), draw(2, 5, 8, seed=8)
    with torch.no_grad():
        both = attention(x, context + delta)
        taps = Taps(inputs={f"{CROSS}.to_k": lambda _: delta, f"{CROSS}.to_v": lambda _: delta})
        assert torch.equal(attention(x, context, taps), both)
        out = F.linear(delta[:, :1], torch.zeros(32, 8))
        assert torch.equal(
            attention(x, context, Taps(inputs={f"{CROSS}.to_out.0": lambda _: out})), attention(x, context)
        )


def test_nothing_of_a_tapped_pass_stays_in_the_modules(unet: UNet) -> None:
    def state() -> dict[str, list[str]]:
        return {name: sorted(vars(module)) for name, module in unet.named_modules()}

    plain, before = answer(unet), state()
    answer(unet, Taps(blocks={LAYER: lambda h: h * 2}, keys_values={CROSS: [ip_keys_values(1.0)]}))
    assert state() == before
    assert torch.equal(answer(unet), plain)


def test_what_further_keys_and_values_add_is_shown_beside_what_they_are_added_to(unet: UNet) -> None:
    shown: list[tuple[Tensor, Tensor]] = []
    extra = KeysValues(draw(2, 4, 32, seed=5), draw(2, 4, 32, seed=6), 0.5, lambda *both: shown.append(both))
    with_watch = answer(unet, Taps(keys_values={CROSS: [extra]}))
    assert torch.equal(with_watch, answer(unet, Taps(keys_values={CROSS: [ip_keys_values(0.5)]})))
    ((added, state),) = shown
    inputs: list[Tensor] = []

    def through(x: Tensor) -> Tensor:
        inputs.append(x)
        return x * 0

    answer(unet, Taps(keys_values={CROSS: [ip_keys_values(0.5)]}, inputs={f"{CROSS}.to_out.0": through}))
    assert added.shape == state.shape
    assert torch.equal(added + state, inputs[0])
    assert float(added.norm()) > 0
