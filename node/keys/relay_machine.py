"""node.keys.relay_machine: what a transfer can become, at its source, at a middle node and at its target. Pure.

Three machines, one row each in every store a transfer touches. An event that a state does not list is refused
(ConflictError) and changes nothing, whatever was lost, repeated or reordered on the way.

The source's: OPEN (may be on its way) -> HELD (the target has it) -> DONE (the master has the keys, or the block can be
given). OPEN and HELD -> VOID_PENDING -> VOIDED; at once VOIDED when it is known that nobody behind retained anything.
The receiver's: TAKEN at a middle node, HELD at the target; VOIDED and BURNED are tombstones, also of what never came.
The pad's, at the node that gave it: SPENT -> SETTLED (the transfer went through), or BURN_PENDING -> BURNED.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from qnetem.runtime.errors import ConflictError

__all__ = [
    "Pad",
    "PadEvent",
    "Receipt",
    "ReceiptEvent",
    "Transfer",
    "TransferEvent",
    "is_releasable",
    "pad_after",
    "receipt_after",
    "transfer_after",
]


class Transfer(StrEnum):
    """Of a transfer at its source."""

    OPEN = "open"
    HELD = "held"
    DONE = "done"
    VOID_PENDING = "void_pending"
    VOIDED = "voided"


class TransferEvent(StrEnum):
    """What happens to a transfer at its source."""

    # the target holds it
    ACKNOWLEDGED = "acknowledged"
    # every transfer of the delivery is held: the keys are handed out
    RELEASED = "released"
    # given up, after a failure or a restart, while somebody may hold it
    ABANDONED = "abandoned"
    # given up, and nobody behind the source retained anything
    REFUSED = "refused"
    # the target has voided it
    VOID_CONFIRMED = "void_confirmed"


class Receipt(StrEnum):
    """Of a transfer at a node that it came to, or was to come to."""

    TAKEN = "taken"
    HELD = "held"
    VOIDED = "voided"
    BURNED = "burned"


class ReceiptEvent(StrEnum):
    """What reaches a receiver of a transfer."""

    # to a middle node, to the target
    CAME_THROUGH = "came_through"
    CAME_HOME = "came_home"
    VOID = "void"
    BURN = "burn"


class Pad(StrEnum):
    """Of the bits that a hop spent, at the node that gave them."""

    SPENT = "spent"
    SETTLED = "settled"
    BURN_PENDING = "burn_pending"
    BURNED = "burned"


class PadEvent(StrEnum):
    """What happens to a hop's pad."""

    # the transfer reached its target
    ACKNOWLEDGED = "acknowledged"
    # it failed, or nobody knows any more
    GIVEN_UP = "given_up"
    # the next node has burned them too
    BURN_CONFIRMED = "burn_confirmed"


