-- Written by `cargo xtask generate` from sql/privileges.sql and the doc comments of the SQL functions.
-- Do not edit: change those and run it again.

-- Who may do what. Nothing is granted to PUBLIC; each role has what the one before has, and more. Nobody may
-- write to opdb's tables but its functions: what stands there is acted upon.
REVOKE ALL ON ALL ROUTINES IN SCHEMA opdb FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA opdb FROM PUBLIC;

-- opdb_reader looks.
GRANT USAGE ON SCHEMA opdb TO opdb_reader;
GRANT SELECT ON
    opdb.own_environment, opdb.setting, opdb.environment, opdb.environments, opdb.compare_progress,
    opdb.event_table, opdb.dead_letters,
    opdb.schema_snapshot, opdb.schema_fact, opdb.schema_snapshots,
    opdb.quality_rule, opdb.quality_run, opdb.quality_scan, opdb.quality_run_scan,
    opdb.deployments, opdb.settings, opdb.deployment_metrics, opdb.lineage,
    opdb.job, opdb.job_state, opdb.job_run, opdb.jobs, opdb.job_runs,
    opdb.index_ledger,
    opdb.partition_set, opdb.partition_state, opdb.partition_hold, opdb.retired_partition, opdb.partition_status,
    opdb.partition_runs, opdb.partition_conversion, opdb.partition_conversions
TO opdb_reader;
-- Not the distributions of values that results hold: they are what is in a table.
GRANT SELECT (run_id, position, rule_id, name, dimension, rule, columns, evaluated, passed, ratio, threshold, status, evidence)
    ON opdb.quality_result TO opdb_reader;
GRANT EXECUTE ON FUNCTION
    opdb.current_environment, opdb.setting_defaults,
    opdb.schema_fingerprint, opdb.validate_schema, opdb.assert_schema, opdb.schema_drift,
    opdb.quality_report, opdb.quality_failures, opdb.quality_failures_together, opdb.quality_history,
    opdb.has_format, opdb.json_valid, opdb.is_castable,
    opdb.next_run, opdb.pg_cron_jobs, opdb.pg_cron_runs,
    opdb.vacuum_plan,
    opdb.index_advice, opdb.has_index,
    opdb.plan_partitions, opdb.partition_overview, opdb.partition_drift, opdb.pending_partition_changes
TO opdb_reader;

-- opdb_operator works: with tables it has rights on, and with environments it has credentials for. It may
-- not make a foreign server, so register_environment only gives it credentials of its own.
GRANT EXECUTE ON FUNCTION
    opdb.register_environment, opdb.check_environment,
    opdb.create_event_table, opdb.ingest, opdb.create_event_partitions, opdb.event_records, opdb.iso8601_timestamp,
    opdb.capture_schema, opdb.drop_schema_snapshot, opdb.diff_schema,
    opdb.add_quality_rule, opdb.quality_score, opdb.quarantine_failures, opdb.suggest_quality_rules,
    opdb.check_compatibility, opdb.is_compatible, opdb.verify_column_mapping, opdb.compare_data, opdb.compare_summary,
    opdb.pre_deployment_check, opdb.deploy, opdb.rollback_deployment, opdb.plan_deploy, opdb.clean_deployments, opdb.add_transformation, opdb.drop_transformation,
    opdb.add_job, opdb.drop_job, opdb.enable_job, opdb.disable_job, opdb.run_job,
    opdb.schedule_with_pg_cron, opdb.unschedule_from_pg_cron, opdb.add_maintenance_jobs,
    opdb.drop_advised_index,
    opdb.manage_partitions, opdb.unmanage_partitions, opdb.run_partitions, opdb.hold_partitions, opdb.release_partitions,
    opdb.add_partition_job, opdb.partition_commands,
    opdb.due_partition_sets, opdb.partition_tasks, opdb.run_partition_task, opdb.finish_partition_run,
    opdb.begin_partition_table, opdb.continue_partition_table, opdb.plan_partition_table, opdb.cancel_partition_table
TO opdb_operator;
GRANT EXECUTE ON PROCEDURE opdb.run_partition_maintenance, opdb.partition_table TO opdb_operator;
GRANT SELECT ON opdb.deployment, opdb.deployment_error, opdb.deployment_errors, opdb.transformation TO opdb_operator;

-- opdb_admin decides what this database is and which others it knows, dumps all of it, and tidies up.
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA opdb TO opdb_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA opdb TO opdb_admin;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA opdb TO opdb_admin;
GRANT DELETE ON opdb.dead_letter, opdb.quality_rule, opdb.quality_run, opdb.quality_result, opdb.quality_scan,
    opdb.quality_run_scan, opdb.quality_failure, opdb.deployment, opdb.deployment_error, opdb.job_run, opdb.dropped_index, opdb.partition_run, opdb.retired_partition TO opdb_admin;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO opdb_admin;

COMMENT ON FUNCTION opdb.add_job IS 'Adds a job: one SQL statement that opdb''s worker runs by a schedule, as the role that added it.

