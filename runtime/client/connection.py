"""How a served model is reached, and what both protocols offer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.client.address import Address
from runtime.client.errors import TryAgainError
from runtime.errors import InputError

Arrays = dict[str, NDArray[Any]]
Answer = TypeVar("Answer")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds


@dataclass(frozen=True)
class Connection:
    """request_timeout: seconds that one request may take, None for no limit. retries: further tries when the server is
    busy or away. ssl_ca, ssl_cert, ssl_key: PEM files; the system's authorities without."""

    headers: Mapping[str, str] = field(default_factory=dict)
    request_timeout: float | None = 300.0
    retries: int = 3
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    def try_often(self, action: Callable[[], Answer]) -> Answer:
        """Run `action`, again after a growing pause while it raises `TryAgainError`; then the error for people."""
        for attempt in range(self.retries + 1):
            try:
                return action()
            except TryAgainError as error:
                if attempt == self.retries:
                    raise error.final() from error
            # Clients that were refused together should not come back together.
            time.sleep(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")


def make_connection(headers: Mapping[str, str] | None = None, token: str | None = None, **settings: Any) -> Connection:
    """Checked settings; token: sent as `Authorization: Bearer ...`. Raises `InputError`."""
    if not isinstance(headers, Mapping | None) or any(not isinstance(v, str) for v in (headers or {}).values()):
        raise InputError("headers is a dict of texts, such as {'X-Api-Key': '...'}")
    timeout, retries = settings.get("request_timeout", 1.0), settings.get("retries", 0)
    if timeout is not None and (not isinstance(timeout, int | float) or timeout <= 0):
        raise InputError(f"request_timeout is a number of seconds or None, not {timeout!r}")
    if not isinstance(retries, int) or retries < 0:
        raise InputError(f"retries is 0 or more, not {retries!r}")
    sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    if any("\n" in text or "\r" in text for pair in sent.items() for text in pair):
        raise InputError("a header cannot have a line break")
    return Connection(headers=sent, **settings)


class Responses(Protocol):
    """The responses to one request."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def cancel(self) -> None:
        """Hang up, from any thread; the responses end."""


class Transport(Protocol):
    """A model behind one protocol. Safe to use from several threads."""

    address: Address

    def config(self) -> dict[str, Any]:
        """max_batch_size, and the model's parameters as texts under "parameters"."""

    def infer(self, inputs: Arrays, outputs: list[str]) -> Arrays:
        """One request and its answer; strings are arrays of bytes objects."""

    def generate(self, inputs: dict[str, Any]) -> Responses:
        """A request to a decoupled model: its responses as they come, values instead of `[1, 1]` tensors."""

    def close(self) -> None:
        """Give back sockets."""


def rows(values: list[Any]) -> NDArray[Any]:
    """`[n, 1]` of texts or bytes, as a BYTES tensor."""
    encoded = [value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in values]
    array = np.empty((len(encoded), 1), dtype=np.object_)
    array[:, 0] = encoded
    return array
