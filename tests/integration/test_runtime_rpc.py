"""The RPC edge over real sockets: who is let in, and what becomes of errors."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import (
    BadInputError,
    DeadlineError,
    DeniedError,
    QnetemError,
    StartError,
    Status,
    UnavailableError,
)
from qnetem.v1 import node_pb2, node_pb2_grpc, quantum_channel_pb2, quantum_channel_pb2_grpc

CredentialsOf = Callable[..., rpc.Credentials]
OPERATORS = (identity.uri("lab", "operator", "*"),)
TARGET = identity.dns_name("lab", "quantum-channel", "qc")


class LoudError(QnetemError):
    """Raised by the handler under test."""

    reason = "TEST_LOUD"
    status = Status.FAILED_PRECONDITION
    is_definite = True


class Servicer(quantum_channel_pb2_grpc.QuantumLinkServiceServicer):
    def __init__(self, error: Exception | None = None, *, is_hanging: bool = False) -> None:
        self.error = error
        self.is_hanging = is_hanging

    async def GetLink(self, request: Any, context: Any) -> quantum_channel_pb2.GetLinkResponse:
        if self.is_hanging:
            import asyncio

            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return quantum_channel_pb2.GetLinkResponse(state={"link_id": request.link_id})


class Watcher(node_pb2_grpc.NodeServiceServicer):
    async def WatchLinks(self, request: Any, context: Any) -> AsyncIterator[node_pb2.WatchLinksResponse]:
        yield node_pb2.WatchLinksResponse()
        raise LoudError("after the first")


@asynccontextmanager
async def serving(credentials_of: CredentialsOf, servicer: object) -> AsyncIterator[int]:
    registrations = [
        rpc.Registration(
            quantum_channel_pb2_grpc.add_QuantumLinkServiceServicer_to_server,
            servicer,
            "qnetem.v1.QuantumLinkService",
            {"*": OPERATORS},
        )
        if isinstance(servicer, Servicer)
        else rpc.Registration(
            node_pb2_grpc.add_NodeServiceServicer_to_server, servicer, "qnetem.v1.NodeService", {"*": OPERATORS}
        )
    ]
    async with rpc.serve("127.0.0.1:0", credentials_of("quantum-channel", "qc"), registrations) as server:
        yield server.port


async def ask(port: int, credentials: rpc.Credentials | None, target: str = TARGET, timeout_s: float = 5.0) -> str:
    async with rpc.dial(f"127.0.0.1:{port}", credentials, target=target) as channel:
        stub = quantum_channel_pb2_grpc.QuantumLinkServiceStub(channel)
        response = await rpc.call(
            stub.GetLink, quantum_channel_pb2.GetLinkRequest(link_id="alice-bob"), timeout_s=timeout_s
        )
        return response.state.link_id


async def test_an_operator_is_answered(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer()) as port:
        assert await ask(port, credentials_of("operator", "op")) == "alice-bob"


async def test_a_party_not_on_the_list_is_denied(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer()) as port:
        with pytest.raises(DeniedError, match="spiffe://lab/node/alice may not call"):
            await ask(port, credentials_of("node", "alice"))


async def test_an_operator_of_another_testbed_is_denied(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer()) as port:
        with pytest.raises(DeniedError):
            await ask(port, credentials_of("operator", "op", testbed="lab2"))


async def test_a_caller_without_a_certificate_of_the_authority_gets_nowhere(credentials_of: CredentialsOf) -> None:
    from qnetem.runtime import pki

    foreign = pki.create_authority("lab")
    issued = foreign.issue(OPERATORS[0][:-1] + "op", ["op"])
    ours = credentials_of("operator", "op")
    stranger = rpc.Credentials(issued.certificate, issued.key, ours.authority)
    async with serving(credentials_of, Servicer()) as port:
        with pytest.raises(UnavailableError):
            await ask(port, stranger)


async def test_a_misrouted_connection_is_refused_by_the_dialler(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer()) as port:
        with pytest.raises(UnavailableError):
            await ask(port, credentials_of("operator", "op"), identity.dns_name("lab", "quantum-channel", "other"))


async def test_a_client_gets_the_class_that_was_raised(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer(LoudError("it is so"))) as port:
        with pytest.raises(LoudError, match=r"^it is so$") as caught:
            await ask(port, credentials_of("operator", "op"))
    assert caught.value.is_definite


async def test_the_text_of_an_unforeseen_exception_stays_at_home(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer(ValueError("secret 1234"))) as port:
        with pytest.raises(QnetemError) as caught:
            await ask(port, credentials_of("operator", "op"))
    assert "1234" not in str(caught.value)
    assert not caught.value.is_definite


async def test_a_hanging_server_costs_the_deadline(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer(is_hanging=True)) as port:
        with pytest.raises(DeadlineError):
            await ask(port, credentials_of("operator", "op"), timeout_s=0.2)


async def test_a_stream_ends_with_our_error(credentials_of: CredentialsOf) -> None:
    async with (
        serving(credentials_of, Watcher()) as port,
        rpc.dial(f"127.0.0.1:{port}", credentials_of("operator", "op"), target=TARGET) as channel,
    ):
        stub = node_pb2_grpc.NodeServiceStub(channel)
        responses = rpc.stream(stub.WatchLinks(node_pb2.WatchLinksRequest()))
        assert await anext(responses) == node_pb2.WatchLinksResponse()
        with pytest.raises(LoudError):
            await anext(responses)


async def test_a_port_in_use_is_named(credentials_of: CredentialsOf) -> None:
    async with serving(credentials_of, Servicer()) as port:
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            async with rpc.serve(f"127.0.0.1:{port}", credentials_of("operator", "op"), []):
                pass


async def test_only_a_unix_socket_is_served_without_certificates() -> None:
    with pytest.raises(BadInputError):
        async with rpc.serve("127.0.0.1:0", None, []):
            pass


async def test_an_unknown_method_is_unimplemented(credentials_of: CredentialsOf) -> None:
    async with (
        serving(credentials_of, Servicer()) as port,
        rpc.dial(f"127.0.0.1:{port}", credentials_of("operator", "op"), target=TARGET) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/qnetem.v1.QuantumLinkService/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_faults_of_the_slot_come_before_the_handler(credentials_of: CredentialsOf) -> None:
    seen: list[tuple[str, str]] = []

    class Faults:
        async def before(self, method: str, caller: str) -> None:
            seen.append((method, caller))
            raise LoudError("as ordered")

    registration = rpc.Registration(
        quantum_channel_pb2_grpc.add_QuantumLinkServiceServicer_to_server,
        Servicer(),
        "qnetem.v1.QuantumLinkService",
        {"*": OPERATORS},
    )
    credentials = credentials_of("quantum-channel", "qc")
    async with rpc.serve("127.0.0.1:0", credentials, [registration], faults=Faults()) as server:
        with pytest.raises(LoudError, match="as ordered"):
            await ask(server.port, credentials_of("operator", "op"))
    assert seen == [("/qnetem.v1.QuantumLinkService/GetLink", "spiffe://lab/operator/op")]


@pytest.mark.parametrize(
    ("details", "kind"), [(rpc.CORE_FAILED, UnavailableError), ("this is the peer's own word", QnetemError)]
)
def test_what_a_write_made_of_a_status_is_told_as_a_call_that_has_ended(details: str, kind: type[QnetemError]) -> None:
    nothing = grpc.aio.Metadata()
    told = rpc.translate(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, details))
    assert type(told) is kind
