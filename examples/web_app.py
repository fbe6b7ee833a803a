"""A web service with a memory for each user: `uvicorn examples.web_app:app`, then POST /chat/ada {"text": "..."}.

One store serves all users and threads. The user's name in the path stands in for whatever your app authenticates by.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel

from memagent import Agent, Store, load_model

store = Store(os.environ.get("MEMAGENT_STORE", "web-memory"))
model = load_model(os.environ.get("MEMAGENT_MODEL", "fake"))
app = FastAPI()


class Said(BaseModel):
    text: str


@app.post("/chat/{user}")
def chat(user: str, said: Said) -> dict[str, object]:
    agent = Agent(model=model, memory=store.memory("rag", user=user, session="web"))
    answer = agent.run(said.text)
    return {"answer": answer.text, "sources": [one.id for one in answer.recall.sources] if answer.recall else []}


@app.delete("/users/{user}")
def erase(user: str) -> dict[str, str]:
    store.memory("rag", user=user).purge(everything=True)
    return {"erased": user}