`schedule` is a cron expression of five fields (minute, hour, day of month, month, day of week; or @hourly,
@daily, @weekly, @monthly, @yearly), or `every` and an interval. It is meant in `timezone`, with its changes of the
clock: 5 0 * * * comes once on every day, of 23 or 25 hours too. `command` runs at top level, so that VACUUM,
CREATE INDEX CONCURRENTLY and procedures that commit are allowed. `options`: role, enabled, catch_up (run_once or
skip, for times that were missed), timeout (of each statement), max_runtime (of the run), retries and
retry_delay (doubled each time, with jitter), window {start, end}, max_active, gexec (run the statements in the
column "command" of the command''s rows), settings.
Warns if the worker is off.
Errors: 22004 for NULL, 42602 for an invalid name, 42710 for a name that exists, 22023 for a schedule, a time zone
or an option that cannot be, 42601 for a command that is not one statement, 0A000 for one that needs a client,
42704, 28000 and 42501 for a role that does not exist, may not log in or is not the caller''s.';

COMMENT ON FUNCTION opdb.add_maintenance_jobs IS 'Adds the jobs that keep a database''s tables in order: one a night, and one a week.

`opdb vacuum daily` runs, from Monday to Saturday, what vacuum_plan() lists and would help; `opdb vacuum weekly`
runs, on Sundays, VACUUM (ANALYZE) of every table, first those that waited longest. Both begin at `window_start` and
stop at `window_end`, times of day in `timezone`; what is left is done the next time. `options` are those of add_job,
for both, such as role and max_active. Where the worker is off, they are plain VACUUM (ANALYZE) of the database
without an end, which pg_cron can run.
One row for each job: job, schedule, command.
Errors: 22004 for NULL, 42710 if they exist, 22007 for a time that is none, 22023 for a window without length; those
of add_job.';

COMMENT ON FUNCTION opdb.add_partition_job IS 'Adds the job that keeps partitions: run_partition_maintenance by a schedule and, before it retires anything, a DETACH
CONCURRENTLY for each expired partition that allows it.

The job is called `opdb partitions`. `schedule`, `timezone` and `options` are those of add_job. Where the worker is
off it is a plain CALL, which pg_cron can run and which detaches under a short lock.
Errors: 22004 for NULL, 42710 if it exists, 22023 for the option gexec; those of add_job.';

COMMENT ON FUNCTION opdb.add_quality_rule IS 'Adds a rule to a table, beside those that the table implies (see quality_score).

`dimension` is completeness, accuracy, consistency or integrity. `rule` with its `args`: not_null;
not_blank {placeholders}; unique; range {min, max}; length {min, max}; regex {pattern}; accepted_values
{values}; format {format}; castable {type}; json_schema {schema}; finite; foreign_key {table, columns};
expression {expression}, a row condition that names its columns itself; reconcile {query, against,
environment}; freshness {max_age}; row_count {min, max, max_change}; distribution {method, max, baseline}. Each
but reconcile and row_count also takes {where}, a condition for the rows that it looks at. `weight` counts
within the dimension; below `threshold` (0..1) the rule fails the run if `severity` is error and is reported
if it is warn. `name` is what people call it.
Result: the rule''s id.
Errors: 22004 for NULL, 22023 for an unknown dimension, rule or argument, 42703 for an unknown column,
42601 for an expression that is none, 42611 if the rule cannot be evaluated on the table, 42P17 for a volatile
function, 42710 for a name that the table has, 42501 unless the caller owns the table.';

COMMENT ON FUNCTION opdb.add_transformation IS 'Has deployments of a table send the value of an expression instead of a column''s value.

The expression may use the columns of the table; its value is converted to the type of the column. It is evaluated as
the table''s owner, and tried on the rows by the check transformations. One that the column has is replaced.
Errors: 22004 for NULL, 42703 without such a column, 42809 for something that is no table, 42601 or another of the
server''s if the expression is none on that table, 22023 if it is volatile, 42501 for who is not a member of the owner.';

COMMENT ON FUNCTION opdb.assert_schema IS 'Raises an error if the schema is not as captured: for scripts, migrations and tests.

Errors: P0004 (assert_failure, which WHEN OTHERS of PL/pgSQL does not catch) with the first differences in its
DETAIL; those of validate_schema.';

COMMENT ON FUNCTION opdb.begin_partition_table IS 'Begins to convert a table, or finds a conversion that was begun. For partition_table.

The arguments are those of partition_table; one that was begun goes on as it was told then. Columns: source, the plain
table; wait_seconds, how long to wait for others.
Errors: 22004 for NULL, 42501 unless the caller owns the table, 42703 for an unknown column, 0A000 for what cannot be
converted, 22023 for more than 1000 partitions and for arguments that manage_partitions would refuse, 55000 if the
table was altered since, 55P03 if its lock is not to be had.';

COMMENT ON FUNCTION opdb.cancel_partition_table IS 'Undoes an unfinished conversion: the table is as it was, and the new one is gone.

Of a conversion that came to its end before it only forgets it.
Errors: 22004 for NULL, 42704 if there is none, 55000 if the new table is in its place already, 42501 unless the caller
owns the table, 55P03 if its lock is not to be had within 2 seconds.';

COMMENT ON FUNCTION opdb.capture_schema IS 'Captures the schema of this database, to be validated against later.

