"""A model of your own behind the same agent: here, one that answers in capitals."""

from collections.abc import Generator

from memagent import Agent, ChatModel, ReaderProfile, Reply, Store, Usage
from memagent.models.base import Request


class Shouting(ChatModel):
    """Repeats the last line that it was given, louder."""

    def __init__(self) -> None:
        self.name = "shouting"
        self.reader = ReaderProfile(name=self.name, count=lambda text: len(text.split()), exact=True)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        text = request.messages[-1].text.splitlines()[-1].upper()
        yield text
        return Reply(text=text, usage=Usage(calls=1, text_out=self.reader.count(text)), model=self.name)


def main(folder: str = "mem") -> str:
    with Store(folder) as store:
        return Agent(model=Shouting(), memory=store.memory("rag", user="ada")).run("hello there").text


if __name__ == "__main__":
    print(main())  # HELLO THERE
