"""The wildcard files of a server, and the prompts that each picture of a job gets from them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from pathlib import Path

from webui.images.form import Form
from webui.prompt.prompt_files import PromptFiles
from webui.prompt.styles import Style, Styles, laid_over, read_names, write_names
from webui.prompt.wildcards import expand, has_choices, written_names
from webui.schema.errors import AtelierError, BadRequest, NotFound
from webui.schema.requests import Request, Txt2Img, parse_request

LARGEST_FILE = 16_000_000
MOST_CHECKED = 256
"""So many pictures of a job have their choices made before it is taken in; later ones when it comes to them."""
PROMPTS = {
    "prompt": "Template",
    "negative_prompt": "Negative Template",
    "hr_prompt": "Hires Template",
    "hr_negative_prompt": "Hires Negative Template",
}
"""Fields of a request, and how a picture's text names what was written in them."""
HIRES = {"hr_prompt": "Hires prompt", "hr_negative_prompt": "Hires negative prompt"}
"""How a picture's text names the prompts that its hires pass has for its own."""


class Wildcards:
    """Text files with one choice a line, by their names below the folders: `animals/cat` is animals/cat.txt.

    Names are looked up in a listing of the folders: whatever a prompt says, no other file is read. Of two files with
    one name, the one in the first folder counts.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._lines: dict[Path, tuple[str, ...]] = {}

    @classmethod
    def beside(cls, where: Path | PromptFiles) -> Wildcards:
        """Those in a folder of models and beside it, or those of all places."""
        return cls(PromptFiles.of(where).wildcards)

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
        prompts = prompts_of(self._request)
        self._chosen = {field: text for field, text in prompts.items() if has_choices(text)}
        self._changed = [field for field in prompts if field in self._chosen or self._is_styled(field)]
        self._made: dict[int, Request] = {}

    def request_of(self, index: int) -> Request:
        """The request of picture `index` (from 0). Raises AtelierError where a choice cannot be made."""
        if not self._chosen:
            return self._request
        if index not in self._made:
            lines, seed = self._wildcards.lines, self._request.seed + index
            made = {field: expand(text, lines, f"{_first(field)} {seed}") for field, text in self._chosen.items()}
            self._made[index] = self._request.model_copy(update=made)
        return self._made[index]

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts, choices and all."""
        return tuple(prompts_of(self._request).values())

    @property
    def differ(self) -> bool:
        """Whether there are choices in them, so that each picture has its own."""
        return bool(self._chosen)

    def labels(self, index: int) -> dict[str, str]:
        """What stands in the text of a picture beside the prompts of its first pass: those of its hires pass as they
        were made, and all of them as they were written where that is another."""
        made, styles = self.request_of(index), write_names(self._written.styles)
        return {
            **{HIRES[field]: getattr(made, field) for field in self._changed if field in HIRES},
            **{PROMPTS[field]: getattr(self._written, field) for field in self._changed},
            **({"Styles": styles} if styles else {}),
        }

    def _is_styled(self, field: str) -> bool:
        return bool(getattr(self._written, field) != getattr(self._request, field))


def prompts_of(request: Request) -> dict[str, str]:
    """The prompts of a request that have a say: field -> text. Those of a hires pass where it has its own."""
    own = isinstance(request, Txt2Img) and request.enable_hr
    fields = {field: getattr(request, field) for field in PROMPTS if own or field not in HIRES}
    return {field: text for field, text in fields.items() if text or field not in HIRES}


def styled(request: Request, styles: Styles) -> Request:
    """The request with its styles laid over its prompts. Raises as `Styles.named`."""
    found = styles.named(request.styles)
    laid = {field: reduce(laid_over, _texts(found, field), text) for field, text in prompts_of(request).items()}
    return request.model_copy(update=laid)


def written_form(form: Form, where: Path | PromptFiles) -> Form:
    """A picture's form with its styles, and its prompts as they were written, where these make the same prompts here;
    otherwise as it is, with a note."""
    names = read_names(form.written.get("Styles", ""))
    if not names:
        return form
    written = {field: form.written.get(label, form.values.get(field, "")) for field, label in PROMPTS.items()}
    more = {name: form.values[name] for name in ("seed", "enable_hr") if name in form.values}
    try:
        request = parse_request({"kind": "txt2img", **written, "styles": names, "seed": 0, **more})
        made = PicturePrompts(request, Wildcards.beside(where), Styles.beside(where)).request_of(0)
    except AtelierError:
        made = None
    if made is None or any(text.split() != form.values[field].split() for field, text in prompts_of(made).items()):
        note = f"Its styles ({', '.join(names)}) are not here as they were: their words are in the prompts."
        return replace(form, notes=(*form.notes, note))
    return replace(form, values={**form.values, **written, "styles": names})


def checked_prompts(request: Request, where: Path | PromptFiles) -> Iterator[Request]:
    """The request of each picture as it will be drawn, up to `MOST_CHECKED` of them, each with other prompts than those
    before it; none where the seed is open and the prompts depend on it.

    Raises:
        NotFound: there is no style of a name, or no wildcard file of one that stands in the prompts, in choices within
            choices too, or in a line that one of these pictures takes.
        BadRequest: a file cannot be read, or the choices of one of these pictures have no end.
    """
    wildcards = Wildcards.beside(where)
    prompts = PicturePrompts(request, wildcards, Styles.beside(where))
    for name in (name for text in prompts.texts for name in written_names(text)):
        wildcards.find(name)
    if prompts.differ and request.seed < 0:
        return
    count = min(request.n_iter * request.batch_size, MOST_CHECKED) if prompts.differ else 1
    made = (prompts.request_of(index) for index in range(count))
    yield from {tuple(prompts_of(one).items()): one for one in made}.values()


def _first(field: str) -> str:
    """The prompt of the first pass that stands where this one is empty: both make the same choices."""
    return field.removeprefix("hr_")


def _texts(styles: Sequence[Style], field: str) -> list[str]:
    return [getattr(style, _first(field)) for style in styles]


def _choices(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadRequest(f"The wildcard file {path.name} is over {LARGEST_FILE // 10**6} MB.", "Make it shorter.")
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise BadRequest(f"The wildcard file {path.name} cannot be read: {error.strerror}.", "Look at it.") from None
    return tuple(line for text in lines if (line := text.strip()) and not line.startswith("#"))
