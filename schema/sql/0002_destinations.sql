-- 0002_destinations.sql - what deliveries to many kinds of destination over a metered link need.
--
-- received_at is what the wall clock said. A device without a battery starts in 1970 and meets the time later, so
-- rows carry the boot and its monotonic clock too, and the wall clock of a boot is kept apart, as an offset that
-- may be corrected: when something was received is boots.offset_ns + received_mono.

CREATE TABLE boots (
	id        INTEGER PRIMARY KEY,
	boot_id   TEXT NOT NULL UNIQUE,             -- /proc/sys/kernel/random/boot_id
	offset_ns INTEGER NOT NULL,                 -- wall clock minus CLOCK_BOOTTIME, as last seen
	is_set    INTEGER NOT NULL DEFAULT 0,       -- the wall clock was believable when it was last seen
	last_mono INTEGER NOT NULL                  -- CLOCK_BOOTTIME, when that was
) STRICT;

ALTER TABLE batches ADD COLUMN boot INTEGER;            -- boots.id; NULL: from version 1 of the file
ALTER TABLE batches ADD COLUMN received_mono INTEGER;   -- CLOCK_BOOTTIME in ns

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
