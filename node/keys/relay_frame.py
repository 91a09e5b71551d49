"""node.keys.relay_frame: one hop of a transfer in bytes: pad, tag, shares, and what its header may say. Pure.

Layouts are those of proto/qnetem/v1/key_relay.proto.
"""

import hmac
from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.poly1305 import Poly1305

from node.keys.records import Piece, is_key_id
from qnetem.runtime.errors import BadInputError, ConflictError
from qnetem.v1 import key_exchange_pb2
from qnetem.v1 import key_relay_pb2 as pb

__all__ = [
    "HOP_BITS",
    "TAG_BITS",
    "TAG_KEY_BITS",
    "BadTagError",
    "UnknownTagKeyError",
    "checked_path",
    "header_of",
    "joined",
    "material_bits",
    "opened",
    "pieces_of",
    "sealed",
    "shares",
    "wipe",
    "wire_pieces",
    "xor_into",
]

TAG_BITS: Final = 128
TAG_KEY_BITS: Final = 128
# what a hop may cost beside what it carries: its first tag takes a hash key, too
HOP_BITS: Final = TAG_BITS + TAG_KEY_BITS
_TAG_BYTES: Final = TAG_BITS // 8
_MAX_PATH: Final = 16
_MAX_KEYS: Final = 1024
_MAX_SHARES: Final = 8
_MAX_PIECES: Final = 1024
_MAX_MATERIAL_BITS: Final = 1 << 21


class BadTagError(ConflictError):
    """What came was not made by the neighbour, or was changed on the way."""

    reason = "BAD_TAG"


class UnknownTagKeyError(ConflictError):
    """The neighbour tags under a hash key that is not held here, and whose bits are spent."""

    reason = "UNKNOWN_TAG_KEY"


def checked_path(path: Sequence[str]) -> tuple[str, ...]:
    """Return the path. Raises BadInputError when it is not 2 to 16 different nodes."""
    nodes = tuple(path)
    if not 2 <= len(nodes) <= _MAX_PATH or len(set(nodes)) != len(nodes) or not all(nodes):
        raise BadInputError(f"a path of {len(nodes)} nodes: not 2 to {_MAX_PATH} different ones")
    return nodes


def header_of(data: bytes) -> pb.RelayHeader:
    """Return a header from the wire.

    Raises:
        BadInputError: It is not one, or one of its fields is out of its range; names the field.
    """
    header = pb.RelayHeader()
    try:
        header.ParseFromString(data)
    except Exception:  # protobuf's own error, whose module differs by implementation
        raise BadInputError("header: is not a RelayHeader") from None
    checked_path(header.path)
    for name in ("transfer_id", "delivery_id"):
        if not is_key_id(getattr(header, name)):
            raise BadInputError(f"{name} is not a UUID in lower case")
    if header.size_bits < 8 or header.size_bits % 8:
        raise BadInputError(f"size_bits {header.size_bits} is not a multiple of 8, 8 or more")
    if not 1 <= header.share_count <= _MAX_SHARES or header.share_index >= header.share_count:
        raise BadInputError(f"share {header.share_index} of {header.share_count}: not 1 to {_MAX_SHARES} shares")
    match header.WhichOneof("what"):
        case "keys":
            key_ids = header.keys.key_ids
            if not 1 <= len(key_ids) <= _MAX_KEYS or len(set(key_ids)) != len(key_ids):
                raise BadInputError(f"{len(key_ids)} keys, not 1 to {_MAX_KEYS} different ones")
            if not all(is_key_id(key_id) for key_id in key_ids):
                raise BadInputError("a key_id is not a UUID in lower case")
        case "block":
            if not header.block.block_id or header.share_count != 1:
                raise BadInputError("a block has an id and comes whole")
        case _:
            raise BadInputError("a transfer of nothing")
    if material_bits(header) > _MAX_MATERIAL_BITS:
        raise BadInputError(f"{material_bits(header)} bits in one transfer, not up to {_MAX_MATERIAL_BITS}")
    return header


def material_bits(header: pb.RelayHeader) -> int:
    """Return the length of what a transfer carries."""
    return header.size_bits * (len(header.keys.key_ids) if header.WhichOneof("what") == "keys" else 1)


