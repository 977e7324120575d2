-- A board exists when it has a row here (L1). The state is a zstd-compressed Yjs v1 update that folds every entry up to
-- and including the cursor (G3); `version` is the fence of its compare-and-set (L7).
CREATE TABLE canvas_snapshots (
    board_id        text PRIMARY KEY CHECK (board_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    version         bigint NOT NULL DEFAULT 0,
    cursor_ms       bigint NOT NULL,
    cursor_seq      bigint NOT NULL,
    cursor_tag      text NOT NULL,
    -- The cursor of the snapshot before: the log is trimmed to it, so that a database that fails over to the state
    -- before this snapshot still finds its entries (L8).
    previous_ms     bigint NOT NULL,
    previous_seq    bigint NOT NULL,
    state           bytea NOT NULL,
    state_bytes     bigint NOT NULL,
    state_vector    bytea NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
-- Compressed by us already: out of line, and not compressed again.
ALTER TABLE canvas_snapshots ALTER COLUMN state SET STORAGE EXTERNAL;

-- Updates that could not be folded, kept for people to look at. They stop nobody (G6).
CREATE TABLE quarantined_updates (
    board_id        text NOT NULL REFERENCES canvas_snapshots ON DELETE CASCADE,
    entry_ms        bigint NOT NULL,
    entry_seq       bigint NOT NULL,
    entry_tag       text NOT NULL,
    position        integer NOT NULL,
    reason          text NOT NULL,
    payload         bytea NOT NULL,
    quarantined_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (board_id, entry_ms, entry_seq, entry_tag, position)
);

-- Keys are kept as hashes only. '*' opens every board.
CREATE TABLE api_keys (
    key_hash        text PRIMARY KEY CHECK (key_hash ~ '^[0-9a-f]{64}$'),
    board_id        text NOT NULL,
    role            text NOT NULL DEFAULT 'viewer' CHECK (role IN ('viewer', 'editor')),
    label           text NOT NULL DEFAULT '',
    is_active       boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    revoked_at      timestamptz
);
CREATE INDEX api_keys_board ON api_keys (board_id);
