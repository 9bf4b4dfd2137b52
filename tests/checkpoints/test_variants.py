"""Few-step variants by the names of real files."""

import pytest

from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.variants import find_variant
from webui.schema.requests import Txt2Img


@pytest.mark.parametrize(
    ("name", "variant", "steps"),
    [
        ("LCM_Dreamshaper_v7", "LCM", 6),
        ("dreamshaper8LCM_v10", "LCM", 6),
        ("sd_xl_turbo_1.0_fp16", "Turbo", 1),
        ("sd_turbo", "Turbo", 1),
        ("dreamshaperXL_v21TurboDPMSDE", "Turbo", 7),
        ("sdxl_lightning_4step", "Lightning", 4),
        ("sdxl_lightning_8step", "Lightning", 8),
        ("juggernautXL_v9Rdphoto2Lightning", "Lightning", 6),
        ("realvisxlV40_v40LightningBakedvae", "Lightning", 6),
        ("Hyper-SDXL-1step-Unet", "Hyper", 1),
        ("juggernautXL_v9Hyper_4steps", "Hyper", 4),
        ("dmd2_sdxl_4step_unet", "DMD2", 4),
    ],
)
def test_variants_are_known_by_their_name(name, variant, steps):
    found = find_variant(name)
    assert found is not None
    assert (found.name, found.steps) == (variant, steps)


@pytest.mark.parametrize(
    "name", ["v1-5-pruned-emaonly", "hyperrealism_v2", "HyperionXL", "calcmix", "sd_xl_base_1.0", "50steps"]
)
def test_ordinary_models_are_no_variants(name):
    assert find_variant(name) is None


def test_a_title_in_the_header_tells_too():
    found = find_variant("m", "My model Lightning 8-step")
    assert found is not None
    assert (found.name, found.steps) == ("Lightning", 8)


def test_the_suggested_settings_are_those_of_a_request():
    for name in ("lcm", "sd_turbo", "turbo", "sdxl_lightning_4step", "lightning", "hyper", "dmd2"):
        found = find_variant(name)
        assert found is not None
        asked = Txt2Img(prompt="x", **found.settings)
        assert {key: getattr(asked, key) for key in found.settings} == found.settings
        assert found.name in found.hint


def test_the_catalogue_suggests_them_where_the_file_says_nothing(tmp_path):
    folder = tmp_path / "Stable-diffusion"
    write_tiny_checkpoint(folder / "a-lightning_8step.safetensors", header={"atelier.about": None})
    write_tiny_checkpoint(folder / "b-lightning.safetensors")
    bare, own = Catalogue(tmp_path).list()
    assert (bare.variant, bare.settings["steps"]) == ("Lightning", 8)
    assert "8 steps" in bare.hint
    assert (own.variant, own.settings, own.hint) == ("Lightning", {"cfg_scale": 5.5}, "A tiny model of noise.")
