"""Every error that a user can cause: what went wrong, where, and the cure."""

from __future__ import annotations

from typing import Any, ClassVar


class AtelierError(Exception):
    """An error with a cause and a cure, the same in the page, REST and the command line.

    `code` is a stable slug for programs; `status` is the HTTP status a face answers with.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()

    def to_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "cure": self.cure}

    @staticmethod
    def from_json(data: dict[str, Any]) -> AtelierError:
        """The error that another process described; an unknown code becomes a plain `AtelierError`."""
        kind = _BY_CODE.get(str(data.get("code")), AtelierError)
        return kind(str(data.get("message", "")), str(data.get("cure", "")))


class BadRequest(AtelierError):
    """A field is missing, out of bounds or contradicts another."""

    code = "bad_request"
    status = 422


class BadImage(AtelierError):
    """A picture that cannot be read or used."""

    code = "bad_image"
    status = 422


class NotFound(AtelierError):
    """A job, picture or model that does not exist (or belongs to somebody else)."""

    code = "not_found"
    status = 404


class AlreadyThere(AtelierError):
    """Something of this name that nobody asked to replace."""

    code = "already_there"
    status = 409


class ModelError(AtelierError):
    """A model file that cannot be loaded: truncated, of another kind, missing parts."""

    code = "bad_model"
    status = 422


class QueueFull(AtelierError):
    """Too many jobs wait already."""

    code = "queue_full"
    status = 503


class NumericError(AtelierError):
    """NaN or infinity came out of the model."""

    code = "not_a_number"
    status = 500


class OutOfMemory(AtelierError):
    """The device has not enough memory for this job."""

    code = "out_of_memory"
    status = 507


class EngineDied(AtelierError):
    """The engine process ended or hung in the middle of a job."""

    code = "engine_died"
    status = 500


class DiskError(AtelierError):
    """A file could not be written."""

    code = "disk"
    status = 507


class Forbidden(AtelierError):
    """The user may not do this here."""

    code = "forbidden"
    status = 403


class ManifestError(AtelierError):
    """An extension's `extension.toml` is missing or says something that cannot be."""

    code = "bad_manifest"
    status = 422


class ExtensionError(AtelierError):
    """An enabled extension failed; the message names it and the place in its code."""

    code = "extension"
    status = 500


_BY_CODE: dict[str, type[AtelierError]] = {
    kind.code: kind
    for kind in (
        BadRequest, BadImage, NotFound, AlreadyThere, ModelError, QueueFull, NumericError, OutOfMemory, EngineDied,
        DiskError, Forbidden, ManifestError, ExtensionError,
    )
}  # fmt: skip
