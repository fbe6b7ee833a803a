"""A model without a model whose calls are paid: it writes each of them to a file before it answers. Also a run of its own.

What it says depends on the request alone; some replies are nonsense, some calls fail. It claims the same seconds each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path

from memagent.environments.amemgym.run import AmemgymSettings, run
from memagent.errors import ModelError
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.cached import call_key
from memagent.models.fake import minimal_json
from memagent.types import Usage
from memagent_renderers.budget import ESTIMATE, estimate_tokens


class MeteredModel(ChatModel):
    def __init__(self, log: Path | None = None, *, name: str = "paid", delay: float = 0.0, failing: bool = True) -> None:
        self.name, self.reader = name, ESTIMATE
        self.asked: list[str] = []
        self._log, self._delay, self._failing = log, delay, failing

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        key = call_key(self.name, request)
        self.asked.append(request.messages[-1].text)
        if self._log is not None:
            with self._log.open("ab", buffering=0) as out:
                out.write(f"{key}\n".encode())
                os.fsync(out.fileno())
        time.sleep(self._delay)
        if self._failing and int(key[:4], 16) % 29 == 0:
            raise ModelError(f"refused {key[:8]}", status=400)
        text = said(request.messages[-1].text) if request.schema is None else minimal_json(request.schema)
        yield text
        read = sum(estimate_tokens(message.text) for message in request.messages)
        return Reply(
            text=text, usage=Usage(text_in=read, text_out=estimate_tokens(text), calls=1, seconds=0.125), model=self.name
        )


def said(prompt: str) -> str:
    draw = int(hashlib.sha256(prompt.encode()).hexdigest(), 16)
    if "Which of these answers" in prompt:
        if prompt.startswith("My present situation is this:\n"):
            told = json.loads(prompt.split("\n", 1)[1].split("\n\n", maxsplit=1)[0]).values()
            fitting = [line for line in prompt.splitlines() if all(value in line for value in told) and line[0].isdigit()]
            return fitting[0].split(":")[0] if fitting else "1"
        options = len(re.findall(r"^\d+: ", prompt, re.MULTILINE))
        return "I would not know." if draw % 10 == 0 else f'```json\n{{"answer": {draw % options + 1}}}\n```'
    if "which value comes closest" in prompt:
        schema = json.loads(prompt[prompt.rindex("present situation? Choose") :].split("\n", 1)[1].split("\n\n", maxsplit=1)[0])
        known = {name: values[draw % len(values)] for name, values in schema.items()}
        return "null" if draw % 10 == 0 else f"```json\n{json.dumps(known)}\n```"
    return f"Words {draw % 1000}."


def main(data: str, out: str, log: str, concurrency: str) -> None:
    """A run with a user played by the same kind of model."""
    settings = AmemgymSettings(
        model="paid",
        user_model="player",
        methods=("rag", "awi"),
        data=Path(data),
        embedder="hash",
        concurrency=int(concurrency),
    )
    model, user = MeteredModel(Path(log), delay=0.004), MeteredModel(Path(log), name="player", delay=0.004)
    run(settings, model=model, user=user, out=Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
