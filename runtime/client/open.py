"""`open_remote`: from an address to a pipeline."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from runtime.client.address import Address, parse_address
from runtime.client.connection import Connection, Transport, make_connection
from runtime.client.pipelines import RemotePipeline, remote_class
from runtime.errors import InputError
from runtime.pipelines.registry import TaskEntry, find_task, is_translation, load_class
from runtime.triton.errors import ServerError

_SETTINGS = (*(field.name for field in fields(Connection)), "token")


def open_remote(task: str | None, address: str, **kwargs: Any) -> RemotePipeline:
    """The pipeline of a served model, with the local one's contract.

    kwargs: of the connection (headers, token, request_timeout, retries, ssl_ca, ssl_cert, ssl_key; see `Connection`),
    and call arguments that hold for every call. Raises `InputError` for an address or task that cannot be,
    `ServerError` when the server is not there or the model none of ours.
    """
    where = parse_address(address)
    settings = {name: kwargs.pop(name) for name in _SETTINGS if name in kwargs}
    transport = connect(where, make_connection(**settings))
    try:
        facts = transport.config()
        served = facts["parameters"].get("task")
        if not served:
            raise ServerError(f"{address} is no model that onward has exported: its configuration names no task")
        entry = find_task(task or served)
        name, sent = task_names(task or served, entry, served, address)
        return remote_class(load_class(entry))(transport, facts, name, sent, **kwargs)
    except BaseException:
        transport.close()
        raise


def connect(address: Address, connection: Connection) -> Transport:
    """The transport for the address's protocol; tritonclient is imported only for gRPC."""
    if address.protocol == "http":
        from runtime.client.http import HttpTransport

        return HttpTransport(address, connection)
    from runtime.client.grpc import GrpcTransport

    return GrpcTransport(address, connection)


def task_names(asked: str, entry: TaskEntry, served: str, address: str) -> tuple[str, str | None]:
    """The pipeline's task as it was asked for, and what the server has to be told if that is not its own."""
    if find_task(served).name not in (entry.name, *entry.bundles):
        raise InputError(f"{address} serves {served}, not {asked}: export the checkpoint for {entry.name}")
    if is_translation(asked):
        return asked, asked
    return entry.name, entry.name if entry.name != find_task(served).name else None