`name` is what it is stored under (replacing what was there); `schemas` limits it to what stands in some
schemas, NULL means everything but the system''s schemas and opdb''s own. Everything that CREATE, ALTER, GRANT
and COMMENT can change is captured, but for partitions of a range of time, which come and go: of them, only
what their parent has not.
Result: the fingerprint.
Errors: 22004 for a NULL name, 42602 for an empty, overlong or reserved one, 3F000 for an unknown schema, 22023
for an empty list, 55P03 if another session has locked what must be described, 42501 if the extension''s owner
may not see something.';

COMMENT ON FUNCTION opdb.check_compatibility IS 'Compares tables with those of the same name on a registered environment.

`tables` are names as in SQL; NULL means every table of this database. `exclude_columns` are not sent. One row per
table, column, index and constraint: aspect is table_structure, column_types, indexes or constraints; verdict is
identical, widening (every value fits), narrowing (some are refused), lossy (some are altered), incompatible or
missing; blocking means that rows cannot be sent unless their values turn out to fit. fix is what would have to be
run there, fix_lock the strongest table lock that it takes, fix_cost what it does while it holds it: catalog only,
scan, rebuilds indexes, builds an index, or rewrite. Only catalogs are read, unless `check_data`: then the values of
each column whose verdict is narrowing or lossy are looked at, detail has what was found, and what is safe for this
data does not block.
Errors: 22004 for a NULL environment or table, 42704 for an unknown environment, 08001 or 28P01 if it
cannot be reached, 42P01 for an unknown table here, 42809 for something that is no table, 42703 for an excluded column
that no table has; with check_data 42501 without SELECT.';

COMMENT ON FUNCTION opdb.check_environment IS 'Connects to a registered environment and says what is there.

Connecting takes as long as the environment''s connect_timeout lets each of its hosts; everything after that,
`timeout`.
One row: reachable, latency_ms (the fastest of three round trips), server_version, in_recovery,
read_only (new transactions there cannot write), database and role as that server sees them, tls,
detail (why it is not reachable, or what is unusual), clock_skew_ms (by how much its clock is ahead of ours, give
or take half of latency_ms), address (internal or external), host and port of the server that answered (NULL over a
Unix socket), rights (what the role may do there), tls_version and tls_cipher. An environment that cannot be reached
or does not answer in time is a row, not an error.
Errors: 22004 for NULL, 22023 for a timeout that is not positive, 42704 for an unknown environment.';

COMMENT ON FUNCTION opdb.clean_deployments IS 'Removes from the target what deployments have left there for a rollback, and rows that were sent and never applied.

older_than is an interval (default: deploy.keep_days of opdb.settings). One row per table that was dropped: object,
bytes, what. Deployments whose rows are gone cannot be rolled back any more; the ledger stays. To remove everything:
DROP SCHEMA opdb_deploy CASCADE there, while nothing is deployed.
Errors: 22004 for a NULL environment, 42704 for an unknown one, 08001 or 28P01 if it cannot be reached.';

COMMENT ON FUNCTION opdb.compare_data IS 'Finds the rows of a table that are not the same on an environment.

One row for each row that differs: key (as JSON; NULL where the table has none), difference (missing: not there;
extra: only there; changed), columns (those that differ, of a changed row), local and remote (the values of these
columns, or the whole row of one that is missing or extra). Both servers hash their rows at the same time, in
buckets by the hash of the key; only keys of buckets that differ are sent, and only columns that differ.
Options: key, columns, exclude_columns, where, as_written, recheck_after, connections, statement_timeout.
Both sides are read as of now; rows that differ are looked at again, recheck_after later.
Errors: 22004 for NULL, 22023 for an unknown option, 42704 for an unknown environment, 08001 or 28P01 if it cannot
be reached, 42P01 for a table that is not on both sides, 42809 for something that is no table, 42703 without a
column in common, 42501 where a policy hides rows, 21000 for a key option that is not unique.
Source: digests by hash buckets, as in the Merkle trees of Dynamo (DeCandia et al., 2007), flattened to two levels.';

COMMENT ON FUNCTION opdb.compare_summary IS 'Says of each table whether its rows are the same on an environment, by one digest of each side.

`tables` are names as in SQL; NULL means every table of this database. state is equal, different (also where a
column is on one side only), or unknown, with the reason in detail: a table that cannot be compared does not keep the
others from being compared. local_rows and remote_rows are counts; digests are 48 hexadecimal digits (rows, and the
sum of the rows'' hashes), which mean something only beside each other. Options as in compare_data.
Errors: 22004 for a NULL environment or table, 22023 for an unknown option, 42704 for an unknown environment, 08001 or
28P01 if it cannot be reached, 42P01 for an unknown table here, 42809 for something that is no table.';

COMMENT ON FUNCTION opdb.continue_partition_table IS 'Does the next step of a conversion. For partition_table, which commits each.

Columns: state (copying, analyzing, applying, swapped, done); waits_for, why it did not get further; pauses, whether
others are in the way, who may be gone in a moment; and the sqlstate, message, detail and hint of an error, which is
written down, too. Errors: 22004 for NULL, 42704 if there is no conversion,
42501 unless the caller owns the table.';

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

COMMENT ON FUNCTION opdb.deploy IS 'Sends the rows of tables to a registered environment, in one transaction there.

