"""Relaying, its pure parts: states and events, bytes of a hop, shares, and which paths to take."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.keys.records import Piece, Pool
from node.keys.relay_conservation import imbalances
from node.keys.relay_frame import (
    BadTagError,
    checked_path,
    header_of,
    joined,
    material_bits,
    opened,
    sealed,
    shares,
)
from node.keys.relay_machine import (
    Pad,
    PadEvent,
    Receipt,
    ReceiptEvent,
    Transfer,
    TransferEvent,
    is_releasable,
    pad_after,
    receipt_after,
    transfer_after,
)
from node.keys.relay_paths import PathBook, PathTable, RelayPath
from node.keys.relay_times import Usual
from qnetem.runtime.errors import BadInputError, ConflictError
from qnetem.v1 import key_relay_pb2 as pb

ID = "00000000-0000-4000-8000-00000000000"
PIECES = (Piece("b1", 0, 512), Piece("b2", 64, 128))
KEY_PIECES = (Piece("b0", 8, 128),)
PAD, TAG_KEY = bytes(range(80)), b"recycled" * 2


# states


@given(st.lists(st.sampled_from(TransferEvent)))
def test_a_transfer_is_never_both_released_and_void(events: list[TransferEvent]) -> None:
    state, seen = Transfer.OPEN, [Transfer.OPEN]
    for event in events:
        try:
            state = transfer_after(state, event)
        except ConflictError:
            continue
        seen.append(state)
    assert not {Transfer.DONE, Transfer.VOIDED} <= set(seen)
    assert not {Transfer.DONE, Transfer.VOID_PENDING} <= set(seen)
    if Transfer.DONE in seen:
        assert Transfer.HELD in seen


@given(st.lists(st.sampled_from(ReceiptEvent)))
def test_what_was_voided_or_burned_never_comes(events: list[ReceiptEvent]) -> None:
    state: Receipt | None = None
    for event in events:
        before = state
        try:
            state = receipt_after(state, event)
        except ConflictError:
            continue
        came = event in (ReceiptEvent.CAME_HOME, ReceiptEvent.CAME_THROUGH)
        assert not (came and before in (Receipt.VOIDED, Receipt.BURNED))
        if before is Receipt.VOIDED:
            assert state is Receipt.VOIDED


@given(st.lists(st.sampled_from(PadEvent)))
def test_a_pad_is_settled_or_burned_and_stays_so(events: list[PadEvent]) -> None:
    state, seen = Pad.SPENT, [Pad.SPENT]
    for event in events:
        try:
            state = pad_after(state, event)
        except ConflictError:
            continue
        seen.append(state)
    assert not {Pad.SETTLED, Pad.BURN_PENDING} <= set(seen)
    assert seen == sorted(seen, key=[Pad.SPENT, Pad.SETTLED, Pad.BURN_PENDING, Pad.BURNED].index)


def test_keys_go_to_their_master_when_every_target_holds_them() -> None:
    for states in itertools.product(Transfer, repeat=2):
        assert is_releasable(states) == (set(states) == {Transfer.HELD})
    assert not is_releasable([])


# bytes


def test_a_hop_gives_back_what_went_in_and_wipes_what_it_used() -> None:
    material = b"k" * 64
    used, carried, key = bytearray(PAD), bytearray(material), bytearray(TAG_KEY)
    request = sealed(b"header", PIECES, carried, used, KEY_PIECES, key)
    assert (used, carried, key) == (bytes(80), bytes(64), bytes(16))
    assert request.ciphertext == bytes(a ^ b for a, b in zip(material, PAD, strict=False))
    assert TAG_KEY not in request.SerializeToString()
    again, key = bytearray(PAD), bytearray(TAG_KEY)
    assert opened(request, again, key) == material
    assert (again, key) == (bytes(80), bytes(16))


def test_a_hash_key_is_recycled_and_two_tags_of_one_message_have_nothing_in_common() -> None:
    tags = []
    for pad in (PAD, PAD[::-1]):
        carried = bytearray(64)
        request = sealed(b"header", PIECES, carried, bytearray(pad), KEY_PIECES, bytearray(TAG_KEY))
        assert opened(request, bytearray(pad), bytearray(TAG_KEY)) == bytes(64)
        with pytest.raises(BadTagError):
            opened(request, bytearray(pad), bytearray(reversed(TAG_KEY)))
        with pytest.raises(BadTagError):
            opened(request, bytearray(pad[:-1] + b"\xff"), bytearray(TAG_KEY))
        tags.append(request.tag)
    assert tags[0] != tags[1]


@pytest.mark.parametrize("spoil", ["header", "ciphertext", "pad", "tag", "order"])
def test_a_changed_request_is_refused(spoil: str) -> None:
    request = sealed(b"header", PIECES, bytearray(b"k" * 64), bytearray(PAD), KEY_PIECES, bytearray(TAG_KEY))
    match spoil:
        case "header":
            request.header = b"headeR"
        case "ciphertext":
            request.ciphertext = bytes([request.ciphertext[0] ^ 1]) + request.ciphertext[1:]
        case "pad":
            request.pad[1].offset_bits += 8
        case "order":
            request.pad.reverse()
        case "tag":
            request.tag = bytes(16)
    with pytest.raises(BadTagError):
        opened(request, bytearray(PAD), bytearray(TAG_KEY))
    with pytest.raises(BadInputError):
        opened(request, bytearray(PAD[:-1]), bytearray(TAG_KEY))


def test_the_tag_is_that_of_the_contract() -> None:
    # RFC 8439, 2.5.2, the halves of its key as hash key and as the tag's bits of the pad; the contract's framing
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    pad = bytearray(b"\x02" + key[16:])
    request = sealed(b"h", (Piece("b", 8, 136),), bytearray(b"\x01"), pad, KEY_PIECES, bytearray(key[:16]))
    message = (1).to_bytes(8, "little") + b"h" + b"b/8/136\n" + b"\x03"
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start : start + 16] + b"\x01", "little")) * r % ((1 << 130) - 5)
    expected = (total + int.from_bytes(key[16:], "little")) % (1 << 128)
    assert request.tag == expected.to_bytes(16, "little")


@given(st.binary(min_size=1, max_size=64), st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_shares_make_the_whole_again(whole: bytes, count: int, random: object) -> None:
    drawn = [random.randbytes(len(whole)) for _ in range(count - 1)]  # type: ignore[attr-defined]
    parts = shares(whole, drawn)
    assert len(parts) == count
    assert joined(parts) == whole


def test_all_shares_but_one_tell_nothing() -> None:
    # two-bit secrets, exhaustively: the other shares are uniform whatever the secret is
    for whole in range(4):
        seen = Counter(
            (bytes(parts[1])[0], bytes(parts[2])[0])
            for first, second in itertools.product(range(4), repeat=2)
            for parts in [shares(bytes([whole]), [bytes([first]), bytes([second])])]
        )
        assert set(seen.values()) == {1}
        assert len(seen) == 16


def header(**changes: object) -> pb.RelayHeader:
    good = pb.RelayHeader(transfer_id=f"{ID}1", delivery_id=f"{ID}2", path=["a", "b"], size_bits=64, share_count=1)
    good.keys.key_ids.extend([f"{ID}3", f"{ID}4"])
    for name, value in changes.items():
        if name == "path":
            del good.path[:]
            good.path.extend(value)  # type: ignore[arg-type]
        elif name == "key_ids":
            del good.keys.key_ids[:]
            good.keys.key_ids.extend(value)  # type: ignore[arg-type]
        else:
            setattr(good, name, value)
    return good


def test_a_header_says_how_much_it_carries() -> None:
    assert material_bits(header_of(header().SerializeToString())) == 128
    block = header()
    block.block.block_id = "b"
    assert material_bits(header_of(block.SerializeToString())) == 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transfer_id": "X"}, "transfer_id"),
        ({"delivery_id": f"{ID}2".upper().replace("8", "A")}, "delivery_id"),
        ({"path": ["a"]}, "path"),
        ({"path": ["a", "b", "a"]}, "path"),
        ({"path": ["a", ""]}, "path"),
        ({"path": [f"n{i}" for i in range(17)]}, "path"),
        ({"size_bits": 0}, "size_bits"),
        ({"size_bits": 12}, "size_bits"),
        ({"share_count": 0}, "share"),
        ({"share_count": 9}, "share"),
        ({"share_index": 1}, "share"),
        ({"key_ids": []}, "0 keys"),
        ({"key_ids": [f"{ID}3", f"{ID}3"]}, "2 keys"),
        ({"key_ids": ["x"]}, "key_id"),
        ({"size_bits": 1 << 21}, "bits in one transfer"),
    ],
)
def test_what_a_header_may_not_say(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        header_of(header(**changes).SerializeToString())


def test_what_is_no_header() -> None:
    for data in (b"", b"\xff\xff\xff", b"\x0a\xff"):
        with pytest.raises(BadInputError):
            header_of(data)
    with pytest.raises(BadInputError):
        checked_path([])


# paths


def book(*paths: str) -> PathBook:
    made = PathBook("a", {"b", "c"})
    targets: dict[str, tuple[RelayPath, ...]] = {}
    for path in paths:
        nodes = tuple(path)
        targets[nodes[-1]] = (*targets.get(nodes[-1], ()), RelayPath(nodes))
    made.install(PathTable("controller", 1, targets))
    return made


def chosen(made: PathBook, target: str, count: int = 1, now_s: float = 0.0, allowed: str | None = None) -> list[str]:
    return [
        "".join(path.nodes) for path in made.choice(target, count, now_s, None if allowed is None else set(allowed))
    ]


def test_the_best_ranked_path_is_taken_and_a_suspect_hop_gone_around() -> None:
    made = book("abd", "acd", "abcd")
    assert chosen(made, "d") == ["abd"]
    made.doubt(("a", "b"), 0.0)
    assert chosen(made, "d") == ["acd"]
    made.doubt(("c", "d"), 1.0)
    # all suspect: the one whose trouble is the oldest
    assert chosen(made, "d", now_s=1.0) == ["abd"]
    made.trust([("a", "b")])
    assert chosen(made, "d", now_s=1.0) == ["abd"]
    assert chosen(made, "d", now_s=100.0) == ["abd"]
    made.doubt(("b", "d"), 100.0, is_dry=True)
    assert chosen(made, "d", now_s=100.5) == ["acd"]
    assert chosen(made, "d", now_s=101.5) == ["abd"]


def test_a_path_that_brought_no_answer_is_taken_later_and_its_hops_are_not_blamed() -> None:
    made = book("abd", "acd", "abe")
    made.doubt_path(tuple("abd"), 0.0)
    assert chosen(made, "d", now_s=1.0) == ["acd"]
    assert chosen(made, "e", now_s=1.0) == ["abe"]
    assert chosen(made, "d", now_s=6.0) == ["abd"]
    made.doubt_path(tuple("abd"), 6.0)
    made.trust_path(RelayPath(tuple("abd")))
    assert chosen(made, "d", now_s=6.0) == ["abd"]


def test_a_neighbour_needs_no_installed_path_and_may_have_one() -> None:
    made = book("acdb")
    assert chosen(made, "b") == ["ab"]
    assert chosen(made, "b", 2) == ["ab", "acdb"]
    made.doubt(("a", "b"), 0.0)
    assert chosen(made, "b") == ["acdb"]
    assert made.targets() == {"b", "c"}


def test_shares_go_over_paths_without_a_relay_in_common() -> None:
    made = book("abed", "abd", "acd")
    assert chosen(made, "d", 2) == ["abed", "acd"]
    assert chosen(made, "d", 3) == []
    # the best single path is part of no pair
    assert chosen(book("abcd", "abed", "acd"), "d", 2) == ["abed", "acd"]


def test_relays_that_are_not_allowed_are_on_no_path() -> None:
    made = book("abd", "acd")
    assert chosen(made, "d", allowed="c") == ["acd"]
    assert chosen(made, "d", allowed="") == []
    assert chosen(made, "b", allowed="") == ["ab"]


def test_a_table_is_replaced_by_a_newer_or_anothers_one() -> None:
    made = book("abd")
    assert not made.is_newer(PathTable("controller", 1))
    assert made.is_newer(PathTable("controller", 2))
    assert made.is_newer(PathTable("operator", 1))


def test_a_silent_hop_is_probed_over_the_shortest_way_to_it() -> None:
    made = book("abed", "acbed", "acd")
    made.doubt(("b", "e"), 0.0)
    made.doubt(("c", "d"), 0.0, is_dry=True)
    made.doubt(("a", "b"), 0.0)
    assert made.probe_paths(1.0) == {("b", "e"): ("a", "b", "e"), ("a", "b"): ("a", "b")}
    assert made.probe_paths(math.inf) == {}


# conservation


def test_conservation_tells_what_does_not_add_up() -> None:
    good = {
        "a": [Pool("b", 100, available_bits=40, peer_available_bits=50, relayed_bits=6, tags_bits=4)],
        "b": [Pool("a", 100, available_bits=50, peer_available_bits=40, relayed_bits=6, tags_bits=4)],
    }
    assert imbalances(good, is_settled=True) == []
    lost = {**good, "a": [Pool("b", 100, available_bits=40, peer_available_bits=50, relayed_bits=6)]}
    assert len(imbalances(lost, is_settled=True)) == 1
    differing = {**good, "b": [Pool("a", 100, available_bits=50, peer_available_bits=48, tags_bits=2)]}
    assert len(imbalances(differing, is_settled=True)) == 1
    assert imbalances(differing, is_settled=False) == []
    assert len(imbalances({"a": good["a"]}, is_settled=True)) == 1


def test_what_a_path_hardly_ever_takes_follows_what_it_took() -> None:
    usual = Usual()
    assert usual.limit_s == 0.0
    usual.note(0.2)
    assert usual.limit_s == pytest.approx(0.6)
    for _ in range(50):
        usual.note(0.2)
    assert usual.limit_s == pytest.approx(0.2, abs=1e-3)
    for taken_s in [0.1, 0.3] * 50:
        usual.note(taken_s)
    assert 0.5 < usual.limit_s < 0.7
    for _ in range(50):
        usual.note(0.5)
    assert usual.limit_s == pytest.approx(0.5, abs=0.02)


def test_a_path_is_another_only_when_it_is_sound_and_not_tried() -> None:
    book = PathBook("a", ["b", "c"])
    first, second = RelayPath(("a", "b", "d")), RelayPath(("a", "c", "d"))
    book.install(PathTable("test", 1, {"d": (first, second)}))
    assert book.has_other("d", [first], 0.0)
    assert not book.has_other("d", [first, second], 0.0)
    assert not book.has_other("d", [first], 0.0, allowed={"b"})
    book.doubt(("a", "c"), 0.0)
    assert not book.has_other("d", [first], 0.0)
    book.trust([("a", "c")])
    assert book.has_other("d", [first], 0.0)