_TRANSFER: Final[Mapping[tuple[Transfer, TransferEvent], Transfer]] = {
    (Transfer.OPEN, TransferEvent.ACKNOWLEDGED): Transfer.HELD,
    (Transfer.OPEN, TransferEvent.ABANDONED): Transfer.VOID_PENDING,
    (Transfer.OPEN, TransferEvent.REFUSED): Transfer.VOIDED,
    (Transfer.HELD, TransferEvent.ACKNOWLEDGED): Transfer.HELD,
    (Transfer.HELD, TransferEvent.RELEASED): Transfer.DONE,
    (Transfer.HELD, TransferEvent.ABANDONED): Transfer.VOID_PENDING,
    (Transfer.DONE, TransferEvent.ACKNOWLEDGED): Transfer.DONE,
    # a late acknowledgement revives nothing
    (Transfer.VOID_PENDING, TransferEvent.ACKNOWLEDGED): Transfer.VOID_PENDING,
    (Transfer.VOID_PENDING, TransferEvent.ABANDONED): Transfer.VOID_PENDING,
    (Transfer.VOID_PENDING, TransferEvent.REFUSED): Transfer.VOID_PENDING,
    (Transfer.VOID_PENDING, TransferEvent.VOID_CONFIRMED): Transfer.VOIDED,
    (Transfer.VOIDED, TransferEvent.ACKNOWLEDGED): Transfer.VOIDED,
    (Transfer.VOIDED, TransferEvent.ABANDONED): Transfer.VOIDED,
    (Transfer.VOIDED, TransferEvent.REFUSED): Transfer.VOIDED,
    (Transfer.VOIDED, TransferEvent.VOID_CONFIRMED): Transfer.VOIDED,
}
_RECEIPT: Final[Mapping[tuple[Receipt | None, ReceiptEvent], Receipt]] = {
    (None, ReceiptEvent.CAME_THROUGH): Receipt.TAKEN,
    (None, ReceiptEvent.CAME_HOME): Receipt.HELD,
    (None, ReceiptEvent.VOID): Receipt.VOIDED,
    (None, ReceiptEvent.BURN): Receipt.BURNED,
    (Receipt.TAKEN, ReceiptEvent.CAME_THROUGH): Receipt.TAKEN,
    # its pad was spent when it came: nothing more to burn
    (Receipt.TAKEN, ReceiptEvent.BURN): Receipt.TAKEN,
    (Receipt.HELD, ReceiptEvent.CAME_HOME): Receipt.HELD,
    (Receipt.HELD, ReceiptEvent.VOID): Receipt.VOIDED,
    (Receipt.HELD, ReceiptEvent.BURN): Receipt.HELD,
    (Receipt.VOIDED, ReceiptEvent.VOID): Receipt.VOIDED,
    (Receipt.VOIDED, ReceiptEvent.BURN): Receipt.VOIDED,
    (Receipt.BURNED, ReceiptEvent.VOID): Receipt.VOIDED,
    (Receipt.BURNED, ReceiptEvent.BURN): Receipt.BURNED,
}
_PAD: Final[Mapping[tuple[Pad, PadEvent], Pad]] = {
    (Pad.SPENT, PadEvent.ACKNOWLEDGED): Pad.SETTLED,
    (Pad.SPENT, PadEvent.GIVEN_UP): Pad.BURN_PENDING,
    (Pad.SETTLED, PadEvent.ACKNOWLEDGED): Pad.SETTLED,
    (Pad.SETTLED, PadEvent.GIVEN_UP): Pad.SETTLED,
    (Pad.BURN_PENDING, PadEvent.ACKNOWLEDGED): Pad.BURN_PENDING,
    (Pad.BURN_PENDING, PadEvent.GIVEN_UP): Pad.BURN_PENDING,
    (Pad.BURN_PENDING, PadEvent.BURN_CONFIRMED): Pad.BURNED,
    (Pad.BURNED, PadEvent.ACKNOWLEDGED): Pad.BURNED,
    (Pad.BURNED, PadEvent.GIVEN_UP): Pad.BURNED,
    (Pad.BURNED, PadEvent.BURN_CONFIRMED): Pad.BURNED,
}
_State = TypeVar("_State")
_Event = TypeVar("_Event")


def _after(table: Mapping[tuple[_State, _Event], _State], state: _State, event: _Event) -> _State:
    found = table.get((state, event))
    if found is None:
        raise ConflictError(f"{event} does not fit what is {state or 'not known'} here")
    return found


def transfer_after(state: Transfer, event: TransferEvent) -> Transfer:
    """Return what a transfer becomes at its source. Raises ConflictError when the event is refused."""
    return _after(_TRANSFER, state, event)


def receipt_after(state: Receipt | None, event: ReceiptEvent) -> Receipt:
    """Return what a transfer becomes where it arrives; None: not heard of. Raises ConflictError when refused."""
    found: Receipt | None = _RECEIPT.get((state, event))
    if found is None:
        raise ConflictError(f"{event} does not fit what is {state} here")
    return found


def pad_after(state: Pad, event: PadEvent) -> Pad:
    """Return what a hop's pad becomes. Raises ConflictError when the event is refused."""
    return _after(_PAD, state, event)


def is_releasable(transfers: Iterable[Transfer]) -> bool:
    """Return whether a delivery's keys may go to their master: there are transfers, and every target holds its own."""
    states = list(transfers)
    return bool(states) and all(state is Transfer.HELD for state in states)
