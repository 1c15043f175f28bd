-- Written by `cargo xtask generate` from sql/privileges.sql and the doc comments of the SQL functions.
-- Do not edit: change those and run it again.

COMMENT ON FUNCTION opdb.check_environment IS 'Connects to a registered environment and says what is there.

One row: reachable, latency_ms (the fastest of three round trips), server_version, in_recovery,
read_only (new transactions there cannot write), database and role as that server sees them, tls, and
detail (why it is not reachable, or what is unusual). An environment that cannot be reached is a row,
not an error.
Errors: 22004 for NULL, 42704 for an unknown environment.';

COMMENT ON FUNCTION opdb.create_event_partitions IS 'Makes the partitions of an event table that `moments` fall into and that are missing.

Result: how many were made.
Errors: 22004 for NULL, 42809 if the table is not an event table, 42501 without INSERT on it.';

COMMENT ON FUNCTION opdb.create_event_table IS 'Creates a table for events: id, source, source_id, occurred_at, payload, created_at, processed.

`name` is table or schema.table. The table is partitioned by occurred_at into ranges of `every` (1 hour,
1 day, 1 week or 1 month, in UTC), named name_YYYY_MM_DD; the partition of `start_at` (now, if NULL) is
made at once and others as records come. With `unique_source_id` a table name_keys holds every source_id
once, whoever writes: PostgreSQL allows no unique index on source_id alone here.
Result: the new table.
Errors: 22004 for a NULL name or interval, 42602 for an invalid name, 42622 for one that leaves no room
for the partitions'' suffix, 42P07 if the table exists, 0A000 for another interval.';

COMMENT ON FUNCTION opdb.current_environment IS 'What this database is, what this session writes to, and how that was decided.

One row, always: name and kind as declared (NULL if never), is_production, target, and how: explicit
(the setting opdb.target names it), inferred (this database''s own environment) or unset. Production is
never inferred.';

COMMENT ON FUNCTION opdb.drop_environment IS 'Forgets an environment and drops its foreign server and user mappings.

Errors: 22004 for NULL, 42704 for an unknown environment, 2BP01 while foreign tables use its server.';

COMMENT ON FUNCTION opdb.ingest IS 'Writes events, each source_id once.

`table` was made by create_event_table; `records` is a JSON array of
`{"source": text, "source_id": text, "occurred_at": ISO 8601 with offset, "payload": object}`.
Missing partitions are made. A source_id that is there already, or earlier in the same array, is a
duplicate and skipped. A record that cannot be stored goes to opdb.dead_letters with its error.
Result: one row with the numbers of inserted, duplicates and rejected.
Errors: 22004 for NULL, 42809 if the table is not an event table, 22023 if records is no array,
42501 without INSERT on the table.';

COMMENT ON FUNCTION opdb.iso8601_timestamp IS 'The moment that an ISO 8601 text with a UTC offset names, or NULL if it is none.';

COMMENT ON FUNCTION opdb.register_environment IS 'Registers another server as an environment: makes its postgres_fdw server and a user mapping for the
calling role.

`kind` as in set_environment. `options` are libpq and postgres_fdw server options (host, port, dbname,
sslmode, …); connect_timeout is 10 seconds unless given. `credentials` are the user mapping''s options
(user, password); every role that is to reach the environment calls this for itself. Calling it again
replaces kind and options, and the credentials if any are given.
Errors: 22004 for a NULL argument, 22023 for a wrong kind or shape, 42602 for an invalid name, HV00D for
an option that postgres_fdw does not know, 42710 for a server of that name that opdb did not make,
42501 without the right to create a server. No error repeats a credential.';

COMMENT ON FUNCTION opdb.set_environment IS 'Declares what this database is.

`kind` is one of local, development, test, staging, production, disaster_recovery. Calling it again
replaces the declaration.
Errors: 22004 for a NULL argument, 22023 for any other kind, 42602 for an empty or overlong name.';
