-- 0002_destinations.sql - what deliveries to many kinds of destination over a metered link need.
--
-- received_at is what the wall clock said. A device without a battery starts in 1970 and meets the time later, so
-- rows carry the boot and its monotonic clock too, and the wall clock of a boot is kept apart, as an offset that
-- may be corrected: when something was received is boots.offset_ns + received_mono.

CREATE TABLE boots (
	id        INTEGER PRIMARY KEY,
	boot_id   TEXT NOT NULL UNIQUE,             -- /proc/sys/kernel/random/boot_id
	offset_ns INTEGER NOT NULL,                 -- wall clock minus CLOCK_BOOTTIME, as last believed
	age_offset_ns INTEGER NOT NULL,             -- the least one that was believed: ages go by it
	is_set    INTEGER NOT NULL DEFAULT 0,       -- the wall clock was believable once
	last_mono INTEGER NOT NULL                  -- CLOCK_BOOTTIME, when this row was written
) STRICT;

ALTER TABLE batches ADD COLUMN boot INTEGER;            -- boots.id; NULL: from version 1 of the file
ALTER TABLE batches ADD COLUMN received_mono INTEGER;   -- CLOCK_BOOTTIME in ns

-- The same for the moment that a loss and an attempt were written down. boots.offset_ns + mono is the time; `at` and
-- last_attempt_at are what was believed then. Where a former boot knew the time, old rows of the ledger are made NULL
-- here and right there, so that they need no row of boots any more.
ALTER TABLE losses ADD COLUMN boot INTEGER;
ALTER TABLE losses ADD COLUMN mono INTEGER;
ALTER TABLE deliveries ADD COLUMN last_boot INTEGER;
ALTER TABLE deliveries ADD COLUMN last_mono INTEGER;

CREATE INDEX losses_boot ON losses (boot) WHERE boot IS NOT NULL;  -- which rows of boots are still needed

-- Of a damaged file: its totals were taken over (1), and the rows of its ledger below this id.
ALTER TABLE salvages ADD COLUMN next_loss_id INTEGER NOT NULL DEFAULT 0;

-- Of a full queue the dead letters of one class go first, however many others there are.
CREATE INDEX deliveries_dead_class ON deliveries (destination_id, priority, batch_id) WHERE state = 'dead';

-- Bytes on the wire, by day and month (UTC), so that a budget survives a restart.
CREATE TABLE uplink_usage (
	uplink TEXT NOT NULL,
	period TEXT NOT NULL,                       -- '2026-11-23' or '2026-11'
	bytes  INTEGER NOT NULL,
	PRIMARY KEY (uplink, period)
) STRICT, WITHOUT ROWID;

-- Single values that outlive the process: how far the ledger was sent as telemetry, and the like.
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The views again, with the corrected times.
DROP VIEW queue;
DROP VIEW queue_shape;
DROP VIEW dead_letters;
DROP VIEW loss_ledger;

CREATE VIEW queue AS
SELECT b.id AS batch_id, d.name AS destination, q.state, b.class, b.signal, b.service, q.records,
       b.stored_bytes, datetime(b.at / 1000000000, 'unixepoch') AS received,
       max(0, CAST(strftime('%s', 'now') AS INTEGER) - b.at / 1000000000) AS age_s,
       q.attempts, q.last_status, q.last_error, b.preview
FROM deliveries q
JOIN (SELECT r.*, coalesce(t.offset_ns + r.received_mono, r.received_at) AS at
      FROM batches r LEFT JOIN boots t ON t.id = r.boot) b ON b.id = q.batch_id
JOIN destinations d ON d.id = q.destination_id
ORDER BY q.destination_id, q.priority, q.batch_id;

CREATE VIEW queue_shape AS
SELECT d.name AS destination, b.signal, b.class, q.state, count(*) AS batches, sum(q.records) AS records,
       sum(b.stored_bytes) AS bytes,
       sum(CASE WHEN age_s < 60 THEN q.records ELSE 0 END) AS under_1m,
       sum(CASE WHEN age_s >= 60 AND age_s < 3600 THEN q.records ELSE 0 END) AS under_1h,
       sum(CASE WHEN age_s >= 3600 AND age_s < 86400 THEN q.records ELSE 0 END) AS under_1d,
       sum(CASE WHEN age_s >= 86400 THEN q.records ELSE 0 END) AS older,
       max(age_s) AS oldest_s
FROM deliveries q
JOIN (SELECT r.*, max(0, CAST(strftime('%s', 'now') AS INTEGER)
             - coalesce(t.offset_ns + r.received_mono, r.received_at) / 1000000000) AS age_s
      FROM batches r LEFT JOIN boots t ON t.id = r.boot) b ON b.id = q.batch_id
JOIN destinations d ON d.id = q.destination_id
GROUP BY d.id, b.signal, b.class, q.state;

CREATE VIEW dead_letters AS
SELECT b.id AS batch_id, d.name AS destination, b.signal, b.class, b.service, q.records, q.attempts,
       q.last_status, q.last_error,
       datetime(coalesce(a.offset_ns + q.last_mono, q.last_attempt_at) / 1000000000, 'unixepoch') AS died,
       datetime(coalesce(t.offset_ns + b.received_mono, b.received_at) / 1000000000, 'unixepoch') AS received,
       b.preview
FROM deliveries q JOIN batches b ON b.id = q.batch_id JOIN destinations d ON d.id = q.destination_id
LEFT JOIN boots t ON t.id = b.boot LEFT JOIN boots a ON a.id = q.last_boot
WHERE q.state = 'dead';

CREATE VIEW loss_ledger AS
SELECT datetime(coalesce(t.offset_ns + l.mono, l.at) / 1000000000, 'unixepoch') AS at, d.name AS destination,
       l.signal, l.class, l.reason, l.records, l.bytes,
       datetime(l.first_time / 1000000000, 'unixepoch') AS first_time,
       datetime(l.last_time / 1000000000, 'unixepoch') AS last_time, l.detail
FROM losses l LEFT JOIN destinations d ON d.id = l.destination_id LEFT JOIN boots t ON t.id = l.boot;
