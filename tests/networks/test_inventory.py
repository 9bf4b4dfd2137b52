"""What the command line lists of the models folder."""

from __future__ import annotations

from pathlib import Path

from tests.checkpoints.tiny_files import write_taesd
from tests.networks.files import header_only, kohya
from tests.support import write_tiny_checkpoint
from webui.networks.library import Library


def test_all_kinds_of_files_are_listed_with_what_they_are(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors")
    header_only(tmp_path / "VAE" / "odd.safetensors", {"a": (1,)})
    write_taesd(tmp_path / "VAE-approx")
    layers = kohya(["lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"], 320, 768)
    header_only(tmp_path / "Lora" / "ink.safetensors", layers)
    header_only(tmp_path / "embeddings" / "one.safetensors", {"<one>": (768,)})
    header_only(tmp_path / "embeddings" / "two.safetensors", {"clip_l": (2, 768), "clip_g": (2, 1280)})
    shapes = {"768.k.linear.0.weight": (1536, 768), "768.k.linear.0.bias": (1536,)}
    shapes |= {"768.k.linear.1.weight": (768, 1536), "768.k.linear.1.bias": (768,)}
    shapes |= {name.replace(".k.", ".v."): shape for name, shape in shapes.items()}
    header_only(tmp_path / "hypernetworks" / "hyper.safetensors", shapes)
    (tmp_path / "hypernetworks" / "old.pt").write_bytes(b"PK\x03\x04")
    found = {item.name: item.said for item in Library.of(tmp_path).items()}
    assert list(found) == ["tiny", "odd", "taesd_decoder", "ink", "one", "two", "hyper", "old"]
    assert found["tiny"] == "checkpoint, SD 1.x"
    assert "no VAE" in found["odd"]
    assert found["taesd_decoder"] == "tiny autoencoder for previews, SD 1.x, SD 2.x"
    assert found["ink"] == "LoRA, SD 1.x"
    assert found["one"] == "embedding, 1 vector, SD 1.x"
    assert found["two"] == "embedding, 2 vectors, SDXL"
    assert found["hyper"].startswith("hypernetwork")
    assert "models convert" in found["old"]
    assert all(item.bytes > 0 for item in Library.of(tmp_path).items())
