"""node.keys.agreement: messages that KMEs agree by, near or far: who answers which, and asking. Wiring.

They travel as KeyRelayService.Carry does, to a neighbour too; see proto/qnetem/v1/key_agreement.proto.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from node.keys.relay_courier import Courier
from qnetem.runtime.errors import BadInputError, UnavailableError
from qnetem.v1 import key_agreement_pb2 as pb

__all__ = ["AgreementDesk", "Handler", "agree"]

# (the KME that asks, the request) -> the response
Handler = Callable[[str, Any], Awaitable[Any]]


class AgreementDesk:
    """Answers what other KMEs ask of this one."""

    def __init__(self) -> None:
        """Answer nothing yet."""
        self._handlers: dict[str, Handler] = {}

    def add(self, name: str, handler: Handler) -> None:
        """Have the messages of that name in AgreeRequest answered."""
        if name not in pb.AgreeRequest.DESCRIPTOR.fields_by_name or name in self._handlers:
            raise BadInputError(f"{name} is no message of AgreeRequest, or is answered already")
        self._handlers[name] = handler

    async def answer(self, from_node: str, request: pb.AgreeRequest) -> pb.AgreeResponse:
        """Answer a message.

        Raises:
            BadInputError: This KME does not answer it.
            QnetemError: What its handler raised.
        """
        name = request.WhichOneof("message")
        if name is None or name not in self._handlers:
            raise BadInputError(f"{name or 'nothing'} is not answered here")
        return pb.AgreeResponse(**{name: await self._handlers[name](from_node, getattr(request, name))})


async def agree(courier: Courier, node: str, name: str, message: Any, timeout_s: float | None = None) -> Any:
    """Ask a KME; return the response of the same name. The message may be repeated.

    Raises:
        QnetemError: As Courier.ask.
    """
    answer = await courier.ask(node, pb.AgreeRequest(**{name: message}), timeout_s)
    if answer.WhichOneof("message") != name:
        raise UnavailableError(f"KME {node} answered {answer.WhichOneof('message')}, not {name}")
    return getattr(answer, name)