The checks of pre_deployment_check come first. Then the rows, as they were when the checks began, are
staged there, verified by count and digest, and upserted by the key (an event
table''s is source_id; its id, created_at and processed are the target''s own); what the target then holds
is compared once more before it commits. Nothing has to be installed there. Rows that exist only there
stay, unless delete_missing is given. Options: direction (push, pull), mode (all, since_last, limit), limit, where, key,
exclude_columns, delete_missing, max_change_ratio (0.5: rows updated or deleted over rows there), error_threshold (5),
auto_rollback (true), batch_size (10000), require, raise (false).
Result: the id in opdb.deployments. A failed check makes the state refused, a failed transaction failed, too many rows
that the target refuses rolled_back; all of them give a WARNING and change nothing there, with raise an error.
Errors: as pre_deployment_check, 25001 inside a transaction
block, a pipeline, a function, CALL or DO, 25006 where nothing can be written.';

COMMENT ON FUNCTION opdb.diff_schema IS 'Compares two schemas, one of which may be another server''s.

Each of `from_ref` and `to_ref` is live (this database as it is), the name of a captured schema, or
env:<environment> (the database of a registered environment, which needs nothing of opdb). Rows as of
schema_drift: what is missing is in from_ref only.
Errors: 22004 for NULL, 42704 for an unknown name or environment, 55000 as validate_schema, 22023 if both were
captured, but not of the same schemas, 08001 or 28P01 if the environment cannot be reached.';

COMMENT ON FUNCTION opdb.disable_job IS 'Keeps a job from running until it is enabled again. A run that has begun goes on.

Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
for one that pg_cron runs.';

COMMENT ON FUNCTION opdb.drop_advised_index IS 'Drops an index that index_advice advises to drop right now, and keeps in opdb.index_ledger how to bring it back.

`reason`: why; what index_advice says if NULL. `min_age` as in index_advice. Result: the ledger_id. Waits at most
two seconds for its locks, so that nobody queues behind it for longer.
Errors: 22004 for NULL, 22023 for an interval that is negative or longer than 100 years, 42809 for what is no index of a user''s table or belongs to a
partitioned index, 55000 if the index is not advised to be dropped, 42501 unless the caller owns the table, 55P03 if
the locks are not to be had, 25006 on a standby or in a read-only transaction.';

COMMENT ON FUNCTION opdb.drop_environment IS 'Forgets an environment and drops its foreign servers and user mappings.

Errors: 22004 for NULL, 42704 for an unknown environment, 2BP01 while foreign tables use a server of it.';

COMMENT ON FUNCTION opdb.drop_job IS 'Drops a job. A run that has begun goes on; the history of its runs stays.

If pg_cron runs it, it is unscheduled there, too.
Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of.';

COMMENT ON FUNCTION opdb.drop_schema_snapshot IS 'Forgets a captured schema.

Errors: 22004 for NULL, 42704 if nothing was captured under that name.';

COMMENT ON FUNCTION opdb.drop_transformation IS 'Has deployments of a table send the column''s own value again.

Errors: 22004 for NULL, 42704 if the column has no transformation, 42501 for who is not a member of the table''s owner.';

COMMENT ON FUNCTION opdb.due_partition_sets IS 'The managed tables that have something to do now, or may have. For run_partition_maintenance.

Columns: parent; is_callers, whether the caller may do it.';

COMMENT ON FUNCTION opdb.enable_job IS 'Lets a job run by its schedule again, from now on.

Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
for one that pg_cron runs.';

COMMENT ON FUNCTION opdb.finish_partition_run IS 'Writes down how a run went for a table, and when there will be something to do again. For run_partition_maintenance.

Errors: 22004 for a NULL parent, 42501 unless the caller owns it.';

COMMENT ON FUNCTION opdb.has_format IS 'Whether a text is a value of a format: email, url, uuid, date, datetime, ipv4, ipv6, country (ISO 3166-1, two or
three letters), currency (ISO 4217), language (ISO 639-1 or 639-3), json.

All of the text must be: a blank before or after it is none of the value (in json it is). Result: NULL for NULL.
Errors: 22023 for an unknown format.
Sources: RFC 5321, RFC 3987, RFC 9562, RFC 3339, RFC 8259.';

COMMENT ON FUNCTION opdb.has_index IS 'Whether a table has a valid index of this definition, under whatever name. For opdb.index_ledger.

`table_name` is a name with its schema, quoted where needed; `definition` is what pg_get_indexdef says of an index.
NULL if it cannot be told without waiting for a lock. Errors: 22004 for NULL.';

COMMENT ON FUNCTION opdb.hold_partitions IS 'Keeps retention from a partition or, for a partitioned table, from all its partitions: a legal hold.

Placed on the same relation again it only changes the reason.
Errors: 22004 for NULL or an empty reason, 42809 for something else, 42501 unless the caller owns it.';

COMMENT ON FUNCTION opdb.index_advice IS 'What should be done about the indexes of this database, with the statements that do it and undo it. Does nothing.

