"""`OcrReader`: a model that cannot see reads pictures by OCR.

Each picture in a conversation is replaced by the text that a `PictureReader` reads in it, between `<picture>` tags that the
text cannot fake, and nothing else reaches the model:
type too small for OCR is lost, as it would be for a model that sees. The picture is charged at the price of a
vision-language model (one visual token for every 28 x 28 px, as Qwen2.5-VL), so that visual budgets mean the same with
and without sight; the text that was read is counted with the prompt.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import replace

from memagent.models.base import ChatModel, Reply, Request
from memagent.models.convert import picture_size, visual_cost
from memagent.models.threads import on_thread
from memagent.types import ImagePart, TextPart
from memagent_renderers.budget import Picture, PictureReader, text_of
from memagent_renderers.pricing import PatchPricing

_TAG = re.compile(r"[<＜](?=\s*/?\s*(?:picture|memory|system|instructions?)\b)", re.IGNORECASE)
_REMEMBERED = 64
"""Pictures whose reading is kept: a chat shows the same page again and again, and reading one takes seconds."""


def with_ocr(model: ChatModel) -> ChatModel:
    """A model that can be shown pictures: `model` itself if it sees, else `model` behind an `OcrReader`."""
    return model if model.reader.sees_images else OcrReader(model)


class OcrReader(ChatModel):
    """`model`, and the `ocr` that reads for it; None is RapidOCR, loaded at the first picture."""

    def __init__(self, model: ChatModel, *, ocr: PictureReader | None = None) -> None:
        self.model = model
        self.name = model.name
        self.small = model.small
        self.reader = replace(model.reader, sees_images=True, pricing=PatchPricing())
        self._ocr = ocr
        self._read: dict[bytes, str] = {}
        self._reading = threading.Lock()

    @property
    def ocr(self) -> PictureReader:
        if self._ocr is None:
            from memagent_renderers.ocr.rapidocr import RapidOcrReader

            self._ocr = RapidOcrReader()
        return self._ocr

    def read(self, part: ImagePart) -> str:
        """The text that OCR finds in one picture, a line for each line of the page."""
        with self._reading:
            if part.data not in self._read:
                width, height = picture_size(part)
                picture = Picture(part.data, width, height, self.reader.image_cost(width, height))
                if len(self._read) >= _REMEMBERED:
                    del self._read[next(iter(self._read))]
                self._read[part.data] = text_of(self.ocr.read(picture))
            return self._read[part.data]

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        start = time.perf_counter()
        reply = yield from self.model._stream(self._without_pictures(request))
        return self._charged(reply, request, start)

    async def _astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        start = time.perf_counter()
        asked = await on_thread("model", self._without_pictures, request)
        async with aclosing(self.model._astream(asked)) as pieces:
            async for piece in pieces:
                yield self._charged(piece, request, start) if isinstance(piece, Reply) else piece

    def _without_pictures(self, request: Request) -> Request:
        messages = []
        for message in request.messages:
            if isinstance(message.content, str) or not message.images:
                messages.append(message)
                continue
            texts = [self._delimited(part) if isinstance(part, ImagePart) else part.text for part in message.content]
            messages.append(message.model_copy(update={"content": (TextPart(text="\n".join(texts)),)}))
        return replace(request, messages=tuple(messages))

    def _delimited(self, part: ImagePart) -> str:
        """What a picture says, marked as what it is: a page may print anything, the marks of a prompt too."""
        return f"<picture>\n{_TAG.sub('‹', self.read(part))}\n</picture>"

    def _charged(self, reply: Reply, request: Request, start: float) -> Reply:
        spent = {"visual": visual_cost(request.messages, self.reader), "seconds": time.perf_counter() - start}
        return reply.model_copy(update={"usage": reply.usage.model_copy(update=spent)})

    def close(self) -> None:
        self.model.close()
