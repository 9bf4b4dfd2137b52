"""A download lands in the folder of its kind, never over another file, and as safetensors or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.fetch.stand_in import Served, StandIn
from webui.checkpoints.places import Places
from webui.fetch.errors import FetchError, Offline
from webui.fetch.web import Web
from webui.modelfiles import folder
from webui.modelfiles.download import STAGING, download
from webui.modelfiles.order import Order, Put
from webui.schema.errors import BadRequest, ModelError, NotFound

HERE = Web(private=True)
ONE = np.zeros((4, 8), np.float16)
LORA = save({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": ONE, "x.lora_down.weight": ONE})
CONTROL = save({"input_hint_block.0.weight": ONE, "zero_convs.0.0.weight": ONE})
EMBEDDING = save({"emb_params": ONE})
UNKNOWN = save({"something.else": ONE})


def fetch(order: Order, far: StandIn, places: Places, **more: Any) -> Put:
    return download(order, places, HERE, endpoint=far.url, **more)


def from_address(far: StandIn, places: Places, data: bytes, name: str = "style.safetensors", **order: Any) -> Put:
    """Fetch from an address like Civitai's, whose name is in the headers."""
    far.files["/api/download/models/12"] = Served(
        data, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
    return fetch(Order(f"{far.url}/api/download/models/12?type=Model", **order), far, places)


def files(places: Places) -> list[str]:
    """All files below the models folder."""
    found = (path for path in places.models_dir.rglob("*") if path.is_file())
    return sorted(path.relative_to(places.models_dir).as_posix() for path in found)


def test_the_header_tells_the_folder(far: StandIn, places: Places):
    made = from_address(far, places, LORA)
    assert made == Put(places.models_dir / "Lora" / "style.safetensors", "a LoRA", "models/Lora")
    assert made.said == "style.safetensors (LoRA) is in models/Lora."
    assert files(places) == ["Lora/style.safetensors"]
    assert made.path.read_bytes() == LORA


def test_the_users_folder_goes_before(far: StandIn, places: Places):
    assert from_address(far, places, LORA, to="lycoris/people").folder == "models/LyCORIS/people"
    assert from_address(far, places, UNKNOWN, name="odd.safetensors", to="upscaler").folder == "models/ESRGAN"
    assert files(places) == ["ESRGAN/odd.safetensors", "LyCORIS/people/style.safetensors"]


@pytest.mark.parametrize("to", ["../x", "Lora/../../x", "Lora/.hidden", "Lora//x", "Elsewhere", "Lora/a\\b"])
def test_a_folder_elsewhere_is_refused_before_anything_is_asked(far: StandIn, places: Places, to: str):
    with pytest.raises(BadRequest, match="is no folder"):
        from_address(far, places, LORA, to=to)
    assert (far.asked, files(places)) == ([], [])


def test_another_file_of_that_name_is_not_touched(far: StandIn, places: Places):
    place = places.models_dir / "Lora" / "style.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    with pytest.raises(BadRequest, match=r"Another style.safetensors is in Lora already; it was not touched\."):
        from_address(far, places, LORA)
    assert place.read_bytes() == b"mine"


def test_that_it_is_there_is_known_before_all_of_it_has_come(far: StandIn, places: Places):
    large = save({"lora_unet_x.lora_up.weight": np.zeros((3, 1024, 1024), np.float16)})
    place = places.models_dir / "Lora" / "style.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    told: list[int] = []
    far.files["/style.safetensors"] = Served(large)
    with pytest.raises(BadRequest, match=r"Another style\.safetensors is in Lora already"):
        fetch(
            Order(f"{far.url}/style.safetensors"), far, places, progress=lambda _name, done, _total: told.append(done)
        )
    assert max(told, default=0) < len(large)


def test_the_same_file_is_not_put_twice(far: StandIn, places: Places):
    assert from_address(far, places, LORA).new
    again = from_address(far, places, LORA)
    assert (again.new, again.said) == (False, "style.safetensors (LoRA) was there already, in models/Lora.")
    assert files(places) == ["Lora/style.safetensors"]


def test_a_given_sha256_is_checked(far: StandIn, places: Places):
    with pytest.raises(FetchError, match="is not the declared file"):
        from_address(far, places, LORA, sha256="0" * 64)
    assert from_address(far, places, LORA, sha256=hashlib.sha256(LORA).hexdigest().upper()).new


def test_a_file_of_unknown_kind_waits_for_a_folder(far: StandIn, places: Places):
    with pytest.raises(ModelError, match=r"style.safetensors is of no kind that is known here\..*--to FOLDER"):
        from_address(far, places, UNKNOWN)
    asked = len(far.asked)
    from_address(far, places, UNKNOWN, to="Lora")
    assert len(far.asked) == asked
    assert files(places) == ["Lora/style.safetensors"]


@pytest.mark.parametrize(
    ("data", "headers", "message"),
    [
        (b"<!doctype html><p>Log in", {}, "style.safetensors is a web page"),
        (b"<html>", {"Content-Type": "text/html; charset=utf-8"}, "is a web page, not a model"),
        (LORA[:-8], {}, r"style.safetensors is cut off"),
        (b"", {}, "style.safetensors is empty"),
    ],
)
def test_what_is_no_model_is_not_kept(far: StandIn, places: Places, data: bytes, headers: dict[str, str], message: str):
    far.files["/style.safetensors"] = Served(data, headers=headers)
    with pytest.raises((ModelError, FetchError), match=message):
        fetch(Order(f"{far.url}/style.safetensors"), far, places)
    assert files(places) == []


def test_a_pickle_is_refused_by_its_name_before_it_comes(far: StandIn, places: Places):
    with pytest.raises(BadRequest, match=r"word.pt is a pickle, .* --convert"):
        from_address(far, places, b"\x80\x02data", name="word.pt")
    assert files(places) == []


def test_a_pickle_in_disguise_is_refused_too(far: StandIn, places: Places):
    with pytest.raises(BadRequest, match="is a pickle"):
        from_address(far, places, b"\x80\x02data", name="word.safetensors")
    assert [name for name in files(places) if not name.startswith(STAGING)] == []


def test_a_pickle_is_converted_where_the_user_says_so(far: StandIn, places: Places):
    import torch

    buffer = io.BytesIO()
    torch.save({"string_to_param": {"*": torch.ones(2, 768)}}, buffer)
    made = from_address(far, places, buffer.getvalue(), name="word.pt", convert=True)
    assert files(places) == ["embeddings/word.safetensors"]
    assert made.what == "a textual inversion embedding"


def test_offline_is_told_at_once(far: StandIn, places: Places):
    for what in (f"{far.url}/x.safetensors?token=secret", "someone/something"):
        with pytest.raises(Offline, match="told to stay offline") as caught:
            download(Order(what), places, Web(offline=True, private=True), endpoint=far.url)
        assert "secret" not in str(caught.value)
    assert (far.asked, places.models_dir.exists()) == ([], False)


def test_stopping_keeps_what_has_come_and_a_second_call_goes_on(far: StandIn, places: Places):
    large = save({"lora_unet_x.lora_up.weight": np.zeros((3, 1024, 1024), np.float16)})
    far.files["/large.safetensors"] = Served(large, '"one"')

    def stop(_name: str, done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    order = Order(f"{far.url}/large.safetensors")
    with pytest.raises(KeyboardInterrupt):
        fetch(order, far, places, progress=stop)
    told: list[tuple[str, int, int]] = []
    fetch(order, far, places, progress=lambda *words: told.append(words))
    assert far.asked[-1].headers["range"].startswith("bytes=1")
    assert told[-1] == ("large.safetensors", len(large), len(large))
    assert files(places) == ["Lora/large.safetensors"]


def test_what_two_want_at_once_comes_once(far: StandIn, places: Places):
    far.files["/style.safetensors"] = Served(LORA)
    results: list[Put] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(Order(f"{far.url}/style.safetensors"), far, places)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made.new for made in results) == [False, True]
    assert files(places) == ["Lora/style.safetensors"]


def test_a_file_of_the_hub_is_checked_against_its_sha256(far: StandIn, places: Places):
    far.serve_repository("someone/styles", {"a/one.safetensors": LORA, "two.safetensors": EMBEDDING})
    assert fetch(Order("someone/styles/a/one.safetensors"), far, places).path.name == "one.safetensors"
    assert (
        fetch(Order(f"{far.url}/someone/styles/blob/main/two.safetensors"), far, places).folder == "models/embeddings"
    )
    assert files(places) == ["Lora/one.safetensors", "embeddings/two.safetensors"]
    far.files["/someone/styles/resolve/main/a/one.safetensors"].data = LORA[:-1] + b"\x01"
    (places.models_dir / "Lora" / "one.safetensors").unlink()
    with pytest.raises(FetchError, match="is not the declared file"):
        fetch(Order("hf:someone/styles/a/one.safetensors"), far, places)


def test_a_repository_of_one_file_needs_no_path(far: StandIn, places: Places):
    far.serve_repository("someone/style", {"README.md": b"#", "one.safetensors": LORA})
    assert fetch(Order("someone/style"), far, places).path.name == "one.safetensors"


def test_of_several_files_one_is_to_be_named(far: StandIn, places: Places):
    far.serve_repository("someone/styles", {"one.safetensors": LORA, "two.safetensors": LORA})
    with pytest.raises(BadRequest, match=r"holds 2 model files.*someone/styles/one.safetensors .*two.safetensors"):
        fetch(Order("someone/styles"), far, places)
    with pytest.raises(NotFound, match=r"has no three.safetensors\. There are: one.safetensors, two.safetensors"):
        fetch(Order("someone/styles/three.safetensors"), far, places)
    with pytest.raises(NotFound, match="no model repository someone/nothing"):
        fetch(Order("someone/nothing"), far, places)


def test_a_general_name_becomes_the_repositorys(far: StandIn, places: Places):
    vae = save({"encoder.conv_in.weight": ONE, "decoder.conv_in.weight": np.zeros((8, 4, 3, 3), np.float16)})
    settings = b'{"in_channels": 3}'
    far.serve_repository("someone/sd-vae", {"config.json": settings, "diffusion_pytorch_model.safetensors": vae})
    far.serve_repository("someone/canny", {"config.json": settings, "diffusion_pytorch_model.safetensors": CONTROL})
    far.serve_repository("someone/my-style", {"pytorch_lora_weights.safetensors": LORA})
    fetch(Order("someone/sd-vae", to="VAE"), far, places)
    fetch(Order("someone/canny"), far, places)
    fetch(Order("someone/my-style"), far, places)
    assert files(places) == [
        "ControlNet/canny/config.json", "ControlNet/canny/diffusion_pytorch_model.safetensors",
        "Lora/my-style/pytorch_lora_weights.safetensors", "VAE/sd-vae.safetensors",
    ]  # fmt: skip


def test_a_revision_is_asked_for(far: StandIn, places: Places):
    far.serve_repository("someone/style", {"one.safetensors": LORA}, revision="v2")
    fetch(Order("someone/style", revision="v2"), far, places)
    fetch(Order("someone/style@v2"), far, places)
    assert {asked.path for asked in far.asked} == {
        "/api/models/someone/style/revision/v2?blobs=true", "/someone/style/resolve/v2/one.safetensors",
    }  # fmt: skip


def repository(weights: bytes = UNKNOWN) -> dict[str, bytes]:
    """A repository as those of diffusers are, with what is not read beside what is."""
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    return {
        "model_index.json": b"{}", "README.md": b"#", "whole.safetensors": LORA, "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": weights, "unet/diffusion_pytorch_model.bin": b"",
        "unet/diffusion_pytorch_model.fp16.safetensors": weights, "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": weights, "vae/diffusion_pytorch_model.fp16.safetensors": weights,
        "text_encoder/config.json": b"{}", "text_encoder/model.safetensors.index.json": index.encode(),
        "text_encoder/model-00001-of-00002.safetensors": weights,
        "text_encoder/model-00002-of-00002.safetensors": weights,
        "scheduler/scheduler_config.json": b"{}", "tokenizer/vocab.json": b"{}",
        "safety_checker/model.safetensors": b"",
    }  # fmt: skip


PLAIN = [
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "halves"), [("", False), ("plain", False), ("fp16", True)], ids=["default", "plain", "fp16"]
)
def test_of_a_diffusers_repository_what_is_read_becomes_a_folder(
    far: StandIn, places: Places, monkeypatch: pytest.MonkeyPatch, variant: str, halves: bool
):
    monkeypatch.setattr(folder, "open_checkpoint", lambda path: opened.append(path) or Sound())
    opened: list[Path] = []
    far.serve_repository("someone/drawing", repository())
    told: list[tuple[str, int, int]] = []
    made = fetch(Order("someone/drawing", variant=variant), far, places, progress=lambda *words: told.append(words))
    half = [f.replace("model.safetensors", "model.fp16.safetensors") if f[:3] in ("une", "vae") else f for f in PLAIN]
    expected = sorted(half) if halves else PLAIN
    assert files(places) == [f"Stable-diffusion/drawing/{name}" for name in expected]
    assert (made.path.name, made.folder, len(opened)) == ("drawing", "models/Stable-diffusion", 1)
    total = sum(len(repository()[name]) for name in expected)
    assert told[-1][1:] == (total, total)


