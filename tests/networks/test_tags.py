"""A prompt's tags before a model is loaded."""

from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from webui.networks.tags import Catalogues, check_tags
from webui.prompt.tags import split_tags
from webui.schema.errors import BadRequest, ModelError, NotFound

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def catalogues(tmp_path: Path) -> Catalogues:
    header_only(tmp_path / "Lora" / "flat.safetensors", kohya([LAYER], 640, 2048))
    (tmp_path / "Lora" / "old.pt").write_bytes(b"PK\x03\x04")
    header_only(tmp_path / "hypernetworks" / "ink.safetensors", {"768.k.linear.0.weight": (768, 768)})
    return Catalogues.of(tmp_path)


def test_files_and_strengths_are_given_in_the_tags_order(catalogues: Catalogues) -> None:
    found = check_tags(split_tags("<lora:flat:0.5> <lyco:FLAT:2> <hypernet:ink:0.3>")[1], catalogues)
    assert [(one.file.name, one.strengths.unet.points[0].weight) for one in found] == [
        ("flat", 0.5), ("flat", 2), ("ink", 0.3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "family", "kind", "said"),
    [
        ("<hyper:flat>", "", BadRequest, "Tags of the kind of <hyper:flat> are not known here"),
        ("<lora:flit>", "", NotFound, 'There is no network "flit"'),
        ("<lora:flat:much>", "", BadRequest, '"much" is no weight'),
        ("<lora:old>", "", ModelError, "models convert"),
        ("<hypernet:flat>", "", NotFound, 'There is no hypernetwork "flat"'),
        ("<hypernet:ink>", "sdxl", ModelError, r'"ink" is a hypernetwork for SD 1\.x, the loaded model is SDXL'),
        ("<lora:flat>", "sd1", ModelError, r'"flat" is a LoRA for SDXL, the loaded model is SD 1\.x'),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    prompt: str, family: str, kind: type[Exception], said: str, catalogues: Catalogues
) -> None:
    with pytest.raises(kind, match=said):
        check_tags(split_tags(prompt)[1], catalogues, family)


def test_an_unknown_family_is_left_for_later(catalogues: Catalogues) -> None:
    assert len(check_tags(split_tags("<lora:flat>")[1], catalogues)) == 1
