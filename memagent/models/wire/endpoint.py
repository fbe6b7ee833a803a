"""Where a server is and by which key it is asked; what may be shown of both.

An address can hold secrets itself: a password before the host, a key in the query. Neither is ever shown, and the client
that we use logs nothing, so they are in no log either.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from memagent.errors import InputError

_EXAMPLE = "Write it as http://127.0.0.1:8000/v1"
CHAT_CALL = "/chat/completions"
_SAFE = "/%?:@!$&'()*+,;=~"
"""Signs of an address that are left as they are; what is beyond ASCII, or blank, is encoded."""
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = ("content-length", "transfer-encoding")
"""Headers that say how the request itself is sent."""
_SHORTEST_SECRET = 4
"""Characters; a shorter value of a query (a version, a number) is no secret, and hiding it would garble other words."""


class Endpoint:
    """One call below a base address, by default that of the chat API, with headers of one's own.

    Raises `InputError` for an address, a key or a header that cannot be, without showing it.
    """

    def __init__(
        self, base_url: str, *, key: str = "", headers: Mapping[str, str] | None = None, call: str = CHAT_CALL
    ) -> None:
        if not isinstance(base_url, str):
            raise InputError(f"the base URL is a text, not {type(base_url).__name__}. {_EXAMPLE}")
        try:
            parts = urlsplit(base_url.strip())
            port, host = parts.port, parts.hostname or ""
        except ValueError:  # which quotes a part of the address, maybe the password
            raise InputError(f"the base URL cannot be read; its port is a number up to 65535. {_EXAMPLE}") from None
        if parts.scheme not in ("http", "https") or not _is_host(host):
            raise InputError(f"the base URL is no address of a server: it needs http:// or https:// and a host. {_EXAMPLE}")
        key = key.strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InputError("the key holds characters that no key has; copy it again, as one line")
        self.host = host if ":" in host else host.encode("idna").decode()
        place = f"{parts.scheme}://{f'[{host}]' if ':' in host else self.host}{f':{port}' if port else ''}"
        path = quote(parts.path.rstrip("/").removesuffix(CHAT_CALL), safe=_SAFE)
        self.shown = place + path
        """The address without what may be secret in it."""
        self.url = f"{place}{path}{call}{'?' if parts.query else ''}{quote(parts.query, safe=_SAFE)}"
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        if parts.username is not None:  # a proxy before the server asks for a name; there is one such header only
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        for name, value in (headers or {}).items():
            if not _TOKEN.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise InputError(f"the header {name[:40]!r} or its value holds signs that no header has")
            if name.lower() in _OURS:
                raise InputError(f"the header {name!r} is set with each request; leave it out")
            self.headers[name] = value
        values = (
            key,
            *(headers or {}).values(),
            parts.password or "",
            unquote(parts.password or ""),
            *(value for _, value in parse_qsl(parts.query)),
        )
        self._secrets = sorted({value for value in values if len(value) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def safe(self, text: str) -> str:
        """`text` with every secret of this endpoint replaced: servers and libraries quote what they were sent."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def is_loopback(url: str) -> bool:
    """Whether the server at `url` is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    try:
        return host.isprintable() and " " not in host and bool(host.encode("idna"))
    except UnicodeError:  # a label that is empty or too long
        return False
