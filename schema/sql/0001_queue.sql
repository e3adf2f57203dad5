-- 0001_queue.sql - the queue: what is stored, what is owed to whom, what was let go.
--
-- Times are Unix nanoseconds (UTC). Texts that stand for a closed set are checked here and listed in
-- schema/vocabulary.def and schema/delivery_states.def. Small rows first: listing never touches payloads.

CREATE TABLE destinations (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- stable over changes of kind and URL
	name            TEXT NOT NULL UNIQUE,               -- '(unrouted)' keeps what no route matched
	kind            TEXT NOT NULL,
	is_configured   INTEGER NOT NULL DEFAULT 1,         -- 0: not in the configuration any more; its data waits
	state           TEXT NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'backing_off', 'paused', 'unauthorized')),
	state_since     INTEGER NOT NULL,
	reason          TEXT,                               -- why it is not up, in words
	next_attempt_at INTEGER,
	last_success_at INTEGER
) STRICT;

-- One row: records of one signal, one tenant and one class, as an OTLP Export*ServiceRequest.
CREATE TABLE batches (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,     -- never used again, so it can name a batch for ever
	received_at  INTEGER NOT NULL,
	signal       TEXT NOT NULL CHECK (signal IN ('traces', 'metrics', 'logs')),
	tenant       TEXT NOT NULL DEFAULT '',
	class        TEXT NOT NULL CHECK (class IN ('critical', 'warning', 'info')),
	priority     INTEGER NOT NULL,                      -- of the class: 0 is sent first
	requests     INTEGER NOT NULL,                      -- how many requests were merged into it
	records      INTEGER NOT NULL,
	raw_bytes    INTEGER NOT NULL,
	stored_bytes INTEGER NOT NULL,
	encoding     TEXT NOT NULL CHECK (encoding IN ('none', 'gzip', 'zstd')),
	crc          INTEGER NOT NULL,                      -- CRC-32 (zlib's) of the payload as stored
	service      TEXT,                                  -- service.name of the first resource
	first_time   INTEGER,                               -- of the data, where it says
	last_time    INTEGER,
	preview      TEXT                                   -- name of the first span or metric, start of the first log body
) STRICT;

CREATE TABLE payloads (
	batch_id INTEGER PRIMARY KEY,
	body     BLOB NOT NULL
) STRICT;

-- One row for each batch that is owed to a destination. Deleted in the transaction that counts the outcome.
CREATE TABLE deliveries (
	batch_id        INTEGER NOT NULL,
	destination_id  INTEGER NOT NULL,
	priority        INTEGER NOT NULL,
	state           TEXT NOT NULL CHECK (state IN ('ready', 'dead')),
	records         INTEGER NOT NULL,                   -- still owed
	attempts        INTEGER NOT NULL DEFAULT 0,
	last_attempt_at INTEGER,
	last_status     INTEGER,                            -- HTTP or gRPC status of the last attempt
	last_error      TEXT,
	PRIMARY KEY (batch_id, destination_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_ready ON deliveries (destination_id, priority, batch_id) WHERE state = 'ready';
CREATE INDEX deliveries_dead ON deliveries (destination_id, batch_id) WHERE state = 'dead';

-- The loss ledger: records that were let go, and why.
CREATE TABLE losses (
	id             INTEGER PRIMARY KEY,
	at             INTEGER NOT NULL,
	destination_id INTEGER NOT NULL,
	signal         TEXT NOT NULL,
	class          TEXT NOT NULL,
	reason         TEXT NOT NULL,
	records        INTEGER NOT NULL,
	bytes          INTEGER NOT NULL,
	first_time     INTEGER,
	last_time      INTEGER,
	detail         TEXT
) STRICT;

-- What became of records since the file was made. Together with `deliveries` this gives the balance.
CREATE TABLE totals (
	destination_id INTEGER NOT NULL,
	signal         TEXT NOT NULL,
	outcome        TEXT NOT NULL CHECK (outcome IN
		('accepted', 'delivered', 'rejected', 'expired', 'evicted', 'purged', 'damaged')),
	records        INTEGER NOT NULL,
	PRIMARY KEY (destination_id, signal, outcome)
) STRICT, WITHOUT ROWID;

-- Queue files that were found damaged and set aside, and how far their salvage is.
CREATE TABLE salvages (
	id          INTEGER PRIMARY KEY,
	path        TEXT NOT NULL UNIQUE,
	found_at    INTEGER NOT NULL,
	reason      TEXT NOT NULL,
	state       TEXT NOT NULL CHECK (state IN ('running', 'done')),
	next_id     INTEGER NOT NULL DEFAULT 0,              -- batches below it were looked at
	batches     INTEGER NOT NULL DEFAULT 0,              -- moved over
	records     INTEGER NOT NULL DEFAULT 0,
	finished_at INTEGER
) STRICT;

-- Views for people. `at` columns are UTC, ages are seconds.

CREATE VIEW queue AS
SELECT b.id AS batch_id, d.name AS destination, q.state, b.class, b.signal, b.service, q.records,
       b.stored_bytes, datetime(b.received_at / 1000000000, 'unixepoch') AS received,
       CAST(strftime('%s', 'now') AS INTEGER) - b.received_at / 1000000000 AS age_s,
       q.attempts, q.last_status, q.last_error, b.preview
FROM deliveries q JOIN batches b ON b.id = q.batch_id JOIN destinations d ON d.id = q.destination_id
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
JOIN (SELECT *, CAST(strftime('%s', 'now') AS INTEGER) - received_at / 1000000000 AS age_s FROM batches) b
  ON b.id = q.batch_id
JOIN destinations d ON d.id = q.destination_id
GROUP BY d.id, b.signal, b.class, q.state;

CREATE VIEW dead_letters AS
SELECT b.id AS batch_id, d.name AS destination, b.signal, b.class, b.service, q.records, q.attempts,
       q.last_status, q.last_error, datetime(q.last_attempt_at / 1000000000, 'unixepoch') AS died,
       datetime(b.received_at / 1000000000, 'unixepoch') AS received, b.preview
FROM deliveries q JOIN batches b ON b.id = q.batch_id JOIN destinations d ON d.id = q.destination_id
WHERE q.state = 'dead';

CREATE VIEW loss_ledger AS
SELECT datetime(l.at / 1000000000, 'unixepoch') AS at, d.name AS destination, l.signal, l.class, l.reason,
       l.records, l.bytes, datetime(l.first_time / 1000000000, 'unixepoch') AS first_time,
       datetime(l.last_time / 1000000000, 'unixepoch') AS last_time, l.detail
FROM losses l LEFT JOIN destinations d ON d.id = l.destination_id;

-- accepted = delivered + queued + dead + rejected + expired + evicted + purged + damaged; difference is 0.
CREATE VIEW balance AS
SELECT d.name AS destination, s.signal, s.accepted, s.delivered, s.queued, s.dead, s.rejected, s.expired,
       s.evicted, s.purged, s.damaged,
       s.accepted - (s.delivered + s.queued + s.dead + s.rejected + s.expired + s.evicted + s.purged + s.damaged)
         AS difference
FROM (
	SELECT destination_id, signal,
	       sum(CASE outcome WHEN 'accepted' THEN records ELSE 0 END) AS accepted,
	       sum(CASE outcome WHEN 'delivered' THEN records ELSE 0 END) AS delivered,
	       sum(CASE outcome WHEN 'queued' THEN records ELSE 0 END) AS queued,
	       sum(CASE outcome WHEN 'dead' THEN records ELSE 0 END) AS dead,
	       sum(CASE outcome WHEN 'rejected' THEN records ELSE 0 END) AS rejected,
	       sum(CASE outcome WHEN 'expired' THEN records ELSE 0 END) AS expired,
	       sum(CASE outcome WHEN 'evicted' THEN records ELSE 0 END) AS evicted,
	       sum(CASE outcome WHEN 'purged' THEN records ELSE 0 END) AS purged,
	       sum(CASE outcome WHEN 'damaged' THEN records ELSE 0 END) AS damaged
	FROM (
		SELECT destination_id, signal, outcome, records FROM totals
		UNION ALL
		SELECT q.destination_id, b.signal, CASE q.state WHEN 'ready' THEN 'queued' ELSE 'dead' END,
		       sum(q.records)
		FROM deliveries q LEFT JOIN batches b ON b.id = q.batch_id
		GROUP BY q.destination_id, b.signal, q.state
	)
	GROUP BY destination_id, signal
) s LEFT JOIN destinations d ON d.id = s.destination_id;
