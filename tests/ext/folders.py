"""Writes small extensions into temporary folders."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from webui.ext.discover import Found, discover
from webui.ext.host import Host
from webui.ext.state import Choice, Choices


def write_extension(
    parent: Path, id: str, main: str = "", *, head: str = "", tables: str = "", files: Mapping[str, str] | None = None
) -> Path:
    """An extension in a folder of its id. head: further lines of [extension]; tables: what follows it."""
    folder = parent / id
    folder.mkdir(parents=True, exist_ok=True)
    table = f'[extension]\nid = "{id}"\nname = "{id.title()}"\nversion = "1.0.0"\napi = "1"\n'
    manifest = f"{table}{textwrap.dedent(head)}\n{textwrap.dedent(tables)}"
    for name, text in {"extension.toml": manifest, "main.py": main, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def allowed(*ids: str) -> Choices:
    """The user's word that these may run."""
    return Choices(extensions={id: Choice(allowed=True) for id in ids})


def found_in(parent: Path) -> tuple[Found, ...]:
    """All extensions of a folder, each of them allowed."""
    return discover([parent], allowed(*(folder.name for folder in parent.iterdir())), bundled={})


def host_of(parent: Path, **options: object) -> Host:
    """A host for all extensions of a folder, each of them allowed."""
    return Host(found_in(parent), **options)  # type: ignore[arg-type]
