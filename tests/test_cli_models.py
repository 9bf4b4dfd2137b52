"""`models info` and `models download`, as typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fetch.stand_in import Served, StandIn, stand_in
from tests.modelfiles.files import write_lora
from webui import cli


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A machine that stands in for the hub."""
    with stand_in() as one:
        monkeypatch.setenv("HF_ENDPOINT", one.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield one


def run(tmp_path: Path, *arguments: str) -> int:
    folders = (f"--models-dir={tmp_path / 'models'}", f"--data-dir={tmp_path / 'data'}")
    return cli.main(["models", *arguments, *folders])


def test_a_download_says_where_the_file_is(far: StandIn, tmp_path: Path, capsys: Any):
    data = write_lora(tmp_path / "x.safetensors").read_bytes()
    far.serve_repository("someone/style", {"style.safetensors": data})
    assert run(tmp_path, "download", "someone/style", "--to", "Lora/new") == 0
    place = tmp_path / "models" / "Lora" / "new" / "style.safetensors"
    assert capsys.readouterr().out == f"style.safetensors (LoRA) is in models/Lora/new.\n{place}\n"
    assert place.read_bytes() == data


def test_a_token_reaches_its_host_and_nobody_is_told_of_it(
    far: StandIn, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATELIER_TOKEN", "secret")
    far.files["/style.safetensors"] = Served(write_lora(tmp_path / "x.safetensors").read_bytes(), token="secret")
    assert run(tmp_path, "download", f"{far.url}/style.safetensors?token=hidden") == 0
    monkeypatch.setenv("ATELIER_TOKEN", "wrong-secret")
    assert run(tmp_path, "download", f"{far.url}/style.safetensors?token=hidden", "--name=b.safetensors") == 1
    told = capsys.readouterr()
    assert "does not give this file to everybody" in told.err
    assert "secret" not in told.err + told.out
    assert "hidden" not in told.err + told.out
    kept = "".join(path.read_text(errors="ignore") for path in (tmp_path / "models").rglob("*.json"))
    assert "hidden" not in kept


@pytest.mark.parametrize("by", ["option", "HF_HUB_OFFLINE"])
def test_offline_is_said_at_once(far: StandIn, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, by: str):
    option = ["--offline"] if by == "option" else []
    if by != "option":
        monkeypatch.setenv(by, "1")
    assert run(tmp_path, "download", "someone/style", *option) == 2
    assert "told to stay offline" in capsys.readouterr().err
    assert far.asked == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sha256", "12"), "A sha256 has 64 digits"),
        (("--to", "Elsewhere"), '"Elsewhere" is no folder of models'),
        (("--name", "../x"), "is no name for a file"),
    ],
)
def test_a_mistake_costs_one_line(far: StandIn, tmp_path: Path, capsys: Any, arguments: tuple[str, ...], message: str):
    assert run(tmp_path, "download", "someone/style", *arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert far.asked == []


def test_a_model_is_told_of_by_name_and_by_path(tmp_path: Path, capsys: Any):
    path = write_lora(tmp_path / "models" / "Lora" / "sub" / "Style.safetensors", {"ss_network_dim": "16"})
    for name in ("style", "sub/Style", "sub/style.safetensors", str(path)):
        assert run(tmp_path, "info", name) == 0
        lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        assert ["name", "sub/Style"] in lines
        assert ["network", "dim 16"] in [[first, " ".join(rest.split())] for first, rest in lines]


def test_as_json_it_can_be_read_by_programs(tmp_path: Path, capsys: Any):
    path = write_lora(tmp_path / "models" / "Lora" / "style.safetensors", {"ss_network_dim": "16"})
    assert run(tmp_path, "info", "style", "--json", "--hash") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["facts"]["kind"], told["training"]["network_dim"]) == ("LoRA", "16")
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_that_is_not_there_is_told_with_what_is_near(tmp_path: Path, capsys: Any):
    write_lora(tmp_path / "models" / "Lora" / "style.safetensors")
    assert run(tmp_path, "info", "sty") == 2
    assert "There is no model 'sty'. Is it one of: style?" in capsys.readouterr().err
    outside = write_lora(tmp_path / "other.safetensors")
    assert run(tmp_path, "info", str(outside)) == 2
    assert "lies in no folder of models" in capsys.readouterr().err
