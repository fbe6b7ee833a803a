"""For tests, yours and ours: the contract of a memory as a suite, and a server that does what goes wrong with servers.

    from memagent.testing.contract import MemoryContract

    class TestMyMemory(MemoryContract):
        memory_class = MyMemory

needs pytest and hypothesis.

    from memagent.testing.fault_server import FaultServer

serves the faults of `memagent.testing.faults`, such as a stream that is cut, and needs nothing more. Fake models are in
`memagent.models.fake` and `memagent.models.scripted`.
"""