def pieces_of(pieces: Sequence[key_exchange_pb2.KeyPiece], least: int = 1) -> tuple[Piece, ...]:
    """Return pieces from the wire. Raises BadInputError when there are fewer than `least`, or too many."""
    if not least <= len(pieces) <= _MAX_PIECES:
        raise BadInputError(f"{len(pieces)} pieces of pads, not {least} to {_MAX_PIECES}")
    return tuple(Piece(one.block_id, one.offset_bits, one.length_bits) for one in pieces)


def wire_pieces(pieces: Sequence[Piece]) -> list[key_exchange_pb2.KeyPiece]:
    """Return pieces for the wire."""
    return [
        key_exchange_pb2.KeyPiece(block_id=one.block_id, offset_bits=one.offset_bits, length_bits=one.length_bits)
        for one in pieces
    ]


def xor_into(target: bytearray, other: bytes | bytearray | memoryview) -> None:
    """XOR `other` into `target`, of the same length, in place."""
    if len(target) != len(other):
        raise BadInputError(f"{len(other)} bytes do not cover {len(target)}")
    view = np.frombuffer(target, dtype=np.uint8)
    view ^= np.frombuffer(other, dtype=np.uint8)


def sealed(
    header: bytes,
    pieces: Sequence[Piece],
    material: bytearray,
    pad: bytearray,
    tag_key_pieces: Sequence[Piece],
    tag_key: bytearray,
) -> pb.RelayRequest:
    """Return the request that carries `material` over one hop; material, pad and hash key are overwritten.

    Args:
        header: As every hop gets it.
        pieces: Where the pad lies, in both pools.
        material: What is carried.
        pad: Its bits: as many as the material's, then TAG_BITS.
        tag_key_pieces: Where the hash key lay, in both pools.
        tag_key: TAG_KEY_BITS.
    """
    with memoryview(pad) as whole, whole[: len(material)] as key_part, whole[len(material) :] as tag_part:
        xor_into(material, key_part)
        request = pb.RelayRequest(
            header=header, pad=wire_pieces(pieces), ciphertext=bytes(material), tag_key=wire_pieces(tag_key_pieces)
        )
        request.tag = _tag(tag_key, tag_part, request)
    wipe(material)
    wipe(pad)
    return request


def opened(request: pb.RelayRequest, pad: bytearray, tag_key: bytearray) -> bytearray:
    """Return the material of a request under its pad and its hash key, which are overwritten.

    Raises:
        BadInputError: The ciphertext has another length than the pad says.
        BadTagError: The tag does not fit.
    """
    if len(pad) != len(request.ciphertext) + _TAG_BYTES:
        raise BadInputError(f"a pad of {len(pad)} bytes for {len(request.ciphertext)} and a tag of {_TAG_BYTES}")
    size = len(request.ciphertext)
    with memoryview(pad) as whole, whole[size:] as tag_part:
        is_good = hmac.compare_digest(_tag(tag_key, tag_part, request), request.tag)
    material = pad[:size]
    wipe(pad)
    if not is_good:
        wipe(material)
        raise BadTagError("the tag of a transfer does not fit")
    xor_into(material, request.ciphertext)
    return material


def _tag(tag_key: bytearray, pad: memoryview, request: pb.RelayRequest) -> bytes:
    """Return the padded hash of a request. The hash key, which is kept elsewhere, is overwritten here."""
    whole = tag_key + pad
    tag = Poly1305.generate_tag(whole, _message(request))
    wipe(whole)
    wipe(tag_key)
    return tag


def _message(request: pb.RelayRequest) -> bytes:
    pieces = "".join(f"{one.block_id}/{one.offset_bits}/{one.length_bits}\n" for one in request.pad)
    return len(request.header).to_bytes(8, "little") + request.header + pieces.encode() + request.ciphertext


def shares(material: bytes | bytearray, drawn: Sequence[bytes]) -> list[bytearray]:
    """Return len(drawn) + 1 shares whose XOR is `material`; any len(drawn) of them tell nothing of it.

    Args:
        material: What is shared.
        drawn: Uniform and never used again, each as long as the material.
    """
    last = bytearray(material)
    for share in drawn:
        xor_into(last, share)
    return [*(bytearray(share) for share in drawn), last]


def joined(parts: Sequence[bytes | bytearray]) -> bytearray:
    """Return the XOR of shares."""
    whole = bytearray(parts[0])
    for part in parts[1:]:
        xor_into(whole, part)
    return whole


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros."""
    buffer[:] = bytes(len(buffer))
