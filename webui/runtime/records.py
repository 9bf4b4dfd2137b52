"""Jobs and pictures as rows: what is still known after a restart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row

from webui.runtime.database import Database
from webui.schema.results import ImageInfo, JobView


@dataclass(frozen=True)
class SavedImage:
    """A picture, whose it is, and its file."""

    info: ImageInfo
    owner: str
    path: Path


class Records:
    """The rows behind jobs and pictures. Every method may raise DiskError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, view: JobView, key: str | None) -> None:
        """A new job. key: as given at submission, unique for its owner."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, owner, key, state, view) VALUES (?, ?, ?, ?, ?)",
                (view.id, view.owner, key, view.state, _as_text(view)),
            )

    def save(self, view: JobView) -> None:
        """What has changed in a job, but for its pictures."""
        with self._database.transaction() as connection:
            values = (view.state, _as_text(view), view.id)
            connection.execute("UPDATE jobs SET state = ?, view = ? WHERE id = ?", values)

    def by_key(self, owner: str, key: str) -> str | None:
        """The id of the job that this owner submitted under this key."""
        rows = self._database.rows("SELECT id FROM jobs WHERE owner = ? AND key = ?", (owner, key))
        return rows[0]["id"] if rows else None

    def job(self, job_id: str) -> JobView | None:
        found = self._views(self._database.rows("SELECT * FROM jobs WHERE id = ?", (job_id,)))
        return found[0] if found else None

    def newest(self, owner: str, limit: int, before: str | None = None) -> list[JobView]:
        """The owner's jobs, newest first; `before`: only those older than this job."""
        return self._views(self._page("jobs", owner, limit, before))

    def unfinished(self) -> list[JobView]:
        """Jobs that waited or ran, in the order of their submission."""
        query = "SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY number"
        return self._views(self._database.rows(query))

    def add_image(self, image: SavedImage) -> None:
        info = image.info
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO images (id, job_id, owner, path, info) VALUES (?, ?, ?, ?, ?)",
                (info.id, info.job_id, image.owner, str(image.path), info.model_dump_json()),
            )

    def image(self, image_id: str) -> SavedImage | None:
        rows = self._database.rows("SELECT * FROM images WHERE id = ?", (image_id,))
        return SavedImage(_info(rows[0]), rows[0]["owner"], Path(rows[0]["path"])) if rows else None

    def newest_images(self, owner: str, limit: int, before: str | None = None) -> list[ImageInfo]:
        """The owner's pictures, newest first; `before`: only those older than this picture."""
        return [_info(row) for row in self._page("images", owner, limit, before)]

    def used_models(self, limit: int = 50) -> list[str]:
        """The checkpoints of jobs, the one that was used last first."""
        query = (
            "SELECT json_extract(view, '$.request.model') AS model FROM jobs GROUP BY model ORDER BY max(number) DESC "
            "LIMIT ?"
        )
        return [row["model"] for row in self._database.rows(query, [limit]) if row["model"]]

    def _page(self, table: str, owner: str, limit: int, before: str | None) -> list[Row]:
        query = f"SELECT * FROM {table} WHERE owner = ?"
        values: list[str | int] = [owner]
        if before is not None:
            query += f" AND number < (SELECT number FROM {table} WHERE id = ?)"
            values.append(before)
        return self._database.rows(f"{query} ORDER BY number DESC LIMIT ?", [*values, limit])

    def _views(self, rows: Sequence[Row]) -> list[JobView]:
        """Rows of jobs -> views, each with its pictures."""
        ids = [row["id"] for row in rows]
        images: dict[str, list[ImageInfo]] = defaultdict(list)
        marks = ", ".join("?" * len(ids))
        for row in self._database.rows(f"SELECT * FROM images WHERE job_id IN ({marks}) ORDER BY number", ids):
            images[row["job_id"]].append(_info(row))
        views = (JobView.model_validate_json(row["view"]) for row in rows)
        return [view.model_copy(update={"images": tuple(images[view.id])}) for view in views]


def _as_text(view: JobView) -> str:
    return view.model_dump_json(exclude={"images", "position"})


def _info(row: Row) -> ImageInfo:
    return ImageInfo.model_validate_json(row["info"])
