"""TCP ports for a server that we start."""

from __future__ import annotations

import socket

from runtime.triton.errors import ServerError


def choose_ports(host: str, wanted: dict[str, int | None]) -> dict[str, int]:
    """A port for each name: the wanted one, which has to be free, or for `None` any free one.

    Raises `ServerError` for a port that is taken or not allowed. A free port is known, not held: another program can
    still take it before the server does, and then the server's own error is shown.
    """
    held = {name: _bind(host, name, port) for name, port in wanted.items()}
    try:
        return {name: bound.getsockname()[1] for name, bound in held.items()}
    finally:
        for bound in held.values():
            bound.close()


def _bind(host: str, name: str, port: int | None) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # As servers do: a port whose last connections still linger in TIME_WAIT counts as free.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port or 0))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ServerError(f"the {name} port {port} on {host} cannot be used ({error}); choose another one") from error
    return bound
