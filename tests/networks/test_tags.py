"""A prompt's tags before a model is loaded."""

from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from webui.networks.catalogue import NetworkCatalogue
from webui.networks.tags import check_tags
from webui.prompt.tags import split_tags
from webui.schema.errors import BadRequest, ModelError, NotFound

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def catalogue(tmp_path: Path) -> NetworkCatalogue:
    header_only(tmp_path / "Lora" / "flat.safetensors", kohya([LAYER], 640, 2048))
    (tmp_path / "Lora" / "old.pt").write_bytes(b"PK\x03\x04")
    return NetworkCatalogue(tmp_path)


def test_files_and_strengths_are_given_in_the_tags_order(catalogue: NetworkCatalogue) -> None:
    found = check_tags(split_tags("<lora:flat:0.5> <lyco:FLAT:2>")[1], catalogue, "sdxl")
    assert [(file.name, strengths.unet.points[0].weight) for file, strengths in found] == [("flat", 0.5), ("flat", 2)]


@pytest.mark.parametrize(
    ("prompt", "family", "kind", "said"),
    [
        ("<hyper:flat>", "", BadRequest, "Tags of the kind of <hyper:flat> are not known here"),
        ("<lora:flit>", "", NotFound, 'There is no network "flit"'),
        ("<lora:flat:much>", "", BadRequest, '"much" is no weight'),
        ("<lora:old>", "", ModelError, "models convert"),
        ("<lora:flat>", "sd1", ModelError, r'"flat" is a LoRA for SDXL, the loaded model is SD 1\.x'),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    prompt: str, family: str, kind: type[Exception], said: str, catalogue: NetworkCatalogue
) -> None:
    with pytest.raises(kind, match=said):
        check_tags(split_tags(prompt)[1], catalogue, family)


def test_an_unknown_family_is_left_for_later(catalogue: NetworkCatalogue) -> None:
    assert len(check_tags(split_tags("<lora:flat>")[1], catalogue)) == 1