class Sound:
    """A checkpoint with nothing wrong."""

    def config(self) -> None:
        pass


def test_a_folder_is_gone_on_with_file_by_file(far: StandIn, places: Places, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "open_checkpoint", lambda _path: Sound())
    far.serve_repository("someone/drawing", repository())
    lost = far.files.pop("/someone/drawing/resolve/main/vae/diffusion_pytorch_model.safetensors")
    with pytest.raises(FetchError, match=r"vae/diffusion_pytorch_model\.safetensors was not fetched"):
        fetch(Order("someone/drawing"), far, places)
    assert not (places.models_dir / "Stable-diffusion").exists()
    far.files["/someone/drawing/resolve/main/vae/diffusion_pytorch_model.safetensors"] = lost
    asked = len(far.asked)
    fetch(Order("someone/drawing"), far, places)
    again = [one.path.rpartition("main/")[2] for one in far.asked[asked + 1 :]]
    assert again[0] == "vae/diffusion_pytorch_model.safetensors"
    assert not [path for path in again if path.startswith("unet/")]
    with pytest.raises(BadRequest, match="There is a folder drawing in models/Stable-diffusion already"):
        fetch(Order("someone/drawing"), far, places)


def test_a_folder_that_is_no_model_is_told(far: StandIn, places: Places):
    far.serve_repository("someone/drawing", repository())
    with pytest.raises(ModelError):
        fetch(Order("someone/drawing"), far, places)
    assert not (places.models_dir / "Stable-diffusion").exists()


def test_a_variant_that_is_not_there_is_refused(far: StandIn, places: Places):
    far.serve_repository("someone/drawing", repository())
    with pytest.raises(BadRequest, match=r'no variant "bf16"\. There are: fp16, plain\.'):
        fetch(Order("someone/drawing", variant="bf16"), far, places)


@pytest.mark.parametrize("name", ["../x", "a/b", "C:x", ".."])
def test_a_name_is_no_path(far: StandIn, places: Places, name: str):
    with pytest.raises(BadRequest, match="is no name for a file"):
        fetch(Order(f"{far.url}/x", name=name), far, places)
    assert far.asked == []


def test_a_list_that_is_none_is_told(far: StandIn, places: Places):
    far.files["/api/models/someone/odd/revision/main"] = Served(json.dumps([1]).encode())
    with pytest.raises(NotFound):
        fetch(Order("someone/odd"), far, places)
