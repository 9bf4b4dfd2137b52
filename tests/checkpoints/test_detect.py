"""What a file is, from names and shapes."""

import contextlib
import json
from dataclasses import replace

import pytest
import torch

from tests.support import TEXT_PREFIXES, openclip_names
from webui.checkpoints.detect import detect_config
from webui.checkpoints.header import Header, TensorInfo
from webui.checkpoints.notes import read_notes, read_sidecar
from webui.nn.config import SD15, SD21, SD21_BASE, SDXL, ModelConfig, ScheduleConfig
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE
from webui.schema.errors import ModelError


def full_size_header(config: ModelConfig, family: str, metadata: dict | None = None) -> Header:
    """Names and shapes of a published checkpoint; no weights are made."""
    with torch.device("meta"):
        named = {
            "model.diffusion_model.": UNet(config.unet).state_dict(),
            "first_stage_model.": VAE(config.vae).state_dict(),
        }
        for prefix, text in zip(TEXT_PREFIXES[family], config.texts, strict=True):
            state = build_text(text).state_dict()
            named[prefix] = openclip_names(state) if prefix.endswith("model.") else state
    shapes = {prefix + name: tuple(t.shape) for prefix, state in named.items() for name, t in state.items()}
    return Header({name: TensorInfo("F16", shape) for name, shape in shapes.items()}, metadata or {})


@pytest.fixture(scope="module")
def headers() -> dict[str, Header]:
    return {
        family: full_size_header(config, family) for family, config in (("sd1", SD15), ("sd2", SD21), ("sdxl", SDXL))
    }


@pytest.mark.parametrize(("family", "config"), [("sd1", SD15), ("sd2", SD21), ("sdxl", SDXL)])
def test_published_checkpoints_are_known_by_their_shapes(headers, family, config):
    assert detect_config(headers[family]) == config


def test_sd2_is_the_base_model_where_a_file_beside_it_says_so(headers, tmp_path):
    (tmp_path / "m.json").write_text('{"atelier.config": {"prediction": "epsilon", "native_size": 512}, "notes": "x"}')
    assert detect_config(headers["sd2"], read_notes(tmp_path / "m.safetensors")) == SD21_BASE


def test_sd2_is_the_base_model_where_modelspec_says_so(headers):
    header = replace(headers["sd2"], metadata={"modelspec.prediction_type": "epsilon"})
    assert detect_config(header) == SD21_BASE


def test_a_config_in_the_header_goes_before_the_shapes(headers):
    header = replace(
        headers["sd1"], metadata={"atelier.config": json.dumps({"prediction": "v", "vae": {"shift": 0.5}})}
    )
    expected = replace(SD15, prediction="v", vae=replace(SD15.vae, shift=0.5))
    assert detect_config(header) == expected


def test_a_whole_config_in_the_header_is_taken_as_it_is():
    config = replace(SD15, family="toy", native_size=128)
    assert detect_config(Header({}, {"atelier.config": json.dumps(config.to_json())})) == config


def test_marks_of_v_prediction_and_zero_terminal_snr_are_seen(headers):
    marked = {"v_pred": TensorInfo("F32", ()), "ztsnr": TensorInfo("F32", ())}
    header = replace(headers["sdxl"], tensors={**headers["sdxl"].tensors, **marked})
    config = detect_config(header)
    assert (config.prediction, config.schedule) == ("v", ScheduleConfig(zero_terminal_snr=True))


def test_the_first_sd1_files_with_older_names_are_known(headers):
    renamed = {name.replace("transformer.text_model.", "transformer."): t for name, t in headers["sd1"].tensors.items()}
    assert detect_config(Header(renamed)) == SD15


def test_an_unknown_key_in_a_config_is_named(headers):
    header = replace(headers["sd1"], metadata={"atelier.config": '{"widht": 3}'})
    with pytest.raises(ModelError, match="widht"):
        detect_config(header)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "3", "null", '{"unet": 3}', '{"unet": {"num_heads": "many"}}'])
def test_a_config_that_is_none_is_a_model_error_or_ignored(headers, text):
    header = replace(headers["sd1"], metadata={"atelier.config": text})
    if text == "null":
        assert detect_config(header) == SD15
        return
    with pytest.raises(ModelError):
        detect_config(header)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\ufeff{}", "\0"])
def test_a_damaged_file_beside_the_model_is_ignored(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    assert read_sidecar(tmp_path / "m.safetensors") == {}


@pytest.mark.parametrize(
    ("part", "kind"), [("first_stage_model.", "lacks its VAE"), ("cond_stage_model.", "lacks its text encoder CLIP-L")]
)
def test_a_checkpoint_without_a_part_says_which(headers, part, kind):
    tensors = {name: tensor for name, tensor in headers["sd1"].tensors.items() if not name.startswith(part)}
    with pytest.raises(ModelError, match=kind):
        detect_config(Header(tensors))


def test_a_missing_tensor_is_a_model_error_or_left_to_the_loading(headers):
    names = list(headers["sd1"].tensors)
    for name in names[::7]:
        tensors = {other: tensor for other, tensor in headers["sd1"].tensors.items() if other != name}
        with contextlib.suppress(ModelError):
            detect_config(Header(tensors))


def test_an_sd2_file_written_by_diffusers_lacks_the_layer_that_is_not_read(headers):
    tensors = {name: one for name, one in headers["sd2"].tensors.items() if ".resblocks.23." not in name}
    assert detect_config(Header(tensors)).texts == (replace(SD21.texts[0], absent=1),)
