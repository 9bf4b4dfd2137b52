"""Files -> modules: every weight arrives, and what cannot be used is refused in words."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support import random_weights, tiny_config, tiny_tensors, write_tiny_checkpoint
from webui.checkpoints.load import load_checkpoint
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE
from webui.schema.errors import ModelError


def rewrite(source, target, change):
    """A copy of a checkpoint whose tensors went through `change`."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(source)
    change(tensors)
    save_file(tensors, target, metadata)
    return target


def error_of(path):
    with pytest.raises(ModelError) as caught:
        load_checkpoint(path)
    assert caught.value.cure
    return caught.value.message


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_weight_of_a_family_arrives_where_it_belongs(tiny_files, family):
    model = load_checkpoint(tiny_files[family])
    config = model.config
    modules = [(model.unet, UNet(config.unet)), (model.vae, VAE(config.vae))]
    modules += [(text, build_text(text.config)) for text in model.texts]
    for index, (loaded, fresh) in enumerate(modules):
        expected = random_weights(fresh, index)
        state = loaded.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_loaded_modules_answer_as_those_that_were_saved(tiny_files, family):
    model = load_checkpoint(tiny_files[family])
    generator = torch.Generator().manual_seed(0)
    for index, text in enumerate(model.texts):
        twin = build_text(text.config).eval()
        twin.load_state_dict(random_weights(twin, 2 + index))
        ids = torch.randint(0, text.config.vocab_size, (2, 77), generator=generator)
        ours, theirs = text(ids), twin(ids)
        assert torch.equal(ours.hidden, theirs.hidden)
        assert (ours.pooled is None) == (not text.config.pooled)
        assert ours.pooled is None or torch.equal(ours.pooled, theirs.pooled)


def test_weights_stay_mapped_to_the_file_when_nothing_is_to_be_changed(tiny_files):
    unet = load_checkpoint(tiny_files["sd1"]).unet
    with tiny_files["sd1"].open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    starts = {name: header[f"model.diffusion_model.{name}"]["data_offsets"][0] for name in unet.state_dict()}
    bases = {tensor.data_ptr() - starts[name] for name, tensor in unet.state_dict().items()}
    assert len(bases) == 1  # all tensors lie in memory as they lie in the file


def test_loaded_modules_do_not_learn(tiny_files):
    model = load_checkpoint(tiny_files["sd1"])
    for module in (model.unet, model.vae, *model.texts):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_come_in_the_dtype_asked_for(tiny_files, dtype):
    model = load_checkpoint(tiny_files["sd1"], dtype)
    for module in (model.unet, model.vae, *model.texts):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}


def test_a_half_precision_file_loads_in_single_precision(tmp_path):
    write_tiny_checkpoint(tmp_path / "m.safetensors", dtype=torch.float16)
    assert next(load_checkpoint(tmp_path / "m.safetensors").unet.parameters()).dtype == torch.float32


def test_the_header_brings_tokenizer_words_about_and_preview(tmp_path):
    factors = [[0.1, 0.2, 0.3]] * 5
    write_tiny_checkpoint(tmp_path / "m.safetensors", words=("zebra",), header={"atelier.preview": factors})
    model = load_checkpoint(tmp_path / "m.safetensors")
    assert len(model.tokenizers[0].encode("zebra zebra")) == 2
    assert model.about["examples"] == ["a red ball"]
    assert torch.equal(model.preview_factors, torch.tensor(factors))


@pytest.mark.parametrize("value", [None, "x", [[1, 2]], [[1, 2, 3], [1]], {"a": 1}, [[float("nan")] * 3]])
def test_unusable_preview_factors_are_left_out(tmp_path, value):
    write_tiny_checkpoint(tmp_path / "m.safetensors", header={"atelier.preview": value})
    assert load_checkpoint(tmp_path / "m.safetensors").preview_factors is None


