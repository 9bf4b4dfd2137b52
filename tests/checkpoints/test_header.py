"""Headers of safetensors files: sound ones are read, all others named for what is wrong with them."""

import contextlib
import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.checkpoints.conftest import header_file
from webui.checkpoints.header import TensorInfo, read_header
from webui.schema.errors import ModelError

FOUR_BYTES = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}
TWO = {
    "a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]},
}


def error_of(path):
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert caught.value.cure
    return str(caught.value)


def test_names_shapes_and_metadata_are_read(tmp_path):
    path = header_file(tmp_path / "m.safetensors", TWO, bytes(16), {"key": "value"})
    header = read_header(path)
    assert header.tensors == {"a": TensorInfo("F16", (2, 3)), "b": TensorInfo("F32", ())}
    assert header.metadata == {"key": "value"}


def test_what_the_library_writes_is_read(tmp_path):
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool,
             torch.float8_e4m3fn)  # fmt: skip
    save_file({f"t{i}": torch.zeros(3, 2, dtype=kind) for i, kind in enumerate(kinds)}, tmp_path / "m.safetensors")
    assert {tensor.shape for tensor in read_header(tmp_path / "m.safetensors").tensors.values()} == {(3, 2)}


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path, length):
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"padding": ""})
    (own,) = struct.unpack("<Q", (tmp_path / "m.safetensors").read_bytes()[:8])
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"padding": "x" * (length - own)})
    start = (tmp_path / "m.safetensors").read_bytes()[:2]
    assert start == bytes([0x80, length >> 8])
    assert read_header(tmp_path / "m.safetensors").shape("a") == (1,)


@pytest.mark.parametrize(
    ("entry", "metadata"),
    [({**FOUR_BYTES, "shape": [float("inf")]}, None), (FOUR_BYTES, {"key": "half a letter: \ud800"})],
)
def test_numbers_and_letters_that_there_are_not_are_damage(tmp_path, entry, metadata):
    path = header_file(tmp_path / "m.safetensors", {"a": entry}, bytes(4), metadata)
    assert "is damaged" in error_of(path)


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "m.safetensors").touch()
    assert "m.safetensors is empty" in error_of(tmp_path / "m.safetensors")


def test_a_file_that_is_not_there_cannot_be_read(tmp_path):
    assert "cannot be read" in error_of(tmp_path / "m.safetensors")


def test_a_folder_cannot_be_read(tmp_path):
    assert "cannot be read" in error_of(tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_recognised_and_not_opened(tmp_path, protocol):
    import pickle

    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}, protocol))
    assert "is a pickle" in error_of(path)
    assert error_of(path).endswith("models convert m.ckpt")


def test_a_pickle_by_its_name_is_to_be_converted_as_it_is(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    assert error_of(tmp_path / "m.pt").endswith("Convert it: python3 launch.py models convert m.pt")


def test_a_torch_file_under_another_name_is_a_pickle(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    assert "is a pickle" in error_of(tmp_path / "m.safetensors")


def test_a_web_page_is_recognised(tmp_path):
    (tmp_path / "m.safetensors").write_text("\n<!DOCTYPE html><html>Log in, please</html>")
    assert "web page" in error_of(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("content", "words", "cure"),
    [
        (b"GGUF\x03\0\0\0", "is a GGUF file, which is not supported", "fp8"),
        (b"Rar!\x1a\x07", "is an archive", "Unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "is an archive", "Unpack it"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a picture", "Download"),
        (b'{"error":"Unauthorized"}', 'is a text, not a model: "{"error":"Unauthorized"}"', "login"),
        (b"Entry not found", 'is a text, not a model: "Entry not found"', "login"),
    ],
)
def test_other_files_are_known_by_their_beginning(tmp_path, content, words, cure):
    (tmp_path / "m.safetensors").write_bytes(content)
    assert words in error_of(tmp_path / "m.safetensors")
    assert cure in error_of(tmp_path / "m.safetensors")


def test_a_git_lfs_pointer_is_recognised(tmp_path):
    (tmp_path / "m.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in error_of(tmp_path / "m.safetensors")


def test_a_file_cut_off_in_its_weights_says_how_much_is_there(tmp_path):
    tensors = {"a": {"dtype": "F16", "shape": [3_000_000], "data_offsets": [0, 6_000_000]}}
    path = header_file(tmp_path / "m.safetensors", tensors, bytes(1_500_000))
    assert "cut off: it has 1.5 MB of 6.0 MB" in error_of(path)


def test_a_file_cut_off_in_its_header_is_named(tmp_path):
    path = header_file(tmp_path / "m.safetensors", TWO, bytes(16))
    path.write_bytes(path.read_bytes()[:40])
    assert "cut off" in error_of(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F16", "shape": [2], "data_offsets": [4, 8]}},
        {"a": FOUR_BYTES, "b": {"dtype": "F16", "shape": [2], "data_offsets": [2, 6]}},
        {"a": FOUR_BYTES, "b": {"dtype": "F16", "shape": [1], "data_offsets": [6, 8]}},
        {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F16", "shape": [-4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F16", "shape": "x", "data_offsets": [0, 8]}},
        {"a": {"dtype": "F16", "shape": [4]}},
        {"a": 3},
        [1, 2],
        {"__metadata__": [1]},
    ],
)  # fmt: skip
def test_a_header_that_contradicts_itself_is_damaged(tmp_path, tensors):
    path = tmp_path / "m.safetensors"
    text = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert "damaged" in error_of(path)


def test_bytes_behind_the_last_tensor_are_refused(tmp_path):
    assert "more bytes" in error_of(header_file(tmp_path / "m.safetensors", TWO, bytes(17)))


def test_a_header_of_absurd_length_is_not_read(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(100))
    assert "damaged" in error_of(tmp_path / "m.safetensors")


def test_deeply_nested_json_is_damaged(tmp_path):
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert "damaged" in error_of(tmp_path / "m.safetensors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_any_damage_is_a_model_error_or_harmless(tmp_path, data):
    path = header_file(tmp_path / "m.safetensors", TWO, bytes(16), {"key": "value"})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(ModelError):
        read_header(path)
