"""From decoded pixels to the pictures that a job hands out, as the hooks of extensions leave them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from PIL.Image import Image
from torch import Tensor

from webui.engine.telling import Telling
from webui.ext.contexts import JobData
from webui.ext.session import Session
from webui.networks.acted import ActedFile, Hashes
from webui.pipeline.tensors import tensor_to_image
from webui.pipeline.work import DecodeLatent, Picture, Texts
from webui.prompt.picture_prompts import PicturePrompts
from webui.schema.events import ImageReady
from webui.schema.resolve import image_seeds


class Delivery:
    """One job's. session: None where no extension takes part; prompts: those of each picture;
    hashes: of the files that have a part in one."""

    def __init__(
        self,
        data: JobData,
        session: Session | None,
        telling: Telling,
        prompts: PicturePrompts | None = None,
        hashes: Hashes | None = None,
    ) -> None:
        self._data = data
        self._prompts = prompts
        self._session = session
        self._telling = telling
        self._hashes = hashes or Hashes()
        self._acted: dict[int, dict[ActedFile, None]] = {}
        self._extras: dict[int, list[tuple[str, Tensor]]] = {}

    def hooked(self, items: Sequence[DecodeLatent], images: Sequence[Tensor]) -> list[Tensor]:
        """Pictures (3 h w) as `after_decode` leaves them; what it adds is handed out beside them."""
        hooked = []
        for item, image in zip(items, images, strict=True):
            if self._session is not None and item.picture is not None:
                image, self._extras[item.picture] = self._session.decoded(item.picture, image)
            hooked.append(image)
        return hooked

    def answered(self, index: int, answer: Any) -> None:
        """What is told to a pass: the files that have a part in its picture go into the picture's text."""
        if isinstance(answer, Texts):
            self._acted.setdefault(index, {}).update(dict.fromkeys(answer.acted))

    def deliver(self, index: int, picture: Picture) -> None:
        """Hand out a picture, and those that extensions made beside it."""
        for note in picture.notes:
            self._telling.note(note)
        infotext = {**self._hash_labels(index), **picture.infotext}
        self._hand_out(index, picture.image, infotext)
        for owner, extra in self._extras.pop(index, ()):
            self._hand_out(index, tensor_to_image(extra), {**infotext, "Made by": owner})

    def _hash_labels(self, index: int) -> dict[str, str]:
        """Of the files that had a part in a picture. A large one takes seconds when it is read for the first time."""
        acted = self._acted.pop(index, {})
        if not acted:
            return {}
        names = ", ".join(file.name for file in acted)
        return self._telling.timed(f"hash {names}", partial(self._hashes.labels, acted))

    def _hand_out(self, index: int, image: Image, infotext: dict[str, Any]) -> None:
        """A picture as `on_image` leaves it, if it leaves it."""
        request, rank = self._data.request, None
        if self._prompts is not None:
            request, infotext = self._prompts.request_of(index), {**self._prompts.labels(index), **infotext}
        seed, subseed = image_seeds(request, index)
        if self._session is not None:
            found = self._telling.timed("on_image", partial(self._session.picture, image, index, seed, infotext))
            if found is None:
                return
            image, infotext, rank = found.image, found.infotext, found.rank
        event = ImageReady(
            job_id=self._telling.job_id, index=index, seed=seed, subseed=subseed, width=image.width,
            height=image.height, prompt=request.prompt, negative_prompt=request.negative_prompt, infotext=infotext,
            rank=rank,
        )  # fmt: skip
        self._telling.event(event, image.convert("RGB").tobytes())
