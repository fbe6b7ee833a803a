"""Who counts text tokens in a bench: a real tokenizer where one is installed.

Token efficiency compares text with pictures, so text must cost what a real reader charges. The estimate of
`memagent_renderers.budget` is on the high side (English: about 3.2 characters a token, the embedded model's tokenizer 4.1) and
would cut text a quarter too short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.util import find_spec

from memagent.errors import UnknownName
from memagent_renderers.budget import estimate_tokens

Count = Callable[[str], int]
"""Text tokens of a text."""


@contextmanager
def counter(name: str = "auto") -> Iterator[tuple[str, Count]]:
    """The name of a counter and the counter: `embedded`, `estimate`, or `auto`, the first where it is installed.

    Raises `UnknownName` for another name, and `MissingExtra` for `embedded` where it is not installed.
    """
    from memagent.models.gguf import embedded_weights
    from memagent.models.registry import load_model

    if name == "auto":
        name = "embedded" if embedded_weights() is not None and find_spec("xllamacpp") is not None else "estimate"
    if name == "estimate":
        yield name, estimate_tokens
    elif name == "embedded":
        with closing(load_model("embedded", context=512, threads=1)) as model:
            yield name, lru_cache(maxsize=100_000)(model.reader.count)
    else:
        raise UnknownName(f"text tokens are counted by `auto`, `embedded` or `estimate`, not by `{name}`")
