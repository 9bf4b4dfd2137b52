"""The wildcard files of a server, and the prompts that each picture of a job gets from them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from webui.images.form import Form
from webui.prompt.styles import Styles, read_names, with_styles, write_names
from webui.prompt.wildcards import expand, has_choices, sure_names
from webui.schema.errors import AtelierError, BadRequest, NotFound
from webui.schema.requests import Request, parse_request

LARGEST_FILE = 16_000_000
PROMPTS = {"prompt": "Template", "negative_prompt": "Negative Template"}
"""Fields of a request, and how a picture's text names what was written in them."""


class Wildcards:
    """Text files with one choice a line, by their names below the folders: `animals/cat` is animals/cat.txt.

    Names are looked up in a listing of the folders: whatever a prompt says, no other file is read. Of two files with
    one name, the one in the first folder counts.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._lines: dict[Path, tuple[str, ...]] = {}

    @classmethod
    def beside(cls, models_dir: Path) -> Wildcards:
        """Those in models/wildcards, and in the folder wildcards beside models."""
        return cls((models_dir / "wildcards", models_dir.parent / "wildcards"))

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """All of them by name, in lower case."""
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.rglob("*.txt")) if folder.is_dir() else ():
                found.setdefault(path.relative_to(folder).with_suffix("").as_posix().lower(), path)
        return found

    def lines(self, name: str) -> Sequence[str]:
        """The choices of a file: its lines but empty ones and those that begin with "#".

        Raises:
            NotFound: there is none of that name. BadRequest: it cannot be read.
        """
        path = self.find(name)
        if path not in self._lines:
            self._lines[path] = _choices(path)
        return self._lines[path]

    def find(self, name: str) -> Path:
        """The file of a name. Raises NotFound where there is none."""
        path = self.files.get(name.strip().lower())
        if path is None:
            near = difflib.get_close_matches(name.lower(), self.files, n=3, cutoff=0.5)
            known = f"The nearest names are {', '.join(near)}." if near else "Put its text file into models/wildcards."
            raise NotFound(
                f"There is no wildcard file {name[:60]!r}.", f"{known} For the letters themselves write \\__ before it."
            )
        return path


class PicturePrompts:
    """The request of each picture of a job, with its styles laid over its prompts and the choices in them made from the
    picture's seed.

    Raises:
        NotFound: there is no style of a name. BadRequest: the file of styles cannot be read.
    """

    def __init__(self, request: Request, wildcards: Wildcards, styles: Styles) -> None:
        self._written = request
        self._request = styled(request, styles) if request.styles else request
        self._wildcards = wildcards
        self._chosen = {field: text for field in PROMPTS if has_choices(text := getattr(self._request, field))}
        self._made: dict[int, Request] = {}

    def request_of(self, index: int) -> Request:
        """The request of picture `index` (from 0). Raises AtelierError where a choice cannot be made."""
        if not self._chosen:
            return self._request
        if index not in self._made:
            lines, seed = self._wildcards.lines, self._request.seed + index
            made = {field: expand(text, lines, f"{field} {seed}") for field, text in self._chosen.items()}
            self._made[index] = self._request.model_copy(update=made)
        return self._made[index]

    @property
    def templates(self) -> dict[str, str]:
        """What stands in a picture's text beside the prompts that were made: label -> prompt as it was written."""
        written, styles = self._written, write_names(self._written.styles)
        changed = [
            field for field in PROMPTS if field in self._chosen or getattr(written, field) != self._prompt(field)
        ]
        return {
            **{PROMPTS[field]: getattr(written, field) for field in changed},
            **({"Styles": styles} if styles else {}),
        }

    def _prompt(self, field: str) -> str:
        return str(getattr(self._request, field))


def styled(request: Request, styles: Styles) -> Request:
    """The request with its styles laid over its prompts. Raises as `Styles.named`."""
    prompt, negative = with_styles(request.prompt, request.negative_prompt, styles.named(request.styles))
    return request.model_copy(update={"prompt": prompt, "negative_prompt": negative})


def written_form(form: Form, models_dir: Path) -> Form:
    """A picture's form with its styles, and its prompts as they were written, where these make the same prompts here;
    otherwise as it is, with a note."""
    names = read_names(form.written.get("Styles", ""))
    if not names:
        return form
    written = {field: form.written.get(label, form.values[field]) for field, label in PROMPTS.items()}
    seed = form.values.get("seed", 0)
    try:
        request = parse_request({"kind": "txt2img", **written, "styles": names, "seed": seed})
        made = PicturePrompts(request, Wildcards.beside(models_dir), Styles.beside(models_dir)).request_of(0)
    except AtelierError:
        made = None
    if made is None or any(getattr(made, field).split() != form.values[field].split() for field in PROMPTS):
        note = f"Its styles ({', '.join(names)}) are not here as they were: their words are in the prompts."
        return replace(form, notes=(*form.notes, note))
    return replace(form, values={**form.values, **written, "styles": names})


def check_names(request: Request, models_dir: Path) -> Request:
    """The request with its styles laid over its prompts; all that these surely need is there.

    Raises:
        NotFound: there is no style, or no wildcard file, of a name. BadRequest: the file of styles cannot be read.
    """
    laid = styled(request, Styles.beside(models_dir)) if request.styles else request
    wildcards = Wildcards.beside(models_dir)
    for name in (name for field in PROMPTS for name in sure_names(getattr(laid, field))):
        wildcards.find(name)
    return laid


def _choices(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadRequest(f"The wildcard file {path.name} is over {LARGEST_FILE // 10**6} MB.", "Make it shorter.")
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise BadRequest(f"The wildcard file {path.name} cannot be read: {error.strerror}.", "Look at it.") from None
    return tuple(line for text in lines if (line := text.strip()) and not line.startswith("#"))
