"""What stands beside the weights, and which of it goes before which."""

import json
from dataclasses import replace

import pytest

from tests.checkpoints.test_published import sparse_file
from tests.published import PUBLISHED, ldm_shapes
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.detect import detect_config
from webui.checkpoints.header import Header, TensorInfo
from webui.checkpoints.notes import Notes, read_notes, read_yaml
from webui.nn.config import SD15, SD21, SD21_BASE, SDXL, ScheduleConfig

V2_YAML = """
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    parameterization: "v"
    linear_start: 0.00085
    linear_end: 0.0120
    timesteps: 1000
    scale_factor: 0.18215
    unet_config:
      params: {num_head_channels: 64, context_dim: 1024}
"""
SGM_YAML = """
model:
  params:
    scale_factor: 0.13025
    denoiser_config:
      params:
        scaling_config: {target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling}
    network_config:
      params: {num_head_channels: 64}
"""


def header(name: str, metadata: dict[str, str] | None = None, *marks: str) -> Header:
    tensors = {key: TensorInfo("F16", shape) for key, shape in ldm_shapes(name).items()}
    return Header({**tensors, **{mark: TensorInfo("F32", ()) for mark in marks}}, metadata or {})


def beside(tmp_path, yaml: str) -> Notes:
    (tmp_path / "m.yaml").write_text(yaml)
    return read_notes(tmp_path / "m.safetensors")


def test_a_yaml_file_says_what_sd2_predicts(tmp_path):
    assert detect_config(header("sd21"), beside(tmp_path, V2_YAML)) == SD21
    assert detect_config(header("sd21"), beside(tmp_path, V2_YAML.replace('parameterization: "v"', ""))) == SD21_BASE


def test_a_yaml_file_says_that_sdxl_predicts_v(tmp_path):
    assert detect_config(header("sdxl"), beside(tmp_path, SGM_YAML)) == replace(SDXL, prediction="v")
    assert detect_config(header("sdxl"), beside(tmp_path, SGM_YAML.replace("VScaling", "EpsScaling"))) == SDXL


def test_a_yaml_file_says_heads_schedule_and_latent_scale(tmp_path):
    text = V2_YAML.replace("num_head_channels: 64", "num_heads: 4").replace("0.0120", "0.02").replace("0.18215", "0.2")
    config = detect_config(
        header("sd15"), beside(tmp_path, text.replace("timesteps", "zero_terminal_snr: true\n    timesteps"))
    )
    assert config.unet == replace(SD15.unet, num_heads=4)
    assert (config.vae.scale_factor, config.prediction) == (0.2, "v")
    assert config.schedule == ScheduleConfig(beta_end=0.02, zero_terminal_snr=True)


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "model: 3", "model: {params: {x: 1}}", "!!python/object:os.system {}", "\0"]
)
def test_a_yaml_file_that_is_no_config_says_nothing(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    assert read_yaml(tmp_path / "m.safetensors") == {}


@pytest.mark.parametrize(
    ("metadata", "marks", "name", "expected"),
    [
        ({}, (), "", ("v", 768)),
        ({"modelspec.prediction_type": "epsilon"}, (), "", ("epsilon", 512)),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, (), "", ("epsilon", 512)),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, (), "512-base", ("v", 768)),
        ({"modelspec.prediction_type": "epsilon", "modelspec.resolution": "768x768"}, (), "", ("epsilon", 768)),
        ({}, (), "512-base-ema", ("epsilon", 512)),
        ({}, (), "v2-1_512-ema-pruned", ("epsilon", 512)),
        ({}, (), "sd_turbo", ("epsilon", 512)),
        ({}, (), "v2-1_768-ema-pruned", ("v", 768)),
        ({"modelspec.prediction_type": "epsilon"}, ("v_pred",), "", ("v", 768)),
    ],
)
def test_what_sd2_predicts_is_told_by_metadata_marks_and_name(metadata, marks, name, expected):
    config = detect_config(header("sd21", metadata, *marks), Notes(name))
    assert (config.prediction, config.native_size) == expected


@pytest.mark.parametrize(
    ("metadata", "marks", "name", "expected"),
    [
        ({}, (), "sd_xl_base_1.0", ("epsilon", 1024, False)),
        ({}, ("v_pred",), "m", ("v", 1024, False)),
        ({}, ("v_pred", "ztsnr"), "m", ("v", 1024, True)),
        ({"modelspec.prediction_type": "v"}, (), "m", ("v", 1024, False)),
        ({}, (), "noobaiXLNAIXL_vPred10Version", ("v", 1024, False)),
        ({}, (), "sd_xl_turbo_1.0_fp16", ("epsilon", 512, False)),
        ({"modelspec.resolution": "896x1152"}, (), "m", ("epsilon", 1024, False)),
        ({"modelspec.resolution": "large"}, (), "m", ("epsilon", 1024, False)),
    ],
)
def test_what_sdxl_predicts_is_told_by_metadata_marks_and_name(metadata, marks, name, expected):
    config = detect_config(header("sdxl", metadata, *marks), Notes(name))
    assert (config.prediction, config.native_size, config.schedule.zero_terminal_snr) == expected


def test_what_the_user_writes_beside_it_goes_before_all(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps({"atelier.config": {"prediction": "epsilon", "native_size": 640}}))
    config = detect_config(header("sd21", {}, "v_pred"), beside(tmp_path, V2_YAML))
    assert (config.prediction, config.native_size) == ("epsilon", 640)


def test_the_inpainting_and_depth_models_of_sd2_predict_noise():
    for name in ("sd2-inpaint", "sd2-depth"):
        assert detect_config(header(name)) == PUBLISHED[name].config
        assert PUBLISHED[name].config.prediction == "epsilon"


def test_numbers_in_a_yaml_file_may_be_written_without_a_point(tmp_path):
    text = V2_YAML.replace("0.00085", "1e-4").replace("0.0120", "many").replace("64", "-1")
    config = detect_config(header("sd21"), beside(tmp_path, text))
    assert config.schedule == ScheduleConfig(beta_start=0.0001)
    assert config.unet == SD21.unet


def test_a_yaml_file_of_another_scaling_says_nothing_of_the_prediction(tmp_path):
    assert detect_config(header("sdxl"), beside(tmp_path, SGM_YAML.replace("VScaling", "EDMScaling"))) == SDXL


def test_a_yaml_file_that_comes_later_is_noticed(tmp_path):
    sparse_file(tmp_path / "Stable-diffusion" / "m.safetensors", ldm_shapes("sd21"))
    catalogue = Catalogue(tmp_path)
    assert catalogue.find("m").prediction == "v"
    (tmp_path / "Stable-diffusion" / "m.yaml").write_text(V2_YAML.replace('parameterization: "v"', ""))
    assert catalogue.find("m").prediction == "epsilon"
