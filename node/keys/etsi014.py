"""node.keys.etsi014: ETSI GS QKD 014, and 004 beside it, over HTTPS with client certificates. Edge: aiohttp.

Three calls do not need a framework's router, and every answer, also to what is not even HTTP, is to be JSON: this
stands on aiohttp's low-level server.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import unquote

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage

from node.keys import etsi004_request as stream_wire
from node.keys import etsi014_request as wire
from node.keys.directory import Directory
from node.keys.etsi004 import KeyStreams
from node.keys.etsi014_request import RequestError
from node.keys.key_delivery import KeyDelivery
from node.keys.records import KeysNotFoundError
from qnetem.runtime.errors import BadInputError, DeniedError, QnetemError, StartError, StorageError
from qnetem.runtime.log import get_logger
from qnetem.runtime.rpc import split_address
from qnetem.v1 import process_pb2

__all__ = ["SaeIdSource", "caller_of", "serve_etsi014"]

SaeIdSource = Literal["cn", "uri"]
_BODY_BYTES: Final = 64 << 10
_BODY_S: Final = 10.0
_GRACE_S: Final = 1.0
_VERBS: Final = {"status": ("GET",), "enc_keys": ("GET", "POST"), "dec_keys": ("GET", "POST")}
_STREAM_CALLS: Final = ("open_connect", "get_key", "close")
_log = get_logger("node.keys.etsi014")


@asynccontextmanager
async def serve_etsi014(
    address: str,
    credentials: process_pb2.CredentialPaths,
    delivery: KeyDelivery,
    sae_id_from: SaeIdSource = "cn",
    streams: KeyStreams | None = None,
) -> AsyncIterator[int]:
    """Serve the SAEs at `address` ("host:port") while the block runs; yields the port.

    Args:
        address: Where to listen; port 0: any free one.
        credentials: The HTTPS certificate (with the DNS and IP names it is dialled by), its key, and the authority
            that SAEs' certificates come from.
        delivery: What is served.
        sae_id_from: The part of the client's certificate that is the SAE id: the common name or the URI.
        streams: Served beside it (ETSI GS QKD 004); None: not.

    Raises:
        StartError: The port is in use or a file is not usable; names it.
    """
    host, port = split_address(address)
    tls = _tls(credentials)
    server = _Server(_Handler(delivery, sae_id_from, streams), request_factory=_request)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {error.strerror}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def caller_of(certificate: dict[str, Any] | None, directory: Directory, sae_id_from: SaeIdSource) -> str:
    """Return the SAE id in a verified client certificate (as ssl.getpeercert gives it).

    It must be one that the testbed issued to an SAE, by its URI; a node's or an operator's is none.

    Raises:
        DeniedError: It is not.
    """
    certificate = certificate or {}
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    names = [name for name in (directory.name_of(uri, "sae") for uri in uris) if name is not None]
    commons = [v for part in certificate.get("subject", ()) for kind, v in part if kind == "commonName"]
    if len(uris) != 1 or len(names) != 1 or (sae_id_from == "cn" and commons != names):
        raise DeniedError("the client certificate is not that of an SAE of this testbed")
    return names[0]


def _tls(paths: process_pb2.CredentialPaths) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_RENEGOTIATION
    path = paths.authority_path
    try:
        context.load_verify_locations(cafile=path)
        path = paths.certificate_path
        context.load_cert_chain(path, paths.key_path)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(f"{path}: {error.strerror or 'not usable as a certificate with its key'}") from error
    return context


def _request(
    message: RawRequestMessage, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]"
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_BYTES)


def _json(status: int, body: dict[str, Any], headers: Sequence[tuple[str, str]] = ()) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/json",
        headers=[("Cache-Control", "no-store"), *headers],
    )


class _RequestHandler(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or a handler's collapse, in JSON too."""
        _log.warning("etsi014.request.malformed", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        text = "the request is not HTTP that is understood here" if status < 500 else "internal error"
        response = _json(status, wire.error_body(text))
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _RequestHandler(self, loop=asyncio.get_running_loop(), access_log=None, lingering_time=_GRACE_S)  # type: ignore[arg-type]


class _Handler:
    def __init__(self, delivery: KeyDelivery, sae_id_from: SaeIdSource, streams: KeyStreams | None) -> None:
        self._delivery = delivery
        self._streams = streams
        self._sae_id_from: SaeIdSource = sae_id_from

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except web.HTTPRequestEntityTooLarge:
            return _json(413, wire.error_body(f"a body of more than {_BODY_BYTES} bytes is not read"))
        except TimeoutError:
            response = _json(408, wire.error_body("the body did not arrive in time"))
            response.force_close()
            return response
        except web.RequestPayloadError:
            return _json(400, wire.error_body("the body is not what its headers say"))
        except QnetemError as error:
            return _refusal(error)
        except ConnectionError:
            raise  # the client has gone
        except Exception:
            _log.exception("etsi014.request.failed")
            return _json(500, wire.error_body("internal error"))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        segments = request.rel_url.raw_path.split("/")
        if self._streams is not None and segments[:3] == ["", "etsi004", "v2"]:
            return await self._route_stream(request, segments[3:], self._streams)
        if len(segments) != 6 or segments[:4] != ["", "api", "v1", "keys"] or segments[5] not in _VERBS:
            return _json(404, wire.error_body("no such resource"))
        call = segments[5]
        if request.method not in _VERBS[call]:
            allowed = ", ".join(_VERBS[call])
            return _json(405, wire.error_body(f"{call} takes {allowed}"), [("Allow", allowed)])
        sae_id = _unquoted(segments[4])
        caller = self._caller(request)
        query = request.rel_url.raw_query_string
        if call == "status":
            return _json(200, await self._delivery.status(caller, sae_id))
        if request.method == "POST" and query:
            raise RequestError("a POST takes its parameters in the body")
        body = await _body(request) if request.method == "POST" else b""
        limits = self._delivery.limits
        if call == "enc_keys":
            self._delivery.admit_master(caller, sae_id)
            if request.method == "POST":
                asked = wire.enc_from_body(body, sae_id, limits)
            else:
                asked = wire.enc_from_query(query, sae_id, limits)
            keys = await self._delivery.enc_keys(caller, asked)
        else:
            key_ids = wire.dec_from_body(body, limits) if request.method == "POST" else wire.dec_from_query(query)
            keys = await self._delivery.dec_keys(caller, sae_id, key_ids)
        answer = _json(200, wire.key_container(keys))
        for key in keys:
            key.key.wipe()
        return answer

    async def _route_stream(
        self, request: web.BaseRequest, segments: Sequence[str], streams: KeyStreams
    ) -> web.StreamResponse:
        if len(segments) != 1 or segments[0] not in _STREAM_CALLS:
            return _json(404, wire.error_body("no such resource"))
        if request.method != "POST":
            return _json(405, wire.error_body(f"{segments[0]} takes POST"), [("Allow", "POST")])
        caller = self._caller(request)
        if request.rel_url.raw_query_string:
            raise RequestError("a POST takes its parameters in the body")
        body = await _body(request)
        match segments[0]:
            case "open_connect":
                return _json(200, await streams.open_connect(caller, stream_wire.open_from_body(body)))
            case "get_key":
                return _json(200, await streams.get_key(caller, stream_wire.get_key_from_body(body)))
        return _json(200, await streams.close(caller, stream_wire.close_from_body(body)))

    def _caller(self, request: web.BaseRequest) -> str:
        certificate = request.get_extra_info("peercert")
        return caller_of(certificate, self._delivery.directory, self._sae_id_from)


def _unquoted(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("the SAE id in the path is not UTF-8") from None


async def _body(request: web.BaseRequest) -> bytes:
    expected = request.headers.get("Expect")
    if expected is not None and request.version >= HttpVersion11:
        if expected.lower() != "100-continue":
            raise RequestError("only 100-continue can be expected")
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    if request.content.is_eof():  # it came with its headers
        return await request.read()
    async with asyncio.timeout(_BODY_S):
        return await request.read()


def _refusal(error: QnetemError) -> web.Response:
    if isinstance(error, RequestError):
        return _json(400, wire.error_body(str(error), error.details))
    if isinstance(error, (BadInputError, KeysNotFoundError)):
        return _json(400, wire.error_body(str(error)))
    if isinstance(error, DeniedError):
        return _json(401, wire.error_body(str(error)))
    if isinstance(error, StorageError):
        _log.error("etsi014.store.failed", detail=str(error))
        return _json(503, wire.error_body("the key store of this KME cannot be used now"))
    return _json(503, wire.error_body(str(error)))
