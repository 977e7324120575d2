-- Pictures that boards show: what was uploaded, as it was uploaded. A board's total is counted when one is added.
CREATE TABLE assets (
    board_id        text NOT NULL REFERENCES canvas_snapshots ON DELETE CASCADE,
    asset_id        text NOT NULL CHECK (asset_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    mime_type       text NOT NULL,
    width           integer NOT NULL,
    height          integer NOT NULL,
    is_animated     boolean NOT NULL,
    size_bytes      integer NOT NULL,
    sha256          text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    body            bytea NOT NULL,
    -- The label of the key that uploaded it.
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (board_id, asset_id)
);
-- Compressed as pictures are: out of line, not compressed again, so that a part is read without the rest.
ALTER TABLE assets ALTER COLUMN body SET STORAGE EXTERNAL;
