"""Models where other programs have them: trees of A1111, Forge and ComfyUI, and single folders."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from tests.support import write_tiny_checkpoint
from webui.checkpoints.places import Extra, Places
from webui.networks.library import Library
from webui.prompt.picture_prompts import Wildcards
from webui.prompt.styles import Styles
from webui.schema.errors import BadRequest
from webui.server.model_options import add_model_options, missing_note, places_of

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(path: Path, width: int = 768) -> Path:
    return header_only(path, kohya([LAYER], 320, width))


def word(path: Path) -> Path:
    return header_only(path, {"emb_params": (1, 768)})


def found(places: Places) -> dict[str, str]:
    """Kind and name -> the file."""
    return {f"{item.kind} {item.name}": item.file for item in Library.of(places).items()}


def with_trees(tmp_path: Path, *trees: Path) -> Places:
    return Places(tmp_path / "models", Extra.of(trees=trees))


@pytest.fixture
def a1111(tmp_path: Path) -> Path:
    root = tmp_path / "stable-diffusion-webui"
    write_tiny_checkpoint(root / "models" / "Stable-diffusion" / "anime" / "tiny.safetensors")
    lora(root / "models" / "Lora" / "ink.safetensors")
    lora(root / "models" / "LyCORIS" / "old.safetensors")
    word(root / "embeddings" / "ball.safetensors")
    header_only(root / "extensions" / "sd-webui-controlnet" / "models" / "canny.safetensors", {"a": (1,)})
    (root / "styles.csv").write_text("name,prompt,negative_prompt\nInk,ink,\n")
    cards = root / "extensions" / "sd-dynamic-prompts" / "wildcards"
    cards.mkdir(parents=True)
    (cards / "colour.txt").write_text("red\n")
    return root


def test_an_installation_of_a1111_is_read_where_it_stands(tmp_path: Path, a1111: Path) -> None:
    places = with_trees(tmp_path, a1111)
    assert found(places) == {
        "checkpoint anime/tiny": "anime/tiny.safetensors", "lora ink": "ink.safetensors", "lora old": "old.safetensors",
        "embedding ball": "ball.safetensors", "controlnet canny": "canny.safetensors",
    }  # fmt: skip
    assert list(Styles.beside(places.prompts).all()) == ["Ink"]
    assert Wildcards.beside(places.prompts).lines("colour") == ("red",)
    assert {item.own for item in Library.of(places).items()} == {False}


def test_its_folder_of_models_alone_is_read_too_with_what_stands_beside_it(tmp_path: Path, a1111: Path) -> None:
    names = found(with_trees(tmp_path, a1111 / "models"))
    assert list(names) == ["checkpoint anime/tiny", "lora ink", "lora old", "embedding ball"]


@pytest.mark.parametrize("given", ["", "models"])
def test_an_installation_of_comfyui_is_read(tmp_path: Path, given: str) -> None:
    root = tmp_path / "ComfyUI"
    write_tiny_checkpoint(root / "models" / "checkpoints" / "tiny.safetensors")
    header_only(root / "models" / "unet" / "part.safetensors", {"a": (1,)})
    lora(root / "models" / "loras" / "ink.safetensors")
    word(root / "models" / "embeddings" / "ball.safetensors")
    header_only(root / "models" / "vae" / "odd.safetensors", {"a": (1,)})
    names = found(with_trees(tmp_path, root / given))
    assert sorted(names) == ["checkpoint part", "checkpoint tiny", "embedding ball", "lora ink", "vae odd"]


def test_of_two_files_of_one_name_the_programs_own_counts_and_the_other_is_named_by_its_place(
    tmp_path: Path, a1111: Path
) -> None:
    own = lora(tmp_path / "models" / "Lora" / "ink.safetensors", 2048)
    networks = Library.of(with_trees(tmp_path, a1111)).named.networks
    theirs = a1111 / "models" / "Lora" / "ink.safetensors"
    assert [file.name for file in networks.list()] == ["ink", "old", "stable-diffusion-webui/ink"]
    assert networks.find("ink").path == own
    assert networks.find("stable-diffusion-webui/ink").path == theirs
    own.unlink()
    assert networks.find("ink").path == theirs
    assert networks.find("stable-diffusion-webui/ink").path == theirs


def test_three_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("a/models", "b/a/models", "models"):
        lora(tmp_path / place / "Lora" / "ink.safetensors")
    names = found(with_trees(tmp_path, tmp_path / "a" / "models", tmp_path / "b" / "a"))
    assert list(names) == ["lora a/ink", "lora a/ink-2", "lora ink"]


def test_a_folder_that_is_reached_twice_is_listed_once(tmp_path: Path, a1111: Path) -> None:
    (tmp_path / "link").symlink_to(a1111)
    places = Places(tmp_path / "models", Extra.of({"lora": [a1111 / "models" / "Lora"]}, [a1111, tmp_path / "link"]))
    assert [name for name in found(places) if name.startswith("lora")] == ["lora ink", "lora old"]


def test_comfyuis_file_of_paths_is_read_as_comfyui_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARE", str(tmp_path / "share"))
    file = tmp_path / "comfy" / "extra_model_paths.yaml"
    file.parent.mkdir()
    file.write_text(
        "# a comment\n"
        "comfyui:\n  base_path: ../base\n  checkpoints: models/checkpoints\n  custom_nodes: custom_nodes\n"
        "  loras: |\n    one\n    two/\n"
        "nothing:\n"
        "first:\n  is_default: true\n  diffusion_models: ${SHARE}/unet\n  upscale_models: up\n"
    )
    places = Places(tmp_path / "models", Extra.of(comfy=[file]))
    further = [(place.folder.relative_to(tmp_path).as_posix(), place.label) for place in places.of_kind("checkpoint")]
    assert further[2:] == [("share/unet", "first"), ("base/models/checkpoints", "comfyui")]
    assert [place.folder.name for place in places.of_kind("lora") if not place.own] == ["one", "two"]
    assert [place.folder for place in places.of_kind("upscaler") if not place.own] == [tmp_path / "comfy" / "up"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b: [1\nc: 2", "line 3"),
        ("a:\n\tb: 1", "line 2"),
        ("- a\n- b", "line 1: here should be names with values"),
        ("a:\n  base_path: x\nb: folder", "line 3: here should be names"),
        ("a:\n  loras:\n    c: d", "line 3: here should be a folder"),
        ("\x00", "paths.yaml"),
    ],
)
def test_a_broken_file_of_paths_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "paths.yaml").write_text(text)
    with pytest.raises(BadRequest) as caught:
        Extra.of(comfy=[tmp_path / "paths.yaml"])
    assert said in caught.value.message


def test_files_of_paths_that_are_empty_absent_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert Extra.of(comfy=[tmp_path / "empty.yaml"]).places == ()
    with pytest.raises(BadRequest, match="cannot be read"):
        Extra.of(comfy=[tmp_path / "none.yaml"])
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRequest, match="UTF-8"):
        Extra.of(comfy=[tmp_path / "binary.yaml"])


def test_the_options_of_a_start_script_of_a1111_are_taken(tmp_path: Path) -> None:
    given = [
        "--models-dir", str(tmp_path / "models"), "--ckpt-dir", str(tmp_path / "ckpt"),
        "--lora-dir", str(tmp_path / "l"),
        "--vae-dir", str(tmp_path / "v"), "--embeddings-dir", str(tmp_path / "e"), "--hypernetwork-dir",
        str(tmp_path / "h"), "--controlnet-dir", str(tmp_path / "c"), "--forge-ref-a1111-home", str(tmp_path / "home"),
    ]  # fmt: skip
    parser = argparse.ArgumentParser()
    add_model_options(parser, tmp_path)
    places = places_of(parser.parse_args(given))
    first = {place.kind: place.folder.name for place in reversed(places.extra.places)}
    wanted = {"checkpoint": "ckpt", "lora": "l", "vae": "v", "embedding": "e", "hypernetwork": "h", "controlnet": "c"}
    assert {kind: first[kind] for kind in wanted} == wanted
    assert places.home("lora") == tmp_path / "models" / "Lora"
    assert len(missing_note(places).split(",")) == 8
    assert Places.from_json(places.to_json()) == places


def test_a_share_that_comes_later_is_read_from_then_on(tmp_path: Path) -> None:
    share = tmp_path / "share"
    library = Library.of(with_trees(tmp_path, share))
    assert library.items() == []
    assert library.places.missing() == (share,)
    lora(share / "models" / "Lora" / "ink.safetensors")
    assert [item.name for item in library.items()] == ["ink"]
    assert library.places.missing() == ()


def test_names_of_places_cannot_break_a_tag(tmp_path: Path) -> None:
    folder = tmp_path / "a:b, <c>"
    lora(folder / "Lora" / "ink.safetensors")
    lora(tmp_path / "models" / "Lora" / "ink.safetensors")
    assert list(found(with_trees(tmp_path, folder))) == ["lora a_b_c/ink", "lora ink"]