`min_age`: how long statistics must have been collected before an index that was never scanned counts as unused.
One row each: action (drop, create, rebuild), object (the index), ddl, undo (NULL for rebuild), reason, bytes (what
is given back; for create, what it is estimated to take; NULL if unknown), table_name, kind (invalid, duplicate,
redundant, unindexed_foreign_key, bloated, missing, unused), write_cost (index entries per second that the table''s
writes have cost, or would, since statistics began), gain (for missing: which share, 0 to 1, of the cost of the
statements named in reason the planner expects to save). Statements are separated by a semicolon and a line break.
Where hypopg and pg_stat_statements are installed, indexes for the ten slowest statements are tried as hypothetical
ones. Works on a standby; waits for no lock, but up to 50 ms for each slow statement whose table is locked.
Errors: 22004 for NULL, 22023 for an interval that is negative or longer than 100 years.';

COMMENT ON FUNCTION opdb.ingest IS 'Writes events, each source_id once.

`table` was made by create_event_table; `records` is a JSON array of
`{"source": text, "source_id": text, "occurred_at": ISO 8601 with offset, "payload": object}`.
Missing partitions are made. A source_id that is there already, or earlier in the same array, is a
duplicate and skipped. A record that cannot be stored goes to opdb.dead_letters with its error.
Result: one row with the numbers of inserted, duplicates and rejected.
Errors: 22004 for NULL, 42809 if the table is not an event table, 22023 if records is no array,
42501 without INSERT on the table.';

COMMENT ON FUNCTION opdb.is_castable IS 'Whether a text is a value of a type, as the type''s input function sees it.

`type` is a type''s name, with its modifier if it has one: `numeric(5,2)`, `varchar(10)`; what is too long or too
large for it is no value of it. A domain''s constraints count. On PostgreSQL 15, where a refusal is an error, each
value takes a subtransaction; later ones answer as pg_input_is_valid. Result: NULL for NULL.
Errors: 42704 for an unknown type, 42601 for what is no type''s name, and what the input function raises for another
reason than the value.';

COMMENT ON FUNCTION opdb.is_compatible IS 'Whether rows of these tables can be sent to an environment: check_compatibility finds nothing that blocks.

Arguments and errors as there.';

COMMENT ON FUNCTION opdb.iso8601_timestamp IS 'The moment that an ISO 8601 text with a UTC offset names, or NULL if it is none.';

COMMENT ON FUNCTION opdb.json_valid IS 'Whether a jsonb value is valid against a JSON Schema.

The draft is that of the schema''s $schema (drafts 4, 6, 7, 2019-09, 2020-12; without it 2020-12). `format` is
checked, an unknown one passes. References to another document are not fetched. Numbers are compared exactly. A text
on which a `pattern` takes more than a million steps back is not known to match, so `instance` is not valid.
Result: NULL for NULL.
Errors: 22023 for an invalid schema, with the place in it, or one that refers outside itself; 54000 for one that is
nested more than 128 levels deep or whose unevaluatedProperties and unevaluatedItems lead through too many
references; 54001 for an instance that is nested too deeply.
Source: JSON Schema 2020-12, <https://json-schema.org/specification>.';

COMMENT ON FUNCTION opdb.manage_partitions IS 'Makes and retires the partitions of a table from now on, and makes those that are missing at once.

`parent` is partitioned by range of one column: timestamptz, timestamp, date, uuid (version 7), or an integer.
`every` is what a partition spans: an interval of one unit, such as 1 hour, 1 day, 7 days, 1 month, 3 months, 1 year.
`premake`: how many partitions are kept ahead of the current one (0 to 1000). What ends earlier than now less
`retention` is retired by run_partitions and run_partition_maintenance, never here; `retention_action` is detach,
drop or archive. `timezone` says when days begin. With `start_at` partitions are made from then on, and intervals
that no calendar knows, such as 10 days, are counted from there. `options`: width and retention_width (for ids),
unit (s, ms or us: integers that are times since 1970), archive_schema, archive_tablespace, archive_environment (an
expired partition moves there, into archive_schema if given, and a foreign table takes its place), storage
(parameters of new partitions; by default those of the newest), analyze.
Called again, it replaces what was said before. Partitions are known by their bounds, whatever they are called.
Errors: 22004 for NULL, 42809 if the table is not partitioned by range of one column, 0A000 for a key of another
type, 22023 for an interval, a premake, a retention, a time zone or an option that cannot be, 42P17 if a partition
is in the way or has no upper bound, 42P07 if a name is taken, 42704 for a place to archive to that does not exist,
0A000 if no partition of the table can be a foreign table, 42501 unless the caller owns the table and, with
archive_environment, its owner can use the environment, 55P03 if its locks are not to be had within 2 seconds.';

COMMENT ON FUNCTION opdb.next_run IS 'When a schedule comes next: the first time after `after`.

`schedule` and `timezone` as in add_job. What repeats by an interval counts from `after`. NULL if it never comes.
Errors: 22004 for NULL, 22023 for a schedule or a time zone that cannot be.';

COMMENT ON FUNCTION opdb.partition_commands IS 'The statements of the job `opdb partitions`, one by one, for the worker, which runs each at top level.

Partitions that are to be detached are written down as retired. Column: command.';

COMMENT ON FUNCTION opdb.partition_drift IS 'Where partitions differ from the table they belong to, with the statements that would make them equal.

Of a managed table, or all of them for NULL. One row each: parent, partition, aspect (owner, privileges,
row_security, policies, replica_identity, storage, indexes, triggers, persistence), detail, ddl. Foreign tables are
left out. Errors: 42704 if the table is not managed.';

