"""Speaking to OpenAI-compatible servers over HTTP, without trusting what they send.

`endpoint` knows the address and its secrets, `exchange` is one call as a generator that asks for bytes and makes pieces of
text, `answer` reads those bytes, and `transport` moves them, for synchronous and for async code, by the way that `route` finds.
In asyncio, `inbox` holds what came until its call may go on, and `turns` says when that is. Only `transport` and
`inbox` do I/O.
"""
