"""After each picture: how like the prompt it is, and what it shows. Likeness is its rank among those of the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clip import folder_of, open_clip, spoken
from .describe import describe, vectors

if TYPE_CHECKING:
    from webui.ext import JobContext, PictureContext


def prepare_job(job: JobContext) -> None:
    """Refuse what would fail after the drawing: a model that is not there."""
    if job.params["compare"] or job.params["describe"]:
        folder_of(job.models, job.params["model"])


def on_image(img: PictureContext) -> None:
    """Write into the picture's text what was asked for."""
    params, models = img.params, img.job.models
    if not (params["compare"] or params["describe"]):
        return
    clip = open_clip(models, params["model"])
    (vector,) = clip.of_images([img.image])
    if params["compare"]:
        said = spoken(params["words"] or img.job.request.prompt)
        if not clip.reads_all(said):
            img.job.note("The prompt is longer than CLIP reads: pictures were compared with its beginning.")
        (text,) = clip.of_texts([said])
        likeness = float(vector @ text)
        img.infotext["CLIP likeness"] = round(likeness, 4)
        img.rank = likeness if params["order"] else None
    if params["describe"]:
        img.infotext["CLIP description"] = describe(clip, vector, vectors(clip, models, params["model"])).text
