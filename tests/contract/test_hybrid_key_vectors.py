"""The derivation of hybrid keys against vectors, and both against HKDF written out from RFC 5869."""

import hashlib
import hmac
import json
from pathlib import Path

from node.keys.hybrid import agreed_secret, hybrid_key, pqc_key, wrapped

VECTORS = json.loads(Path(__file__).with_name("hybrid-key-vectors.json").read_text(encoding="utf-8"))
CIPHERTEXT = bytes(i % 251 for i in range(1088))


def hkdf(material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, SHA-256, no salt."""
    key = hmac.digest(bytes(32), material, "sha256")
    out, block = b"", b""
    for counter in range(1, length // 32 + 2):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def test_the_derivation_is_the_one_that_the_contract_says() -> None:
    kem_secret, kem_id, key_id = bytes.fromhex(VECTORS["kem_secret"]), VECTORS["kem_id"], VECTORS["key_id"]
    secret = bytes.fromhex(VECTORS["agreed_secret"])
    context = b"qnetem kem v1\0" + kem_id.encode() + hashlib.sha256(CIPHERTEXT).digest()
    assert agreed_secret(kem_secret, kem_id, CIPHERTEXT) == hkdf(kem_secret, context, 32) == secret
    for case in VECTORS["hybrid"]:
        bits, key = bytes.fromhex(case["bits"]), bytes.fromhex(case["key"])
        info = b"qnetem hybrid v1\0" + key_id.encode()
        assert hybrid_key(bits, secret, key_id) == hkdf(bits + secret, info, len(bits)) == key
    for case in VECTORS["pqc"]:
        size, key = case["size_bytes"], bytes.fromhex(case["key"])
        assert pqc_key(secret, key_id, size) == hkdf(secret, b"qnetem pqc v1\0" + key_id.encode(), size) == key
    inner, wrap = (bytes.fromhex(VECTORS["wrapped"][name]) for name in ("secret", "wrap"))
    mask = hkdf(secret, b"qnetem kem wrap v1", 32)
    assert wrapped(inner, secret) == bytes(a ^ b for a, b in zip(inner, mask, strict=True)) == wrap
    assert wrapped(wrap, secret) == inner


def test_every_input_of_the_derivation_counts() -> None:
    secret = bytes.fromhex(VECTORS["agreed_secret"])
    keys = {
        bytes(hybrid_key(bits, agreed, key_id))
        for bits in (bytes(32), bytes(31) + b"\1")
        for agreed in (secret, bytes(32))
        for key_id in (VECTORS["key_id"], VECTORS["kem_id"])
    }
    assert len(keys) == 8
    assert len({agreed_secret(bytes(32), name, text) for name in ("a", "b") for text in (b"x", b"y")}) == 4