def test_without_a_tokenizer_in_the_header_it_is_clips(tmp_path):
    config = tiny_config(vocabulary=49408)
    write_tiny_checkpoint(tmp_path / "m.safetensors", config=config, header={"atelier.tokenizer": None})
    model = load_checkpoint(tmp_path / "m.safetensors")
    assert model.tokenizers[0].encode("a photo of a cat") == [320, 1125, 539, 320, 2368]


def test_a_tokenizer_larger_than_the_text_encoder_is_refused(tmp_path):
    config = tiny_config(vocabulary=100)
    write_tiny_checkpoint(tmp_path / "m.safetensors", config=config)
    assert "The tokenizer has" in error_of(tmp_path / "m.safetensors")


@pytest.mark.parametrize("tokenizer", [3, {}, {"vocab": {"a": "x"}, "merges": []}, {"vocab": {"a": 0}, "merges": []}])
def test_a_damaged_tokenizer_is_a_model_error(tmp_path, tokenizer):
    write_tiny_checkpoint(tmp_path / "m.safetensors", header={"atelier.tokenizer": tokenizer})
    assert "tokenizer" in error_of(tmp_path / "m.safetensors")


def test_what_shapes_do_not_tell_may_be_said_in_header_and_file_beside(tmp_path):
    tiny = tiny_config("sd1", vocabulary=49408)
    text = replace(tiny.texts[0], width=768, heads=12)
    config = replace(tiny, texts=(text,), unet=replace(tiny.unet, context_dim=768))
    said = {"vae": {"norm_groups": 4}, "native_size": 64}
    save_file(tiny_tensors(config, "sd1", 0), tmp_path / "m.safetensors", {"atelier.config": json.dumps(said)})
    beside = {"atelier.config": {"unet": {"num_heads": 2, "norm_groups": 4}}}
    (tmp_path / "m.json").write_text(json.dumps(beside))
    assert load_checkpoint(tmp_path / "m.safetensors").config == config


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_missing_tensors_are_named(tiny_files, tmp_path, family):
    def drop(tensors):
        for name in [name for name in tensors if "input_blocks.1.0." in name]:
            del tensors[name]

    message = error_of(rewrite(tiny_files[family], tmp_path / "m.safetensors", drop))
    assert "model.diffusion_model.input_blocks.1.0.emb_layers.1.bias" in message
    assert "more are missing" in message


def test_one_missing_tensor_is_named(tiny_files, tmp_path):
    message = error_of(
        rewrite(tiny_files["sd1"], tmp_path / "m.safetensors", lambda t: t.pop("model.diffusion_model.out.2.bias"))
    )
    assert message == "m.safetensors is not whole: model.diffusion_model.out.2.bias is missing."


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tiny_files, tmp_path):
    path = rewrite(
        tiny_files["sd1"],
        tmp_path / "m.safetensors",
        lambda t: t.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}),
    )
    assert "model.diffusion_model.out.2.bias is [5], not as [4]" in error_of(path)


def test_one_by_one_convolutions_may_be_written_as_matrices(tiny_files, tmp_path):
    def flatten(tensors):
        for name in [name for name, tensor in tensors.items() if tensor.shape[2:] == (1, 1)]:
            tensors[name] = tensors[name].flatten(1)

    path = rewrite(tiny_files["sd1"], tmp_path / "m.safetensors", flatten)
    plain, flat = (load_checkpoint(one).vae.state_dict() for one in (tiny_files["sd1"], path))
    assert all(torch.equal(plain[name], flat[name]) for name in plain)


@pytest.mark.parametrize(
    ("prefix", "part"), [("first_stage_model.decoder", "VAE"), ("cond_stage_model", "text encoder")]
)
def test_nan_weights_are_found_on_loading(tiny_files, tmp_path, prefix, part):
    def spoil(tensors):
        name = max(name for name in tensors if name.startswith(prefix))
        tensors[name].view(-1)[0] = float("nan")

    assert f"the {part} has NaN" in error_of(rewrite(tiny_files["sd1"], tmp_path / "m.safetensors", spoil))


