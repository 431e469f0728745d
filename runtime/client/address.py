"""Addresses of served models: `triton://host:8001/name[/version]` (gRPC), `triton+http://host:8000/name[/version]`;
with TLS `tritons://` and `tritons+http://`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from runtime.errors import InputError

# scheme: (protocol, TLS, port)
SCHEMES = {
    "triton": ("grpc", False, 8001),
    "triton+grpc": ("grpc", False, 8001),
    "tritons": ("grpc", True, 8001),
    "tritons+grpc": ("grpc", True, 8001),
    "triton+http": ("http", False, 8000),
    "tritons+http": ("http", True, 443),
    "triton+https": ("http", True, 443),
}
_FORM = "an address is triton://host:8001/name, or triton+http://host:8000/name, with /version behind it if you like"


@dataclass(frozen=True)
class Address:
    """Where a model is served. version: "" for the one that the server chooses."""

    protocol: str  # "grpc" or "http"
    tls: bool
    host: str
    port: int
    model: str
    version: str = ""

    @property
    def server(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_address(model: object) -> bool:
    """Whether `model` is meant as an address of a served model."""
    return isinstance(model, str) and re.match(r"tritons?(\+\w+)?://", model) is not None


def parse_address(text: str) -> Address:
    """The parts of an address. Raises `InputError`."""
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise InputError(f"{text}: unknown scheme {parts.scheme!r}, use one of {', '.join(SCHEMES)}")
    protocol, tls, usual = SCHEMES[parts.scheme]
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    try:
        port = parts.port or usual
    except ValueError as error:
        raise InputError(f"{text}: {error}; {_FORM}") from error
    if parts.username is not None:
        raise InputError("an address has no user or password in it: pass token=... or headers={...}")
    if not parts.hostname or not path or len(path) > 2 or parts.query or parts.fragment:
        raise InputError(f"{text}: {_FORM}")
    if len(path) == 2 and not path[1].isdecimal():
        raise InputError(f"{text}: the version is a number, not {path[1]!r}")
    return Address(protocol, tls, parts.hostname, port, path[0], path[1] if len(path) == 2 else "")
