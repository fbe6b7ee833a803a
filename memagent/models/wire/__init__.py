"""Speaking to OpenAI-compatible servers over HTTP, without trusting what they send.

`endpoint` knows the address and its secrets, `exchange` is one call as a generator that asks for bytes and makes pieces of
text, `answer` reads those bytes, and `transport` moves them, for synchronous and for async code. Only `transport` does I/O.
"""