COMMENT ON FUNCTION opdb.partition_overview IS 'How each managed table stands; the view opdb.partition_status shows it.

Columns: parent; partitions; premade_until, and as a value of the key; is_endless; default_rows; stray_rows, those of
the default partition by the range that they belong to; gaps; misaligned, partitions that begin or end amid a range; expired; note. Waits for no lock.';

COMMENT ON FUNCTION opdb.partition_tasks IS 'What is to be done for a table in a phase, create or retire, one task a row. For run_partition_maintenance.

Columns: task, or NULL with the status, detail and blockers of what could not even begin.
Errors: 22004 for NULL, 22023 for an unknown phase.';

COMMENT ON FUNCTION opdb.pending_partition_changes IS 'How many changes of a table that is being converted are written down and not applied. For the view
partition_conversions. NULL if that cannot be seen without waiting.

Errors: 22004 for NULL.';

COMMENT ON FUNCTION opdb.pg_cron_jobs IS 'How the jobs stand that pg_cron runs; the view opdb.jobs shows it.

Columns: job_id, when it should run next, and the status, times and detail of its last run there.';

COMMENT ON FUNCTION opdb.pg_cron_runs IS 'What pg_cron keeps of the runs of opdb''s jobs; the view opdb.job_runs shows it.

Columns: job_id, pg_cron''s number of the run, its times, its status in opdb''s words, its detail.';

COMMENT ON FUNCTION opdb.plan_deploy IS 'Shows everything that deploy would do on the target with these options, statement by statement, and does none of it.

One row per statement: step (from 1), place (source or target), action, table_name, sql, lock (the strongest on tables
that others use), note. The checks are not part of it: see pre_deployment_check.
Errors: as pre_deployment_check, 08001 or 28P01 if the target cannot be reached, 42P01 for a table that is not there.';

COMMENT ON FUNCTION opdb.plan_partition_table IS 'What partition_table would do, step by step. Changes nothing.

The arguments are those of partition_table. Columns: step (create, partition, capture, copy, analyze, apply, swap, finish), ddl,
lock (what is taken, on which table) and note. The rows are looked through for the partitions that they need.
Errors: 0A000 for what cannot be converted, with every reason; the others of partition_table.';

COMMENT ON FUNCTION opdb.plan_partitions IS 'What run_partitions would do now, or at a time, in this order. Changes nothing.

One row each: parent, action (create, move_rows, check, analyze, detach, drop, archive), partition, its bounds as
SQL reads them, ddl (the statements, separated by a semicolon and a line break), lock (what is taken on which table,
in order; a lock is asked for in short turns), and note: what to know about it, or why it cannot be done. A check is a
constraint on a large default partition that spares it being scanned while it is locked. NULL for all managed tables.
Errors: 42704 if the table is not managed.';

COMMENT ON FUNCTION opdb.pre_deployment_check IS 'Runs every check that deploy makes with these options, and changes nothing.

One row per check with what was found; passed is NULL where that cannot be told, because a check before failed. A
required one that does not pass stops deploy.
Errors: 22004 for NULL, 22023 for an unknown option, 42704 for an unknown environment, 42P01 for an unknown table,
42809 for something that is no table, 42P16 for a table without a key.';

COMMENT ON FUNCTION opdb.quality_failures IS 'The rows that failed in a run, by their keys: for one rule, or for all.

A key is the primary key, or a unique key without NULL, as a JSON object; where there is none, the place of the
row (ctid); of a view or a foreign table all of the row. A row comes once for each rule that it fails. Of rows with
the same values in the columns of a `unique` rule, the one with the lowest key does not fail.
Errors: 22004 for NULL, 42704 for an unknown run or a rule that was not in it, 42501 without SELECT on the table or
where row security hides rows, 55000 once it is not kept any more which rows failed.';

COMMENT ON FUNCTION opdb.quality_failures_together IS 'Which rules rows failed together in a run, and how many rows did.

rule_ids has a NULL for each rule that the table implies. Rows that fail a rule about equal rows are counted apart:
that is another pass.
Errors: 22004 for NULL, 42704 for an unknown run, 55000 once it is not kept any more which rows failed.';

COMMENT ON FUNCTION opdb.quality_history IS 'The runs of a table, latest first, with what was unusual about each beside the runs before it.

A number of rows or a score is unusual if its modified z-score among up to 30 earlier runs, at least 7, is above 3.5
(Iglewicz and Hoaglin 1993), and it differs by more than a tenth of the rows or a hundredth of score. Only runs over
all rows count. digest and snapshot say what exactly was scored; sample is the share of the blocks that was read.
Errors: 22004 for NULL.';

COMMENT ON FUNCTION opdb.quality_report IS 'What each rule of a run found: evaluated and passed values, ratio, threshold, status (passed, partial,
failed, warning, not_evaluated, or broken where the rule no longer fits the table) and evidence (constraint:
nothing had to be read; measured, with what was measured); and the rule''s name.

rule_id is NULL for a rule that the table implies.
Errors: 22004 for NULL, 42704 for an unknown run.';

COMMENT ON FUNCTION opdb.quality_score IS 'Scores the rows of a table and records the run.

