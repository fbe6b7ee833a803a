"""A web service with a memory for each user, with FastAPI (`pip install fastapi uvicorn`).

`uvicorn examples.web_app:app`, then POST /chat/ada {"text": "..."}. One store serves all
users and threads. The user's name in the path stands in for whatever your app authenticates by.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from memagent import Agent, InputError, Memory, Store, load_model

store = Store(os.environ.get("MEMAGENT_STORE", "web-memory"))
model = load_model(os.environ.get("MEMAGENT_MODEL", "fake"))
app = FastAPI()


class Said(BaseModel):
    text: str


def memory_of(user: str) -> Memory:
    try:
        return store.memory("rag", user=user, session="web")
    except InputError as error:  # a name that cannot be one
        raise HTTPException(422, str(error)) from error


@app.post("/chat/{user}")
def chat(user: str, said: Said) -> dict[str, object]:
    agent = Agent(model=model, memory=memory_of(user))
    answer = agent.run(said.text)
    return {"answer": answer.text, "sources": [one.id for one in answer.recall.sources] if answer.recall else []}


@app.delete("/users/{user}")
def erase(user: str) -> dict[str, str]:
    memory_of(user).purge(everything=True)
    return {"erased": user}
