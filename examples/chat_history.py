"""A conversation as OpenAI-style APIs keep it, remembered and asked about later, in async code."""

import asyncio

from memagent import AsyncAgent, AsyncStore

HISTORY = [
    {"role": "developer", "content": "You are a friendly assistant."},
    {"role": "user", "content": "I moved to Lyon last spring."},
    {"role": "assistant", "content": "Lyon is lovely. Do you have pets?"},
    {"role": "user", "content": [{"type": "text", "text": "Yes, my dog is called Biscuit."}]},
]


async def main(folder: str = "mem") -> str:
    async with AsyncStore(folder) as store:
        memory = store.memory("rag", user="ada")
        await memory.add(HISTORY)
        async with AsyncAgent(model="embedded", memory=memory) as agent:
            return (await agent.run("What is my dog called?")).text


if __name__ == "__main__":
    print(asyncio.run(main()))  # You said today: “… my dog is called Biscuit.”
