"""qnetem.runtime.rpc: gRPC over mutual TLS, and the one edge where errors become statuses and back. Edge."""

from __future__ import annotations  # the stubs know generics that grpc does not

import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qnetem.runtime.errors import (
    BadInputError,
    DeniedError,
    QnetemError,
    StartError,
    UnavailableError,
    error_class,
    first_known,
)
from qnetem.runtime.log import get_logger
from qnetem.runtime.tasks import keeping_cancellation
from qnetem.v1 import process_pb2

__all__ = [
    "CORE_FAILED",
    "Credentials",
    "FaultSlot",
    "Registration",
    "Server",
    "call",
    "caller_uri",
    "dial",
    "serve",
    "split_address",
    "stream",
    "translate",
]

_REASON_KEY: Final = "qnetem-reason"
# of a write that met the end of its call: the library then has this in the place of the peer's status
CORE_FAILED: Final = "Internal error from Core"
_MESSAGE_BYTES: Final = 64 << 20
_log = get_logger("runtime.rpc")
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # the default waits up to 12 s after an outage
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    # in spite of its name, the least time that one attempt gets, TLS included: not less than a busy machine takes
    ("grpc.min_reconnect_backoff_ms", 3000),
    # where names are dialled: who comes back has another address; the default asks for it once in 30 s
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_SERVER_OPTIONS: Final = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # else a second server binds a port in use, in silence
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True)
class Credentials:
    """A party's certificate and key and the authority it trusts, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes

    @classmethod
    def load(cls, paths: process_pb2.CredentialPaths) -> Credentials:
        """Read and check the three files.

        Raises:
            StartError: A file cannot be read or does not hold what it should; names the file.
        """
        certificate, key, authority = (
            _read(path) for path in (paths.certificate_path, paths.key_path, paths.authority_path)
        )
        for path, pem in ((paths.certificate_path, certificate), (paths.authority_path, authority)):
            try:
                x509.load_pem_x509_certificate(pem)
            except ValueError as error:
                raise StartError(f"{path}: not a certificate") from error
        try:
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise StartError(f"{paths.key_path}: not a private key") from error
        if private.public_key() != x509.load_pem_x509_certificate(certificate).public_key():
            raise StartError(f"{paths.key_path}: not the key of {paths.certificate_path}")
        return cls(certificate, key, authority)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from error


class FaultSlot(Protocol):
    """Where faults of a server's own making go: called before each call is served."""

    async def before(self, method: str, caller: str) -> None:
        """Delay, or raise a QnetemError, as the faults in force say."""


@dataclass(frozen=True)
class Registration:
    """A service on a listener, and who may call it.

    Attributes:
        add: The generated `add_XServicer_to_server`.
        servicer: The handler object.
        service: Full name, "qnetem.v1.XService".
        allowed: Caller URIs per method name; "*" stands for every method not listed. A URI may end in "*".
    """

    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object
    service: str
    allowed: Mapping[str, Sequence[str]]

    def is_allowed(self, method: str, caller: str) -> bool:
        """Return whether the caller may call the method of this service."""
        patterns = self.allowed.get(method, self.allowed.get("*", ()))
        return any(caller.startswith(p[:-1]) if p.endswith("*") else caller == p for p in patterns)


