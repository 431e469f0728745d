"""TCP ports for a server that we start."""

from __future__ import annotations

import socket

from runtime.triton.errors import ServerError


def choose_ports(host: str, wanted: dict[str, int | None]) -> dict[str, int]:
    """A port for each name: the wanted one, which has to be free, or for `None` any free one.

    Raises `ServerError` for a port that is taken, not allowed, or wanted twice. A free port is known, not held: another
    program can still take it before the server does, and then the server's own error is shown.
    """
    check_distinct(wanted)
    held = {name: _bind(host, name, port) for name, port in wanted.items()}
    try:
        return {name: bound.getsockname()[1] for name, bound in held.items()}
    finally:
        for bound in held.values():
            bound.close()


def check_distinct(wanted: dict[str, int | None]) -> None:
    """Raise `ServerError` if two names want the same port."""
    owners: dict[int, str] = {}
    for name, port in wanted.items():
        if port is not None and owners.setdefault(port, name) != name:
            raise ServerError(f"{owners[port]} and {name} cannot both have port {port}; choose another one for {name}")


def _bind(host: str, name: str, port: int | None) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # As servers do: a port whose last connections still linger in TIME_WAIT counts as free.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port or 0))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ServerError(_refusal(host, name, port, error)) from error
    return bound


def _refusal(host: str, name: str, port: int | None, error: OSError | OverflowError) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine ({reason}); choose another --host"
    if port is None:
        return f"no {name} port on {host} can be used ({reason}); choose another --host"
    return f"the {name} port {port} on {host} cannot be used ({reason}); choose another one"