The rules are those the table implies (required columns have a value; times and numbers are finite; CHECK,
UNIQUE, primary and foreign keys hold, proven by a validated constraint or measured; an event table''s source_id
is unique and its keys are right) and those added by add_quality_rule. All rules about rows are evaluated in one
pass; those about equal rows take one more for each set of columns. Options: threshold (0.95), min_coverage
(0.5), min_completeness (0.95) with gate (mean, min or row), weights ({"completeness": 0.3, "accuracy": 0.3,
"consistency": 0.2, "integrity": 0.2}), required (column names, or an object of names and weights), implied
(true), failures (true: keep the keys of rows that fail), digest (true), sample (the share of blocks to read).
One row: run_id, rows, the four dimensions and the score (0..1, NULL where nothing could be evaluated),
coverage (share of the weights with evidence), passed and reason. An empty table never passes.
Errors: 22004 for NULL, 22023 for an unknown option, 42809 for what has no rows or cannot be sampled, 42501
without SELECT on the table, 40001 if it was altered since a transaction that keeps its snapshot began.';

COMMENT ON FUNCTION opdb.quarantine_failures IS 'Sets the rows that failed in a run aside: for one rule, or for all.

They are copied to a table beside theirs, which is called as it is with _quarantine at the end, belongs to the same
owner and is made if there is none; with "delete" they are deleted from theirs in the same transaction. Only rows
that still fail are taken. A row that was set aside before and still fails is copied again.
One row: the table, how many rows were copied and deleted, and how many were skipped because they are gone or do
not fail any more.
Errors: 22004 for NULL, 42704 for an unknown run or rule, 42501 unless the caller has the rights of the table''s
owner, 0A000 for a view, a foreign table or a parent whose children have more columns, 42701 if a column has the name
of one of the other table''s own, 42804 if it has another type there, 55000 once it is not kept any more which rows
failed, or if a trigger keeps rows from being deleted.';

COMMENT ON FUNCTION opdb.register_environment IS 'Registers another server as an environment: makes its postgres_fdw server and a user mapping for the
calling role.

`kind` as in set_environment. `options` are libpq and postgres_fdw server options (host, port, dbname,
sslmode, …); connect_timeout is 10 seconds and TCP
keepalives notice a vanished server after two minutes, unless given. The option external, an object, holds those
that are different for the environment''s external address: it gets a postgres_fdw server of its own, and the
setting opdb.network says which of the two is used. `credentials` are the user mappings'' options
(user, password); every role that is to reach the environment calls this for itself. Calling it again
replaces kind and options, and the credentials if any are given; a role that does not own the servers passes
the kind and options they have, and only adds its credentials.
Errors: 22004 for a NULL argument, 22023 for a wrong kind or shape, 42602 for an invalid name, 42622 for one that
is too long for an external address, HV00D for
an option that postgres_fdw does not know, 42710 for a server of that name that opdb did not make,
42501 without the right to create a server. No error repeats a credential.';

COMMENT ON FUNCTION opdb.release_partitions IS 'Ends a hold that hold_partitions placed on this very relation.

Errors: 22004 for NULL, 42704 if there is none, 42501 unless the caller owns it.';

COMMENT ON FUNCTION opdb.rollback_deployment IS 'Takes a deployment back: its rows become what they were before it, as far as nobody has changed them since.

One row per table: restored (rows that were set back, taken out or put back), skipped_changed (rows that are no longer what
the deployment made them, or are referenced by other rows: they stay as they are, and opdb.deployment_errors lists
them), detail. All of it is one transaction on the target. A rollback is a deployment of its own in opdb.deployments,
of the kind rollback.
Errors: 22004 for NULL, 42704 for an unknown deployment, 55000 if it was not applied, was rolled back before, went to
another server than the environment leads to now, or what it kept was cleaned up, 25001 inside a transaction block, a
pipeline, a function, CALL or DO, 08007 if the connection broke during the commit and the target cannot be asked.';

COMMENT ON FUNCTION opdb.run_job IS 'Has the worker run a job now, beside its schedule, as soon as the transaction commits.

It runs by its own rules: not while it runs already, not outside its window, not while it is disabled.
Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
if the worker is off or pg_cron runs the job.';

COMMENT ON FUNCTION opdb.run_partition_task IS 'Does one task of partition_tasks. For run_partition_maintenance.

`may_retry`: a failure that may pass is not written down. Columns: status, detail, blockers, and passing, whether
trying again soon may help.
Errors: 22004 for NULL, 22023 for what is no task.';

COMMENT ON FUNCTION opdb.run_partitions IS 'Does what plan_partitions lists, in the caller''s transaction: for scripts and by hand.

One row for each step: parent, action, partition, status (done, failed, skipped), detail, duration_ms. A step that
fails leaves nothing behind and does not stop the others. Its locks are held until the transaction ends: what pg_cron
or a job calls is run_partition_maintenance. Tables of other owners are skipped.
Errors: 42704 if the table is not managed, 42501 unless the caller owns it.';

COMMENT ON FUNCTION opdb.schedule_with_pg_cron IS 'Hands opdb''s jobs over to pg_cron: registers each as a pg_cron job named `opdb: ` and its name, or brings that one
up to date.

For servers that do not preload opdb. Jobs of other roles need a superuser. One row for each job: job, schedule and
command as pg_cron has them (NULL if it cannot run the job), and note: why not, or what is different there. pg_cron
knows no time zones of jobs, timeouts, retries, windows and settings. Calling it again changes nothing that is up to
date.
Errors: 55000 if pg_cron is not installed in this database.';

