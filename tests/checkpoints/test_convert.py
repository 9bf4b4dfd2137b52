"""Pickles become safetensors in a process of their own, and none of their code runs."""

import ast
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import webui
from webui.checkpoints.convert import convert_checkpoint, main
from webui.schema.errors import ModelError


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def error_of(path):
    with pytest.raises(ModelError) as caught:
        convert_checkpoint(path)
    assert caught.value.cure
    assert not path.with_suffix(".safetensors").exists()
    assert not list(path.parent.glob(".*"))
    return caught.value.message


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("nest", [None, "state_dict", "params_ema"])
def test_the_tensors_of_a_pickle_are_written_as_safetensors(tmp_path, zipped, nest):
    weight = torch.randn(3, 4)
    tensors = {"a": weight, "shared": weight, "turned": weight.t(), "count": 3}
    path = tmp_path / "m.ckpt"
    torch.save({nest: tensors, "epoch": 1} if nest else tensors, path, _use_new_zipfile_serialization=zipped)
    assert main(path, tmp_path / "m.safetensors") == 0
    found = load_file(tmp_path / "m.safetensors")
    assert found.keys() == {"a", "shared", "turned"}
    assert torch.equal(found["turned"], weight.t())


def test_the_new_file_lies_beside_the_pickle_which_stays(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "m.v2.ckpt")
    assert convert_checkpoint(tmp_path / "m.v2.ckpt") == tmp_path / "m.v2.safetensors"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.v2.ckpt", "m.v2.safetensors"]


@pytest.mark.parametrize("form", ["zip", "old", "plain"])
def test_code_in_a_pickle_does_not_run(tmp_path, form):
    marker, path = tmp_path / "ran", tmp_path / "m.ckpt"
    content = {"state_dict": {"a": torch.zeros(1), "b": Evil(marker)}}
    if form == "plain":
        path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    message = error_of(path)
    assert "holds more than tensors" in message
    assert "system" in message
    assert not marker.exists()


def test_settings_of_the_training_program_of_sd1_are_passed_over(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning"})
    monkeypatch.setitem(sys.modules, "pytorch_lightning", module)
    callback = module.ModelCheckpoint()
    callback.best = 1
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "callbacks": {module.ModelCheckpoint: callback}}, tmp_path / "m.ckpt"
    )
    assert torch.equal(load_file(convert_checkpoint(tmp_path / "m.ckpt"))["a"], torch.ones(2))


def test_a_damaged_pickle_is_a_model_error(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:600])
    assert "is damaged" in error_of(path)


def test_a_pickle_without_tensors_is_no_model(tmp_path, capsys):
    torch.save({"a": 1}, tmp_path / "m.pt")
    assert main(tmp_path / "m.pt", tmp_path / "m.safetensors") != 0
    assert "no tensors" in capsys.readouterr().err


def test_a_file_that_is_not_there_or_no_pickle_is_named(tmp_path):
    assert "There is no file" in error_of(tmp_path / "m.ckpt")
    assert "no pickle by its name" in error_of(tmp_path / "m.txt")


def test_a_file_that_is_there_already_is_kept(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.ckpt")
    (tmp_path / "m.safetensors").write_bytes(b"mine")
    with pytest.raises(ModelError, match="there already"):
        convert_checkpoint(tmp_path / "m.ckpt")
    assert (tmp_path / "m.safetensors").read_bytes() == b"mine"


def test_a_conversion_that_takes_too_long_ends(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.ckpt")
    with pytest.raises(ModelError, match=r"over 0\.01 seconds"):
        convert_checkpoint(tmp_path / "m.ckpt", timeout=0.01)


def unsafe_uses(tree):
    """Calls and imports that could unpickle something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ("torch.load", "torch.hub", "np.load", "numpy.load", "joblib.load"):
                yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in PICKLERS)
        elif isinstance(node, ast.ImportFrom) and node.module in PICKLERS:
            yield node.module


PICKLERS = ("pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib")


def test_nothing_but_the_conversion_reads_pickles():
    root = Path(webui.__file__).parent
    uses = {
        path.relative_to(root).as_posix(): found
        for path in sorted(root.rglob("*.py"))
        if (found := list(unsafe_uses(ast.parse(path.read_text()))))
    }
    assert uses == {"checkpoints/convert.py": ["pickle", "torch.load"]}


def test_the_conversion_reads_weights_only():
    tree = ast.parse((Path(webui.__file__).parent / "checkpoints" / "convert.py").read_text())
    loads = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"
    ]
    assert [[(k.arg, ast.unparse(k.value)) for k in node.keywords] for node in loads] == [
        [("map_location", "'cpu'"), ("weights_only", "True")]
    ]


@pytest.mark.parametrize("holder", [dict, torch.nn.ParameterDict], ids=["dict", "module"])
def test_an_embeddings_pickle_becomes_the_vectors_of_its_word(tmp_path, holder):
    vectors = torch.nn.Parameter(torch.randn(3, 8))
    saved = {"string_to_token": {"*": 265}, "string_to_param": holder({"*": vectors}), "name": "cat", "step": 500}
    torch.save(saved, tmp_path / "cat.pt")
    assert main(tmp_path / "cat.pt", tmp_path / "cat.safetensors") == 0
    found = load_file(tmp_path / "cat.safetensors")
    assert found.keys() == {"emb_params"}
    assert torch.equal(found["emb_params"], vectors)
