"""An agent that remembers, in an app: run it twice."""

from memagent import Agent, Store
from memagent.models.fake import FakeModel


def main(folder: str = "mem") -> str:
    with Store(folder) as store:
        agent = Agent(model=FakeModel(), memory=store.memory("rag", user="ada"))
        agent.run("My dog is called Biscuit.")
        return agent.run("What is my dog called?").text


if __name__ == "__main__":
    print(main())
