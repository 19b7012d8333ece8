"""The ledger's tables, as steps from one version to the next; a step that has shipped is never edited."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        folder BLOB NOT NULL,
        path BLOB NOT NULL,
        source_sha256 TEXT NOT NULL,
        target TEXT NOT NULL,
        in_place INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('queued', 'claimed', 'done', 'failed', 'skipped', 'undone')),
        reason TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        not_before REAL NOT NULL DEFAULT 0,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        model TEXT NOT NULL DEFAULT '',
        workplace BLOB,
        destination BLOB,
        result_sha256 TEXT,
        result_size INTEGER,
        width INTEGER NOT NULL DEFAULT 0,
        height INTEGER NOT NULL DEFAULT 0,
        out_width INTEGER NOT NULL DEFAULT 0,
        out_height INTEGER NOT NULL DEFAULT 0,
        kept INTEGER NOT NULL DEFAULT 0,
        seconds REAL NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        UNIQUE (path, source_sha256, target)
    );
    CREATE INDEX jobs_by_state ON jobs (state, not_before);
    CREATE TABLE results (
        sha256 TEXT NOT NULL,
        job INTEGER NOT NULL REFERENCES jobs (id),
        PRIMARY KEY (sha256, job)
    ) WITHOUT ROWID;
    CREATE TABLE seen (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        rules TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE folders (
        path BLOB PRIMARY KEY,
        marker TEXT,
        agreed INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE originals (
        sha256 TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        stored REAL NOT NULL,
        until REAL NOT NULL,
        gone INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX jobs_by_change ON jobs (state, changed);
    CREATE TABLE reviews (
        job INTEGER PRIMARY KEY REFERENCES jobs (id),
        changed REAL NOT NULL
    )
    """,
    """
    ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE looks (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        deaths INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX jobs_by_source ON jobs (source_sha256)",
    """
    CREATE TABLE identity (id TEXT NOT NULL);
    INSERT INTO identity (id) VALUES (lower(hex(randomblob(16))))
    """,
    """
    CREATE TABLE stores (path BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE clock (
        counted REAL NOT NULL,
        wall REAL NOT NULL,
        boot TEXT NOT NULL,
        up REAL NOT NULL
    );
    CREATE INDEX jobs_by_result ON jobs (result_sha256)
    """,
    """
    ALTER TABLE jobs ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE in_order (sequence INTEGER PRIMARY KEY, job INTEGER NOT NULL UNIQUE);
    INSERT INTO in_order (job) SELECT id FROM jobs ORDER BY changed, id;
    UPDATE jobs SET sequence = (SELECT sequence FROM in_order WHERE job = jobs.id);
    DROP TABLE in_order;
    DROP INDEX jobs_by_change;
    CREATE INDEX jobs_in_sequence ON jobs (sequence);
    CREATE INDEX jobs_by_sequence ON jobs (state, sequence);
    CREATE TRIGGER jobs_begin AFTER INSERT ON jobs BEGIN
        UPDATE jobs SET sequence = (SELECT max(sequence) + 1 FROM jobs) WHERE id = NEW.id;
    END;
    CREATE TRIGGER jobs_change AFTER UPDATE OF changed ON jobs BEGIN
        UPDATE jobs SET sequence = (SELECT max(sequence) + 1 FROM jobs) WHERE id = NEW.id;
    END
    """,
    """
    DROP INDEX jobs_by_state;
    CREATE INDEX jobs_in_turn ON jobs (folder, not_before) WHERE state = 'queued'
    """,
)
