"""Triton's gRPC protocol (GRPCInferenceService of the KServe v2 API), with the messages that tritonclient brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.client.address import Address
from runtime.client.connection import Arrays, Connection
from runtime.client.errors import TryAgainError, denied, not_found, refusal, timed_out, unreachable
from runtime.client.wire import DTYPES, decode, dtype_name, encode
from runtime.errors import InputError, OnwardError
from runtime.triton.errors import ServerError

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcTransport:
    """One channel, which gRPC shares between threads and connects again by itself."""

    def __init__(self, address: Address, connection: Connection) -> None:
        try:
            import grpc
            from tritonclient.grpc import service_pb2, service_pb2_grpc
        except ImportError as error:
            raise OnwardError(
                f"triton:// needs {error.name}: pip install 'onward[triton]', or use triton+http://"
            ) from error
        self.address = address
        self._grpc, self._messages = grpc, service_pb2
        self._connection = connection
        self._metadata = [(name.lower(), value) for name, value in connection.headers.items()]
        self._channel = self._open()
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def config(self) -> dict[str, Any]:
        """The model's max_batch_size and parameters."""
        request = self._messages.ModelConfigRequest(name=self.address.model, version=self.address.version)
        found = self._call(self._stub.ModelConfig, request).config
        parameters = {name: value.string_value for name, value in found.parameters.items()}
        return {"max_batch_size": found.max_batch_size, "parameters": parameters}

    def infer(self, inputs: Arrays, outputs: list[str]) -> Arrays:
        """One request and its answer."""
        request = self._request(inputs)
        for name in outputs:
            request.outputs.add().name = name
        return self._arrays(self._call(self._stub.ModelInfer, request))

    def generate(self, inputs: dict[str, Any]) -> GrpcResponses:
        """The responses of a decoupled model. The request is on its way when this returns."""
        return GrpcResponses(self, self._request({name: value_array(value) for name, value in inputs.items()}))

    def start(self, request: Any) -> Any:
        """A stream of the responses to one request."""
        limit = self._connection.request_timeout
        return self._stub.ModelStreamInfer(iter([request]), timeout=limit, metadata=self._metadata)

    def try_often(self, action: Callable[[], Any]) -> Any:
        """See `Connection.try_often`."""
        return self._connection.try_often(action)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def next_response(self, call: Any) -> Any:
        """The next response of a stream, None at its end. Raises `OnwardError`."""
        try:
            response = next(call, None)
        except self._grpc.RpcError as error:
            raise self._explain(error) from error
        if response is not None and response.error_message:
            raise refusal(response.error_message, self.address.server)
        return response

    def values(self, response: Any) -> dict[str, Any]:
        """The outputs of a response as Python values."""
        return {name: scalar(array) for name, array in self._arrays(response.infer_response).items()}

    def _open(self) -> Any:
        if not self.address.tls:
            return self._grpc.insecure_channel(self.address.server, options=_UNLIMITED)
        return self._grpc.secure_channel(self.address.server, self._credentials(), options=_UNLIMITED)

    def _credentials(self) -> Any:
        paths = (self._connection.ssl_ca, self._connection.ssl_key, self._connection.ssl_cert)
        try:
            contents = [None if path is None else Path(path).read_bytes() for path in paths]
        except OSError as error:
            raise InputError(f"a file for TLS cannot be read: {error}") from error
        return self._grpc.ssl_channel_credentials(*contents)

    def _request(self, inputs: Arrays) -> Any:
        request = self._messages.ModelInferRequest(model_name=self.address.model, model_version=self.address.version)
        for name, array in inputs.items():
            tensor = request.inputs.add()
            tensor.name, tensor.datatype = name, dtype_name(array)
            tensor.shape.extend(array.shape)
            request.raw_input_contents.append(encode(array))
        return request

    def _arrays(self, answer: Any) -> Arrays:
        pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
        return {tensor.name: decode(content, tensor.datatype, list(tensor.shape)) for tensor, content in pairs}

    def _call(self, method: Any, request: Any) -> Any:
        def once() -> Any:
            try:
                return method(request, timeout=self._connection.request_timeout, metadata=self._metadata)
            except self._grpc.RpcError as error:
                raise self._explain(error) from error

        return self._connection.try_often(once)

    def _explain(self, error: Any) -> Exception:
        codes, server = self._grpc.StatusCode, self.address.server
        code, message = error.code(), error.details() or ""
        if code is codes.UNAVAILABLE:
            known = refusal(message, server)
            return unreachable(server, message) if isinstance(known, InputError) else known
        if code is codes.DEADLINE_EXCEEDED:
            return timed_out(server, self._connection.request_timeout)
        if code in (codes.UNAUTHENTICATED, codes.PERMISSION_DENIED):
            return denied(server, message)
        if code is codes.NOT_FOUND:
            return not_found(server, self.address.model, message)
        if code is codes.INVALID_ARGUMENT:
            return refusal(message, server)
        return ServerError(f"{server}: {message or code.name}")


class GrpcResponses:
    """A stream under way. The tries end with its first response."""

    def __init__(self, transport: GrpcTransport, request: Any) -> None:
        self._transport, self._request = transport, request
        self._call: Any = transport.start(request)
        self._failed = self._cancelled = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            response = self._transport.try_often(self._first)
            while response is not None and not self._cancelled:
                yield self._transport.values(response)
                response = self._transport.next_response(self._call)
        except TryAgainError as error:
            raise error.final() from error
        except ServerError:
            if not self._cancelled:
                raise
        finally:
            self._call.cancel()  # nothing if it has ended

    def cancel(self) -> None:
        """Hang up."""
        self._cancelled = True
        self._call.cancel()

    def _first(self) -> Any:
        if self._failed and not self._cancelled:
            self._call = self._transport.start(self._request)
        self._failed = True
        return self._transport.next_response(self._call)


def value_array(value: Any) -> NDArray[Any]:
    """`[1, 1]` of a text, truth value or whole number."""
    if isinstance(value, str):
        return np.array([[value.encode("utf-8", "surrogatepass")]], dtype=np.object_)
    return np.array([[value]], dtype=DTYPES["BOOL"] if isinstance(value, bool) else DTYPES["INT32"])


def scalar(array: NDArray[Any]) -> Any:
    """The one value of a tensor, bytes as text."""
    value = array.reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else value.item()
