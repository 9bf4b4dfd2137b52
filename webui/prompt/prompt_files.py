"""The files that prompts name: styles and wildcards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PromptFiles:
    """styles: CSV files; wildcards: folders of text files. What stands in the first one counts."""

    styles: tuple[Path, ...] = ()
    wildcards: tuple[Path, ...] = ()

    @classmethod
    def of(cls, where: Path | PromptFiles) -> PromptFiles:
        """Those of a folder of models alone; files as they are."""
        return where if isinstance(where, PromptFiles) else cls.beside(where)

    @classmethod
    def beside(cls, models_dir: Path) -> PromptFiles:
        """Those beside the folder models, as A1111 has it, and in it."""
        return cls(
            (models_dir.parent / "styles.csv", models_dir / "styles.csv"),
            (models_dir / "wildcards", models_dir.parent / "wildcards"),
        )

    def __add__(self, other: PromptFiles) -> PromptFiles:
        return PromptFiles(self.styles + other.styles, self.wildcards + other.wildcards)
