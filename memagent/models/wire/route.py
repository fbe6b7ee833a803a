"""The way to a server: straight, or over the HTTP proxy that the environment names."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from memagent.errors import ConfigError
from memagent.models.wire.endpoint import Endpoint, is_loopback


@dataclass(frozen=True)
class Route:
    """The way to a server: straight, or over a proxy."""

    host: str
    """Where to connect to."""
    port: int
    name: str
    """The server's own host, for which its certificate is."""
    tls: bool
    target: str
    """What is asked for: a path, or for a proxy that passes on, the whole address."""
    tunnel: bytes = b""
    """What a proxy is told first, where what follows is between the server and us."""
    headers: tuple[tuple[str, str], ...] = ()
    """What is said to the proxy."""


def route_to(endpoint: Endpoint) -> Route:
    """The way to an endpoint, as the environment names it at this time."""
    parts = urlsplit(endpoint.url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    found = None if is_loopback(endpoint.url) or proxy_bypass(endpoint.host) else _proxy(parts.scheme)
    if found is None:
        return Route(endpoint.host, port, endpoint.host, tls, path)
    try:
        proxy = urlsplit(found if "//" in found else f"http://{found}")
        proxy_port = proxy.port or 80
    except ValueError:  # which quotes a part of the address, maybe the password
        raise ConfigError(
            f"the proxy that the environment names for {parts.scheme} cannot be read; write it as http://127.0.0.1:3128"
        ) from None
    login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
    said = (("Proxy-Authorization", f"Basic {base64.b64encode(login.encode()).decode()}"),) if proxy.username else ()
    place = f"[{endpoint.host}]:{port}" if ":" in endpoint.host else f"{endpoint.host}:{port}"
    lines = (f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{name}: {value}" for name, value in said), "", "")
    return Route(
        host=proxy.hostname or "",
        port=proxy_port,
        name=endpoint.host,
        tls=tls,
        target=path if tls else endpoint.url,
        tunnel="\r\n".join(lines).encode() if tls else b"",
        headers=() if tls else said,
    )


def _proxy(scheme: str) -> str | None:
    """The HTTP proxy that the environment names; others than HTTP proxies are not spoken to."""
    named = getproxies()
    found = named.get(scheme) or named.get("all")
    return None if found is None or found.startswith("socks") else found


HUNG_UP = b"\r\n\r\n"
"""Stands for the end of what a proxy said, where it says no more."""


def is_through(told: bytes) -> bool:
    """Whether a proxy has let us through; False as long as it has not said all. Raises `OSError` when it has not."""
    ended = b"\r\n\r\n" in told
    if ended and told.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionRefusedError("the proxy refuses")
    return ended
