"""For tests, yours and ours: the contract of a memory as a suite, and an exact reader.

    from memagent.testing.contract import MemoryContract

    class TestMyMemory(MemoryContract):
        memory_class = MyMemory

needs pytest and hypothesis. Fake models are in `memagent.models.fake` and `memagent.models.scripted`.
"""
