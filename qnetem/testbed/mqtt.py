"""qnetem.testbed.mqtt: amqtt held to our rules of access. Edge. Imports amqtt (0.3 s): import it where it is used.

Left alone, amqtt touches the session of a client id before it asks who connects, hands retained messages to every
newcomer, and publishes wills without asking. Here whoever connects is asked first, client ids are each user's own,
and no session outlives its connection.
"""

import asyncio
import contextlib
import logging
import os
import ssl
from dataclasses import dataclass
from typing import Any, Final

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import AMQTTError, BrokerError, MQTTError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from qnetem.runtime.errors import StartError
from qnetem.runtime.log import get_logger
from qnetem.testbed.access import Access

__all__ = ["AccessPlugin", "EmbeddedBroker"]

_log = get_logger("broker")
_CONNECT_TIMEOUT_S: Final = 10.0
# CONNACK, return code 5: not authorised
_REFUSED: Final = b"\x20\x02\x00\x05"


class AccessPlugin(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]  # amqtt is not followed
    """Our rules, where amqtt asks for them."""

    async def authenticate(self, *, session: Session) -> bool:
        """Return whether a party is who it says, with a will on its own topics."""
        access: Access = self.config.access
        return access.is_known(session.username, session.password) and (
            not session.will_flag or access.may_publish(session.username, session.will_topic)
        )

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Return whether the session's user may do that with the topic."""
        if session is None or topic is None:
            return False
        access: Access = self.config.access
        may = access.may_publish if action is Action.PUBLISH else access.may_read
        return may(session.username, topic)

    @dataclass
    class Config:
        """What the broker hands to the plugin."""

        access: Access


class EmbeddedBroker(Broker):  # type: ignore[misc]  # amqtt is not followed
    """The broker of a testbed."""

    def __init__(self, listen: str, access: Access, context: ssl.SSLContext) -> None:
        """Be ready to listen on `listen` ("host:port") with TLS."""
        # it names every client and packet; what concerns an operator is logged here
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._access = access
        self._context = context
        plugin = f"{AccessPlugin.__module__}.{AccessPlugin.__name__}"
        listeners = {"default": {"type": "tcp", "bind": listen, "ssl": True}}
        super().__init__({"listeners": listeners, "plugins": {plugin: {"access": access}}})
        self._listen = listen

    async def start(self) -> None:
        """Listen.

        Raises:
            StartError: The address cannot be bound; names it.
        """
        try:
            await super().start()
        except BrokerError as error:
            why = error.__cause__
            text = os.strerror(why.errno) if isinstance(why, OSError) and why.errno else str(error)
            raise StartError(f"cannot listen on {self._listen}: {text}") from error

    def _create_ssl_context(self, listener: object) -> ssl.SSLContext:
        return self._context

    async def _initialize_client_session(
        self, reader: Any, writer: Any, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                handler, session = await BrokerProtocolHandler.init_from_connect(reader, writer, self.plugins_manager)
        except (AMQTTError, MQTTError):
            await _close(writer)
            raise
        except Exception as error:  # malformed beyond what amqtt foresees
            await _close(writer)
            raise MQTTError(type(error).__name__) from None
        if not await self._authenticate(session, self.listeners_config["default"]):
            _log.warning("broker.login.refused", address=f"{remote_address}:{remote_port}")
            await writer.write(_REFUSED)
            await _close(writer)
            raise MQTTError("refused")
        session.client_id = f"{session.username}/{session.client_id}"
        session.clean_session = True
        session.parent = 0
        await self._cleanup_session(session.client_id)
        return handler, session

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt calls it for every subscription there is when a client connects, not only for the client's own
        if self._access.may_read(session.username, subscription[0]):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def _close(writer: Any) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.close()