def test_tensors_that_no_module_asks_for_do_no_harm(tiny_files, tmp_path):
    path = rewrite(
        tiny_files["sd1"],
        tmp_path / "m.safetensors",
        lambda t: t.update({"model_ema.decay": torch.ones(1), "cond_stage_model.logit_scale": torch.ones(1)}),
    )
    load_checkpoint(path)


def test_a_cut_off_file_is_not_loaded(tiny_files, tmp_path):
    data = tiny_files["sd1"].read_bytes()
    (tmp_path / "m.safetensors").write_bytes(data[: len(data) // 2])
    assert "cut off" in error_of(tmp_path / "m.safetensors")


STORED = "model.diffusion_model.middle_block.0.in_layers.2.weight"
OUR_STORED = "middle_block.0.in_layers.2.weight"


@pytest.mark.parametrize(
    ("wish", "family", "expected"),
    [
        ("dtype", "sd1", torch.float16),
        ("file", "sd1", torch.float16),
        ("float8_e4m3", "sd1", torch.float8_e4m3fn),
        ("float8_e5m2", "sd1", torch.float8_e5m2),
        ("float8-sdxl", "sd1", torch.float16),
        ("float8-sdxl", "sdxl", torch.float8_e4m3fn),
    ],
)
def test_the_weights_of_a_unet_are_stored_as_wished(tiny_files, wish, family, expected):
    model = load_checkpoint(tiny_files[family], torch.float16, unet_storage=wish)
    exact = load_file(tiny_files[family])[STORED]
    weight = model.unet.get_parameter(OUR_STORED)
    assert weight.dtype == expected
    assert torch.equal(weight.float(), exact.to(expected).float())
    others = [weight for name, weight in model.unet.named_parameters() if name.startswith(("time_embed", "out."))]
    others += [weight for module in (model.vae, *model.texts) for weight in module.parameters()]
    assert {weight.dtype for weight in others} == {torch.float16}


@pytest.mark.parametrize("wish", ["file", "float8_e5m2", "float8-sdxl"])
def test_a_file_in_8_bits_stays_so_and_mapped_where_that_is_wished(tiny_files, tmp_path, wish):
    path = tmp_path / "eight.safetensors"

    def eight(tensors):
        for name, tensor in tensors.items():
            if name.startswith("model.diffusion_model."):
                tensors[name] = tensor.to(torch.float8_e4m3fn)

    rewrite(tiny_files["sd1"], path, eight)
    kept, cast = (load_checkpoint(path, torch.float16, unet_storage=one) for one in (wish, "dtype"))
    assert kept.unet.get_parameter(OUR_STORED).dtype == torch.float8_e4m3fn
    assert cast.unet.get_parameter(OUR_STORED).dtype == torch.float16
    assert kept.unet.get_parameter("out.2.weight").dtype == torch.float16
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    stored = {name: one for name, one in kept.unet.state_dict().items() if one.dtype == torch.float8_e4m3fn}
    starts = {name: header[f"model.diffusion_model.{name}"]["data_offsets"][0] for name in stored}
    assert len({tensor.data_ptr() - starts[name] for name, tensor in stored.items()}) == 1
    x, times, context = (
        torch.ones(1, 4, 8, 8).half(),
        torch.tensor([5.0]),
        torch.ones(1, 3, kept.config.unet.context_dim),
    )
    assert torch.equal(kept.unet(x, times, context.half()), cast.unet(x, times, context.half()))


def test_weights_in_8_bits_with_a_scale_are_multiplied_and_not_kept_so(tiny_files, tmp_path):
    path = tmp_path / "scaled.safetensors"

    def scaled(tensors):
        tensors[STORED.replace(".weight", ".scale_weight")] = torch.tensor([0.5])
        tensors[STORED] = (tensors[STORED] * 2).to(torch.float8_e4m3fn)

    rewrite(tiny_files["sd1"], path, scaled)
    expected = (load_file(tiny_files["sd1"])[STORED] * 2).to(torch.float8_e4m3fn).float() / 2
    weight = load_checkpoint(path, unet_storage="file").unet.get_parameter(OUR_STORED)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, expected)