COMMENT ON FUNCTION opdb.schema_drift IS 'Where the schema is not as captured: one row per object and aspect, none if it is as captured.

aspect is objects, columns, data_types, constraints or indexes; change is missing, unexpected, changed, or
unknown where it could not be found out; expected and actual hold the properties that differ (of a missing or
unexpected object, all); hazard is what the difference may do to those who rely on the captured schema:
data_loss, breaks_clients, security, integrity, behavior, index_missing, performance, cosmetic, unknown.
Errors: as validate_schema.';

COMMENT ON FUNCTION opdb.schema_fingerprint IS 'The fingerprint of the schema as it is: SHA-256 in hex, the root of a Merkle tree over its objects.

`schemas` as in capture_schema. Two databases with the same schema have the same fingerprint, whatever the
settings of the session, whoever asks, and also after pg_dump and restore.
Errors: 3F000 for an unknown schema, 22023 for an empty list, 55P03 and 42501 as capture_schema.';

COMMENT ON FUNCTION opdb.set_environment IS 'Declares what this database is.

`kind` is one of local, development, test, staging, production, disaster_recovery. Calling it again
replaces the declaration.
Errors: 22004 for a NULL argument, 22023 for any other kind, 42602 for an empty or overlong name.';

COMMENT ON FUNCTION opdb.set_setting IS 'Changes a setting of this database; NULL brings back its default.

opdb.settings shows what there is to set. Errors: 22004 for a NULL name, 42704 for an unknown one, 22023 for a value that
cannot be.';

COMMENT ON FUNCTION opdb.setting_defaults IS 'Every setting that there is, with its default.';

COMMENT ON FUNCTION opdb.suggest_quality_rules IS 'Proposes rules for a table, a view, a materialized view or a foreign table, from what its rows look like.

`options`: sample_rows (default 100000, fewer for more than 50 columns): more rows than that are not read, but
sampled by blocks, the same in every call; of a view or a foreign table the first ones are. min_rows (30): with fewer
values nothing is said. min_ratio (0.95): the share of the values that must pass.
One row per proposal: dimension, rule, columns and args as add_quality_rule takes them; confidence, 0 to 1: what the
share of passing values is at least, at 95 % (lower bound of the Wilson score interval); why. Dimension by
dimension, the most certain first. What constraints prove already is not proposed.
Changes nothing, and runs on a standby. Reads with the caller''s rights and row security.
Errors: 22004 for NULL, 22023 for an unknown option, 42501 without SELECT on the table, 42809 for what has no rows.';

COMMENT ON FUNCTION opdb.unmanage_partitions IS 'Leaves the partitions of a table alone from now on. They stay as they are.

Errors: 22004 for NULL, 42704 if they are not managed, 42501 unless the caller owns the table.';

COMMENT ON FUNCTION opdb.unschedule_from_pg_cron IS 'Takes the jobs that pg_cron runs back to opdb''s worker. Returns how many.

Only those of roles that the caller is a member of. Errors: 55000 if pg_cron is not installed in this database.';

COMMENT ON FUNCTION opdb.vacuum_plan IS 'Which tables need VACUUM, ANALYZE or a freeze now, why, whether it would help now, and who is in the way.

By the rules and settings of autovacuum, of each table and of the server; with `everything` also the tables that
need nothing. One row per table: the command; the reason; who blocks it; reclaimable_bytes, space in the table and
its TOAST table that no live row needs, from the free-space map; helps, measured on a sample of its pages, NULL if
it could not be; removable_rows of dead_rows; need, 1 at the threshold; table_bytes with TOAST; xid_age; last_vacuum
and last_analyze, by anybody. The most needy first, before them those in danger of wraparound; then what is not due,
longest without a manual VACUUM first.
Waits for no lock and runs on a standby, where only ages are known.
Errors: 22004 for NULL.';

COMMENT ON FUNCTION opdb.validate_schema IS 'Compares the schema as it is with a captured one.

Result: an object with valid, columns_match, data_types_match, constraints_match, indexes_match,
objects_match, differences (as the rows of schema_drift), expected_fingerprint, actual_fingerprint (null if
something could not be read), unknown (how many differences are of the change unknown), schema_version (null:
there are no migrations yet) and covers, the kinds of object that were compared.
Errors: 22004 for NULL, 42704 if nothing was captured under that name, 55000 if it was captured by an
opdb of another format.';

COMMENT ON FUNCTION opdb.verify_column_mapping IS 'Shows, column by column, where the values of a table would go on an environment, and whether they fit.

`mapping` names columns there by columns here, where they are called otherwise. Verdicts as in check_compatibility;
conversion is the cast that a value goes through. Where a type is narrower there or loses something, the present
values are tried in one scan (unless `check_data` is false): evidence says how many do not fit, with an example and,
where there is one, a figure beside its limit; fits is NULL where only the other server can tell.
Errors: as check_compatibility, 42P01 if the table does not exist there, 22023, 42701 and 42703 for a mapping that
cannot be.';

COMMENT ON FUNCTION opdb.wake_launcher IS 'The trigger of opdb.job: tells the launcher, at commit, that jobs of this database changed.';
