"""An agent that remembers, in an app. The second run knows what the first was told."""

from memagent import Agent, Store


def main(folder: str = "mem") -> str:
    with Store(folder) as store:
        agent = Agent(model="embedded", memory=store.memory("rag", user="ada"))
        agent.run("My dog is called Biscuit.")
        return agent.run("What is my dog called?").text


if __name__ == "__main__":
    print(main())  # You said: “My dog is called Biscuit.”
