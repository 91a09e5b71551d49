"""node.keys.relay_schema: the tables of transfers in the key store. Pure.

One row for each transfer in every store that it touches. `state` is relay_machine.Transfer at the source, Receipt at
others; `pad_state` that of the pad to the next node. `received` is a digest of the request as it came, `request` the
one that goes on, sealed for the next node: kept until its pad is SETTLED or BURNED, so that the same bytes can be sent
again.
No row holds what a transfer carries.
`tag_keys`: see node.keys.relay_tag_keys; `name` says which bits a hash key is, is_own: drawn here.
"""

from typing import Final

__all__ = ["RELAY_TABLES"]

RELAY_TABLES: Final = """
CREATE TABLE transfers (
    transfer_id TEXT PRIMARY KEY,
    delivery_id TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    source_node TEXT NOT NULL,
    target_node TEXT NOT NULL,
    previous_node TEXT NOT NULL,
    next_node TEXT NOT NULL,
    pad_state TEXT,
    material_bits INTEGER NOT NULL,
    block_id TEXT NOT NULL,
    received BLOB,
    request BLOB,
    changed_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX transfers_of_delivery ON transfers (delivery_id);
CREATE INDEX transfers_to_burn ON transfers (next_node, changed_s) WHERE pad_state = 'burn_pending';
CREATE INDEX transfers_in_flight ON transfers (changed_s) WHERE pad_state = 'spent';
CREATE INDEX transfers_to_void ON transfers (target_node, changed_s) WHERE state = 'void_pending';
CREATE INDEX transfers_by_age ON transfers (changed_s);
CREATE TABLE tag_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    peer_node TEXT NOT NULL,
    is_own INTEGER NOT NULL,
    tags_count INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX tag_keys_of_peer ON tag_keys (peer_node, is_own);
CREATE TABLE transfer_keys (
    transfer_id TEXT NOT NULL, key_id TEXT NOT NULL, PRIMARY KEY (transfer_id, key_id)
) WITHOUT ROWID;
"""
