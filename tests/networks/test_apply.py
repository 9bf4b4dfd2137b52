"""Networks on a model: what they change, and that nothing of it stays."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.networks.files import delta, lora, write
from tests.nn.weights import draw, relative_error
from webui.checkpoints.load import LoadedModel
from webui.ext.guard import ModelPrint
from webui.networks.apply import AppliedNetworks, applied
from webui.networks.effects import Effect, check_effects
from webui.networks.kept import KeptWeights
from webui.networks.load import Network, model_parts, open_network
from webui.networks.steps import Step, Use, work_out
from webui.nn.storage import FLOAT8, store_unet
from webui.schema.errors import ModelError

Tiny = Callable[[str], LoadedModel]
OURS = "input_blocks.3.1.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_mid_block_resnets_0_conv1"
OUR_CONV = "middle_block.0.in_layers.2"
TEXT = "text_model.encoder.layers.1.mlp.fc1"
KOHYA_TEXT = f"lora_te_{TEXT.replace('.', '_')}"


def weight(model: LoadedModel, part: str, layer: str, name: str = "weight") -> Tensor:
    return model_parts(model)[part].get_parameter(f"{layer}.{name}").data


def network(folder: Path, model: LoadedModel, tensors: Mapping[str, Tensor], name: str = "a") -> Network:
    return open_network(write(folder / f"{name}.safetensors", tensors), name, model)


def loras(model: LoadedModel, seed: int = 1) -> dict[str, Tensor]:
    return (
        lora(KOHYA, weight(model, "unet", OURS), seed)
        | lora(CONV, weight(model, "unet", OUR_CONV), seed + 2)
        | lora(KOHYA_TEXT, weight(model, "text0", TEXT), seed + 4)
    )


def copies(model: LoadedModel) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in model_parts(model).items()
        for name, tensor in module.state_dict().items()
    }


def bits(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def test_each_part_changes_by_its_own_strength(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before, tensors = copies(model), loras(model)
    with applied(model, [Use(network(tmp_path, model, tensors), te=0.5, unet=-1.5)]) as networks:
        for part, layer, name, strength in (
            ("unet", OURS, KOHYA, -1.5), ("unet", OUR_CONV, CONV, -1.5), ("text0", TEXT, KOHYA_TEXT, 0.5),
        ):  # fmt: skip
            expected = before[f"{part}.{layer}.weight"] + strength * delta(tensors, name)
            assert relative_error(weight(model, part, layer), expected) < 1e-6
        assert networks.effects == (Effect("a", 3, 3),)


def test_nothing_else_changes(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before = bits(copies(model))
    with applied(model, [Use(network(tmp_path, model, loras(model)))]):
        now = bits(copies(model))
    changed = {name for name in before if now[name] != before[name]}
    assert changed == {f"unet.{OURS}.weight", f"unet.{OUR_CONV}.weight", f"text0.{TEXT}.weight"}


def test_afterwards_every_byte_is_what_it_was(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before, one = bits(copies(model)), network(tmp_path, model, loras(model))
    places = {name: tensor.data_ptr() for name, tensor in model.unet.state_dict().items()}
    with applied(model, [Use(one)]) as networks:
        changed = bits(copies(model))
        moved = {name for name, tensor in model.unet.state_dict().items() if tensor.data_ptr() != places[name]}
        assert moved == {f"{OURS}.weight", f"{OUR_CONV}.weight"}
        networks.set([Use(one, 0.2, 0.3)])
        assert bits(copies(model)) not in (before, changed)
        networks.set([Use(one)])
        assert bits(copies(model)) == changed != before
    assert bits(copies(model)) == before
    assert {name: tensor.data_ptr() for name, tensor in model.unet.state_dict().items()} == places


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_weights_are_rounded_once_and_come_back(tmp_path: Path, tiny: Tiny, dtype: torch.dtype) -> None:
    model = tiny("sd1")
    for module in model_parts(model).values():
        module.to(dtype)
    before, tensors = copies(model), loras(model)
    uses = [Use(network(tmp_path, model, tensors, f"n{i}"), 0.3, 0.3) for i in range(3)]
    with applied(model, uses):
        exact = before[f"unet.{OURS}.weight"].float()
        for _use in uses:
            exact = exact + 0.3 * delta(tensors, KOHYA)
        assert torch.equal(weight(model, "unet", OURS).float(), exact.to(dtype).float())
    assert bits(copies(model)) == bits(before)


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_weights_in_8_bits_are_summed_in_float32_rounded_by_chance_and_come_back(
    tmp_path: Path, tiny: Tiny, dtype: torch.dtype
) -> None:
    model = tiny("sd1")
    store_unet(model.unet, dtype)
    before, tensors = copies(model), loras(model)
    tensors[f"{KOHYA}.lora_up.weight"] *= 0.05
    uses = [Use(network(tmp_path, model, tensors, f"n{i}"), 0.3, 0.3) for i in range(3)]
    exact = before[f"unet.{OURS}.weight"].float() + 0.9 * delta(tensors, KOHYA)
    networks = AppliedNetworks(model, KeptWeights())
    found = []
    for _ in range(2):
        networks.set(uses)
        got = weight(model, "unet", OURS)
        assert got.dtype == dtype
        found.append(bits({"it": got}))
        assert relative_error(got.float(), exact) < 0.15
        assert abs(float((got.float() - exact).mean())) < 0.1 * float((got.float() - exact).std())
        networks.restore()
        assert bits(copies(model)) == bits(before)
    assert found[0] == found[1] != bits({"it": before[f"unet.{OURS}.weight"]})


def test_networks_are_summed_in_their_order(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before = weight(model, "unet", OURS).clone()
    one, turn = lora(KOHYA, before, 1), {f"{KOHYA}.oft_blocks": 0.3 * draw(4, 8, 8)}
    eye, q = torch.eye(8), turn[f"{KOHYA}.oft_blocks"] - turn[f"{KOHYA}.oft_blocks"].transpose(1, 2)
    rotation = torch.block_diag(*((eye + q) @ torch.linalg.inv(eye - q)))
    uses = [Use(network(tmp_path, model, one, "one")), Use(network(tmp_path, model, turn, "turn"))]
    with applied(model, uses):
        assert relative_error(weight(model, "unet", OURS), rotation.T @ (before + delta(one, KOHYA))) < 1e-5
    with applied(model, uses[::-1]):
        assert relative_error(weight(model, "unet", OURS), rotation.T @ before + delta(one, KOHYA)) < 1e-5


def test_the_same_network_twice_counts_twice(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before, tensors = weight(model, "unet", OURS).clone(), loras(model)
    use = Use(network(tmp_path, model, tensors))
    with applied(model, [use, use]):
        assert relative_error(weight(model, "unet", OURS), before + 2 * delta(tensors, KOHYA)) < 1e-6


def test_strengths_change_without_a_trace_of_those_before(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before, loaded = bits(copies(model)), network(tmp_path, model, loras(model))
    other = network(tmp_path, model, lora(KOHYA, weight(model, "unet", OURS), 9), "b")
    with applied(model, [Use(loaded, 1, 0.8)]):
        straight = bits(copies(model))
    with applied(model, [Use(loaded, 1, 0.3), Use(other)]) as networks:
        text = weight(model, "text0", TEXT)
        networks.set([Use(loaded, 1, 0.8)])
        assert bits(copies(model)) == straight
        assert weight(model, "text0", TEXT).data_ptr() == text.data_ptr()  # not worked out again
        assert networks.effects == (Effect("a", 3, 3),)
        networks.set([])
        assert bits(copies(model)) == before
        networks.set([Use(loaded, 0, 0)])
        assert bits(copies(model)) == before
        assert networks.effects == (Effect("a", 0, 0),)


def test_networks_that_stood_before_come_back_without_being_worked_out(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("sd1")
    before, one = bits(copies(model)), network(tmp_path, model, loras(model))
    other = network(tmp_path, model, lora(KOHYA, weight(model, "unet", OURS), 9), "b")
    networks = AppliedNetworks(model, kept=KeptWeights())
    worked_out: list[Step] = []

    def counted(step: Step, now: dict[str, Tensor]) -> bool:
        worked_out.append(step)
        return work_out(step, now)

    monkeypatch.setattr("webui.networks.apply.work_out", counted)
    seen, effects = [], []
    for uses in ([Use(one)], [Use(other)], [Use(one, 0, 1)], [], [Use(one)], [Use(other)], []):
        networks.set(uses)
        seen.append(bits(copies(model)))
        effects.append(networks.effects)
        if uses == [Use(one, 0, 1)]:
            networks.restore()
            assert bits(copies(model)) == before
    assert len(worked_out) == 3 + 1
    assert seen[4:] == [seen[0], seen[1], before]
    assert effects[4:] == [effects[0], effects[1], ()]
    assert seen[2] != seen[0] != seen[1]
    assert seen[3] == before


def test_kept_weights_of_a_model_that_was_cast_since_are_worked_out_anew(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    one, networks = network(tmp_path, model, loras(model)), AppliedNetworks(model, kept=KeptWeights())
    networks.set([Use(one)])
    networks.restore()
    for module in model_parts(model).values():
        module.to(torch.bfloat16)
    networks.set([Use(one)])
    assert weight(model, "unet", OURS).dtype == torch.bfloat16
    assert networks.effects == (Effect("a", 3, 3),)


def test_a_file_of_whole_differences_is_not_changed_by_its_use(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    conv, bias = weight(model, "unet", OUR_CONV), weight(model, "unet", OUR_CONV, "bias")
    tensors = {f"{CONV}.diff": torch.ones_like(conv), f"{CONV}.diff_b": torch.ones_like(bias)}
    one = network(tmp_path, model, tensors)
    for strength in (0.5, 1.0, 0.5):
        with applied(model, [Use(one, unet=strength)]):
            assert torch.equal(weight(model, "unet", OUR_CONV), conv + strength)
            assert torch.equal(weight(model, "unet", OUR_CONV, "bias"), bias + strength)


def test_a_bias_that_is_no_longer_changed_comes_back(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before = weight(model, "unet", OUR_CONV, "bias").clone()
    with_bias = {f"{CONV}.diff": torch.ones_like(weight(model, "unet", OUR_CONV)), f"{CONV}.diff_b": draw(len(before))}
    one, two = network(tmp_path, model, with_bias, "one"), network(tmp_path, model, loras(model), "two")
    with applied(model, [Use(one)]) as networks:
        assert relative_error(weight(model, "unet", OUR_CONV, "bias"), before + with_bias[f"{CONV}.diff_b"]) < 1e-6
        networks.set([Use(two)])
        assert torch.equal(weight(model, "unet", OUR_CONV, "bias"), before)


def test_openclips_joined_layer_changes_query_key_and_value(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sdxl")
    layer = "text_model.encoder.layers.0.self_attn"
    before = [weight(model, "text1", f"{layer}.{one}_proj").clone() for one in "qkv"]
    joined = lora("lora_te2_transformer_resblocks_0_attn_in_proj", torch.cat(before), 1)
    alone = lora(f"lora_te2_{layer}.k_proj".replace(".", "_"), before[1], 5)
    uses = [Use(network(tmp_path, model, alone, "alone")), Use(network(tmp_path, model, joined, "joined"))]
    with applied(model, uses):
        parts = delta(joined, "lora_te2_transformer_resblocks_0_attn_in_proj").chunk(3)
        for one, was, added in zip("qkv", before, parts, strict=True):
            expected = was + added
            if one == "k":
                expected = expected + delta(alone, f"lora_te2_{layer}.k_proj".replace(".", "_"))
            assert relative_error(weight(model, "text1", f"{layer}.{one}_proj"), expected) < 1e-6
    assert all(
        torch.equal(weight(model, "text1", f"{layer}.{one}_proj"), was) for one, was in zip("qkv", before, strict=True)
    )


def test_a_layer_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before = bits(copies(model))
    tensors = loras(model) | lora(CONV, torch.ones(7, 7, 3, 3), 1)
    with pytest.raises(ModelError, match=CONV), applied(model, [Use(network(tmp_path, model, tensors))]):
        pass
    assert bits(copies(model)) == before


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    tensors = loras(model)
    tensors[f"{KOHYA}.lora_up.weight"][0, 0] = torch.nan
    with pytest.raises(ModelError, match="NaN"), applied(model, [Use(network(tmp_path, model, tensors))]):
        pass


def test_a_network_of_zeros_changes_nothing_and_tells_it(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    tensors = {name: torch.zeros_like(tensor) for name, tensor in loras(model).items()}
    uses = [Use(network(tmp_path, model, tensors))]
    with applied(model, uses) as networks:
        assert networks.effects == (Effect("a", 3, 0),)
        with pytest.raises(ModelError, match="its weights are zeros"):
            check_effects(uses, networks.effects)


def test_a_network_at_0_where_its_layers_are_is_an_error(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    in_unet = network(tmp_path, model, lora(KOHYA, weight(model, "unet", OURS), 1))
    uses = [Use(in_unet, te=1, unet=0)]
    with applied(model, uses) as networks, pytest.raises(ModelError, match="layers of the U-Net alone"):
        check_effects(uses, networks.effects)


@pytest.mark.parametrize(("te", "unet"), [(0, 0), (0, 1), (1, 1)])
def test_a_network_that_acts_or_is_not_wanted_passes(tmp_path: Path, tiny: Tiny, te: float, unet: float) -> None:
    model = tiny("sd1")
    uses = [Use(network(tmp_path, model, lora(KOHYA, weight(model, "unet", OURS), 1)), te, unet)]
    with applied(model, uses) as networks:
        check_effects(uses, networks.effects)


def test_an_error_within_leaves_nothing(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    before = bits(copies(model))
    with pytest.raises(RuntimeError, match="within"), applied(model, [Use(network(tmp_path, model, loras(model)))]):
        raise RuntimeError("within")
    assert bits(copies(model)) == before


def test_the_leak_guard_sees_the_change_while_it_lasts_and_nothing_after(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    modules = model_parts(model)
    before = ModelPrint.of(modules)
    with torch.inference_mode():
        with applied(model, [Use(network(tmp_path, model, loras(model)))]) as networks:
            assert len(before.changes(modules)) == 3
            assert before.changes(modules, frozenset({"unet", "text0"})) == []
            within = ModelPrint.of(modules)
            assert within.changes(modules) == []
            networks.set([])
        assert before.changes(modules) == []
    assert before.changes(modules) == []


def test_models_loaded_in_inference_mode_change_as_well(tmp_path: Path, tiny: Tiny) -> None:
    with torch.inference_mode():
        model = tiny("sd1")
        for module in model_parts(model).values():
            module.to(torch.float64).to(torch.float32)
    before, tensors = copies(model), loras(model)
    with applied(model, [Use(network(tmp_path, model, tensors))]):
        expected = before[f"unet.{OURS}.weight"] + delta(tensors, KOHYA)
        assert relative_error(weight(model, "unet", OURS), expected) < 1e-6
    assert bits(copies(model)) == bits(before)


def test_channels_stay_last(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    model.unet.to(memory_format=torch.channels_last)
    strides = weight(model, "unet", OUR_CONV).stride()
    with applied(model, [Use(network(tmp_path, model, loras(model)))]):
        assert weight(model, "unet", OUR_CONV).stride() == strides


@pytest.mark.gpu
@pytest.mark.parametrize("moved", [False, True], ids=["stays", "moves while it lasts"])
def test_on_a_gpu_every_byte_comes_back_as_well(tmp_path: Path, tiny: Tiny, moved: bool) -> None:
    model, there = tiny("sd1"), tiny("sd1")
    before, tensors = bits(copies(model)), loras(model)
    for module in model_parts(there).values():
        module.to("cuda")
    with applied(there, [Use(network(tmp_path, there, tensors))]):
        expected = weight(model, "unet", OURS) + delta(tensors, KOHYA)
        assert relative_error(weight(there, "unet", OURS).cpu(), expected) < 1e-5
        if moved:
            there.unet.to("cpu")
    assert weight(there, "unet", OURS).is_cuda is not moved
    assert bits({name: tensor.cpu() for name, tensor in copies(there).items()}) == before