def caller_uri(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the URI in the caller's certificate.

    Raises:
        DeniedError: The certificate carries none.
    """
    for name in context.auth_context().get("x509_subject_alternative_name", ()):
        text = name.decode("utf-8", "replace")
        if text.startswith("spiffe://"):
            return text
    raise DeniedError("the caller's certificate names no party")


class _Edge(grpc.aio.ServerInterceptor):
    """Authorises each call, and turns what handlers raise into status and reason."""

    def __init__(self, registrations: Sequence[Registration], faults: FaultSlot | None, *, is_local: bool) -> None:
        self._is_local = is_local
        self._registrations = {registration.service: registration for registration in registrations}
        self._faults = faults

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # unknown method: gRPC answers UNIMPLEMENTED
        path: str = handler_call_details.method
        _, service, method = path.split("/", 2)

        async def admit(context: Any) -> None:
            caller = "local" if self._is_local else caller_uri(context)
            registration = self._registrations.get(service)
            if not self._is_local and (registration is None or not registration.is_allowed(method, caller)):
                raise DeniedError(f"{caller} may not call {service}/{method}")
            if self._faults is not None:
                await self._faults.before(path, caller)

        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream

            async def serve_stream(request: Any, context: Any) -> AsyncIterator[Any]:
                try:
                    await admit(context)
                    async for response in behaviour(request, context):
                        yield response
                except Exception as error:
                    await _refuse(context, error, path)

            async def serve_writing(request: Any, context: Any) -> None:
                try:
                    await admit(context)
                    await behaviour(request, context)
                except Exception as error:
                    await _refuse(context, error, path)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            # gRPC takes a handler that yields and one that calls context.write
            served = serve_stream if inspect.isasyncgenfunction(behaviour) else serve_writing
            return make(served, handler.request_deserializer, _serializer(handler.response_serializer))

        behaviour = handler.stream_unary or handler.unary_unary

        async def serve_unary(request: Any, context: Any) -> Any:
            try:
                await admit(context)
                return await behaviour(request, context)
            except Exception as error:
                await _refuse(context, error, path)

        make_unary = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(serve_unary, handler.request_deserializer, handler.response_serializer)


def _serializer(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a serializer that leaves alone what a handler has serialised by itself."""
    return lambda response: response if isinstance(response, bytes) else serialize(response)


async def _refuse(context: Any, error: Exception, path: str) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    known = first_known(error)
    if known is not None:
        code = grpc.StatusCode[known.status.name]
        await context.abort(code, str(known), ((_REASON_KEY, known.reason),))
    # the text of an unforeseen exception may hold anything: it stays in the log
    _log.exception("rpc.handler.failed", method=path)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the log of the process")


@dataclass
class Server:
    """A running listener."""

    port: int
    grpc_server: grpc.aio.Server


def _can_bind(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror
    return None


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port".

    Raises:
        BadInputError: It is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise BadInputError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def serve(
    address: str,
    credentials: Credentials | None,
    registrations: Sequence[Registration],
    *,
    faults: FaultSlot | None = None,
    grace_s: float = 0.5,
) -> AsyncIterator[Server]:
    """Serve on `address` ("host:port" or "unix:path") while the block runs.

    Args:
        address: Where to listen. Port 0: any free one, told in the result.
        credentials: Mutual TLS, client certificate required. None only for a unix socket in a private folder:
            no identity is checked there, the folder's permissions are the guard.
        registrations: The services. Health and reflection are registrations like any other.
        faults: What to do to calls before they are served.
        grace_s: Calls in flight at the end of the block get this long.

    Raises:
        StartError: The address cannot be bound; names it.
    """
    edge = _Edge(registrations, faults, is_local=credentials is None)
    server = grpc.aio.server(interceptors=[edge], options=_SERVER_OPTIONS)
    for registration in registrations:
        registration.add(registration.servicer, server)
    if credentials is None:
        if not address.startswith("unix:"):
            raise BadInputError(f"{address}: only a unix socket is served without certificates")
        server.add_insecure_port(address)
        port = 0
    else:
        host, wanted = split_address(address)
        why = _can_bind(host, wanted)
        if why is not None:
            raise StartError(f"cannot listen on {address}: {why}")
        tls = grpc.ssl_server_credentials(
            [(credentials.key, credentials.certificate)], credentials.authority, require_client_auth=True
        )
        try:
            port = server.add_secure_port(address, tls)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}") from error
    await server.start()
    try:
        yield Server(port, server)
    finally:
        await server.stop(grace_s)


@asynccontextmanager
async def dial(address: str, credentials: Credentials | None, *, target: str = "") -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to the party whose certificate carries the DNS name `target`, whatever the address leads to.

    It connects when first used and reconnects by itself within 50 to 250 ms.
    """
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
    else:
        if not target:
            raise BadInputError(f"dialling {address}: whom to expect there is not given")
        tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
        options = (*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", target))
        channel = grpc.aio.secure_channel(address, tls, options=options)
    async with channel:
        yield channel


def translate(error: grpc.aio.AioRpcError) -> QnetemError:
    """Return our error for a status from the wire."""
    if error.details() == CORE_FAILED:
        return UnavailableError("the call has ended, and why is not known")
    metadata = dict(error.trailing_metadata() or ())
    reason = metadata.get(_REASON_KEY)
    cls = error_class(error.code().name, str(reason) if reason is not None else None)
    return cls(error.details() or error.code().name.lower())


async def call(
    method: Callable[..., Awaitable[_Response]],
    request: _Request,
    *,
    timeout_s: float,
    wait_for_ready: bool = False,
) -> _Response:
    """Call a unary method with a deadline (wall seconds).

    Raises:
        QnetemError: Of the class that the server raised; UnavailableError or DeadlineError when there was no answer.
    """
    try:
        with keeping_cancellation():
            return await method(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
    except grpc.aio.AioRpcError as error:
        raise translate(error) from None


async def stream(responses: Any) -> AsyncIterator[Any]:
    """Iterate over the responses of a streaming call; errors are ours, as in `call`."""
    incoming = aiter(responses)
    while True:
        try:
            with keeping_cancellation():
                response = await anext(incoming)
        except StopAsyncIteration:
            return
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        except grpc.aio.BaseError as error:
            # the core gave the call up before it had a status
            raise UnavailableError("the connection was lost") from error
        yield response
