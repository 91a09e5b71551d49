-- The tables of a key store of schema version 2, as the program wrote them. Never changed: stores like this exist.
CREATE TABLE vault (
    id INTEGER PRIMARY KEY CHECK (id = 1), store_id BLOB NOT NULL, data_key BLOB NOT NULL, audit_secret BLOB NOT NULL
);
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, mac BLOB NOT NULL
);
CREATE TABLE audit_outbox (last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, lines BLOB NOT NULL);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    block_id TEXT NOT NULL UNIQUE,
    link_id TEXT NOT NULL,
    peer_node TEXT NOT NULL,
    role TEXT NOT NULL,
    bit_count INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_confirmed INTEGER NOT NULL DEFAULT 0,
    own_next_bits INTEGER NOT NULL,
    own_end_bits INTEGER NOT NULL,
    peer_start_bits INTEGER NOT NULL,
    peer_end_bits INTEGER NOT NULL,
    peer_left_bits INTEGER NOT NULL,
    live_bits INTEGER NOT NULL,
    is_preshared INTEGER NOT NULL DEFAULT 0,
    ended_s REAL
);
CREATE INDEX blocks_to_give ON blocks (peer_node, id)
    WHERE state = 'available' AND is_confirmed = 1 AND own_next_bits < own_end_bits AND is_preshared = 0;
CREATE INDEX blocks_over ON blocks (id) WHERE live_bits = 0 AND ended_s IS NULL;
CREATE INDEX blocks_ended ON blocks (ended_s) WHERE ended_s IS NOT NULL;
CREATE INDEX blocks_in_doubt ON blocks (link_id, id)
    WHERE state = 'prepared' OR (state = 'available' AND is_confirmed = 0);
CREATE TABLE secrets (id INTEGER PRIMARY KEY, live_bytes INTEGER NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE used (
    block INTEGER NOT NULL, start_bits INTEGER NOT NULL, end_bits INTEGER NOT NULL, PRIMARY KEY (block, start_bits)
) WITHOUT ROWID;
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    peer_node TEXT NOT NULL,
    is_master INTEGER NOT NULL,
    master_sae_id TEXT NOT NULL,
    size_bits INTEGER NOT NULL,
    state TEXT NOT NULL,
    changed_s REAL NOT NULL,
    expires_s REAL,
    sealed BLOB
) WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (state, changed_s);
CREATE INDEX keys_to_expire ON keys (expires_s) WHERE state = 'assigned' AND expires_s IS NOT NULL;
CREATE TABLE pieces (
    key_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    block INTEGER NOT NULL,
    offset_bits INTEGER NOT NULL,
    length_bits INTEGER NOT NULL,
    PRIMARY KEY (key_id, position)
) WITHOUT ROWID;
CREATE TABLE parties (
    key_id TEXT NOT NULL, sae_id TEXT NOT NULL, is_collected INTEGER NOT NULL, PRIMARY KEY (key_id, sae_id)
) WITHOUT ROWID;
CREATE TABLE pools (
    peer_node TEXT PRIMARY KEY,
    made_bits INTEGER NOT NULL DEFAULT 0,
    unconfirmed_bits INTEGER NOT NULL DEFAULT 0 CHECK (unconfirmed_bits >= 0),
    available_bits INTEGER NOT NULL DEFAULT 0 CHECK (available_bits >= 0),
    peer_available_bits INTEGER NOT NULL DEFAULT 0 CHECK (peer_available_bits >= 0),
    kept_bits INTEGER NOT NULL DEFAULT 0 CHECK (kept_bits >= 0),
    reserved_bits INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bits >= 0),
    assigned_bits INTEGER NOT NULL DEFAULT 0 CHECK (assigned_bits >= 0),
    delivered_bits INTEGER NOT NULL DEFAULT 0,
    voided_bits INTEGER NOT NULL DEFAULT 0,
    expired_bits INTEGER NOT NULL DEFAULT 0,
    quarantined_bits INTEGER NOT NULL DEFAULT 0,
    tags_bits INTEGER NOT NULL DEFAULT 0,
    relayed_bits INTEGER NOT NULL DEFAULT 0,
    keep_bits INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
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
CREATE TABLE transfer_keys (
    transfer_id TEXT NOT NULL, key_id TEXT NOT NULL, PRIMARY KEY (transfer_id, key_id)
) WITHOUT ROWID;
CREATE TABLE agreed (key_id TEXT PRIMARY KEY, mode TEXT NOT NULL, sealed BLOB, noted_s REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX agreed_by_age ON agreed (noted_s);
CREATE TABLE streams (
    stream_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    qos TEXT NOT NULL,
    is_source_open INTEGER NOT NULL,
    is_destination_open INTEGER NOT NULL,
    next_source INTEGER NOT NULL DEFAULT 0,
    next_destination INTEGER NOT NULL DEFAULT 0,
    changed_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX streams_over ON streams (changed_s) WHERE is_source_open = 0 OR is_destination_open = 0;
CREATE TABLE chunks (
    stream_id TEXT NOT NULL, position INTEGER NOT NULL, key_id TEXT NOT NULL, is_told INTEGER NOT NULL,
    PRIMARY KEY (stream_id, position)
) WITHOUT ROWID;
