//! Partitions of a range of time come and go; what one of them has and its parent has not is still a difference.

use super::case::{Case, case};
use super::fixture::{Fixture, capture, drift, fingerprint};
use super::mutations::assert_all_are_named;
use crate::fixture::execute;

const TABLES: &str = "SET client_min_messages = error;
    CREATE SCHEMA app;
    CREATE FUNCTION app.on_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE app.target (a integer CONSTRAINT target_pkey PRIMARY KEY);
    CREATE TABLE app.daily (
        id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, note text, n integer DEFAULT 1,
        CONSTRAINT daily_pkey PRIMARY KEY (at) WITH (fillfactor = 90),
        CONSTRAINT daily_check CHECK (n > 0),
        CONSTRAINT daily_ref FOREIGN KEY (n) REFERENCES app.target
    ) PARTITION BY RANGE (at);
    CREATE INDEX daily_n ON app.daily (n) WITH (fillfactor = 90) TABLESPACE partition_space;
    CREATE TRIGGER watch AFTER INSERT ON app.daily FOR EACH ROW EXECUTE FUNCTION app.on_row();
    COMMENT ON COLUMN app.daily.n IS 'a number';
    GRANT SELECT ON app.daily TO opdb_reader;
    CREATE TABLE app.daily_1 PARTITION OF app.daily FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-01-02 00:00+00');
    CREATE TABLE app.nested (day date, kind text COLLATE \"C\") PARTITION BY RANGE (day);
    CREATE TABLE app.nested_1 PARTITION OF app.nested FOR VALUES FROM ('2024-01-01') TO ('2024-01-02')
        PARTITION BY LIST (kind);
    CREATE TABLE app.nested_1_a PARTITION OF app.nested_1 FOR VALUES IN ('a');
    CREATE TABLE app.stamped (at timestamp) PARTITION BY RANGE (at)";

/// A database with partitions, on a server of its own: a tablespace is the server's.
fn partitioned() -> Fixture {
    let mut fixture = Fixture::empty();
    execute(&mut fixture.client, "CREATE TABLESPACE partition_space LOCATION ''");
    execute(&mut fixture.client, TABLES);
    capture(&mut fixture.client);
    fixture
}

#[test]
fn partitions_of_a_range_of_time_come_and_go_without_drift() {
    let client = &mut partitioned().client;
    let before = fingerprint(client);
    for change in [
        "CREATE TABLE app.daily_2 PARTITION OF app.daily FOR VALUES FROM ('2024-01-02 00:00+00') TO ('2024-01-03 00:00+00')",
        "DROP TABLE app.daily_1",
        // In the order in which a partition is made ready before it is attached.
        "CREATE TABLE app.daily_3 (LIKE app.daily INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
         ALTER TABLE app.daily ATTACH PARTITION app.daily_3 FOR VALUES FROM ('2024-01-03 00:00+00') TO (MAXVALUE)",
        "CREATE TABLE app.nested_1_b PARTITION OF app.nested_1 FOR VALUES IN ('b')",
        "CREATE TABLE app.nested_2 PARTITION OF app.nested FOR VALUES FROM ('2024-01-02') TO ('2024-01-03')
             PARTITION BY HASH (kind);
         CREATE TABLE app.nested_2_0 PARTITION OF app.nested_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "DROP TABLE app.nested_1",
        "CREATE TABLE app.stamped_1 PARTITION OF app.stamped FOR VALUES FROM ('2024-01-01') TO ('2024-01-02')",
    ] {
        execute(client, change);
        assert_eq!(drift(client), [""; 0], "{change}");
        assert_eq!(fingerprint(client), before, "{change}");
    }
}

#[test]
fn what_deviates_on_a_partition_of_a_range_of_time_is_named() {
    assert_all_are_named(&mut partitioned().client, DEVIATIONS);
}

const TABLE: &[&str] = &["objects table app.daily_1 unexpected"];
const COLUMN: &[&str] = &["columns column app.daily_1.n unexpected"];

const DEVIATIONS: &[Case] = &[
    case(
        "CREATE INDEX daily_1_extra ON app.daily_1 (note)",
        "DROP INDEX app.daily_1_extra",
        &["indexes index app.daily_1.daily_1_extra unexpected"],
    ),
    case(
        "ALTER INDEX app.daily_1_n_idx SET (fillfactor = 70)",
        "ALTER INDEX app.daily_1_n_idx SET (fillfactor = 90)",
        &["indexes index app.daily_1.daily_1_n_idx unexpected"],
    ),
    case(
        "COMMENT ON INDEX app.daily_1_n_idx IS 'x'",
        "COMMENT ON INDEX app.daily_1_n_idx IS NULL",
        &["indexes index app.daily_1.daily_1_n_idx unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 CLUSTER ON daily_1_n_idx",
        "ALTER TABLE app.daily_1 SET WITHOUT CLUSTER",
        &["indexes index app.daily_1.daily_1_n_idx unexpected"],
    ),
    case(
        "ALTER INDEX app.daily_1_n_idx SET TABLESPACE pg_default",
        "ALTER INDEX app.daily_1_n_idx SET TABLESPACE partition_space",
        &["indexes index app.daily_1.daily_1_n_idx unexpected"],
    ),
    case(
        "ALTER INDEX app.daily_1_pkey SET TABLESPACE partition_space",
        "ALTER INDEX app.daily_1_pkey SET TABLESPACE pg_default",
        &["constraints constraint app.daily_1.daily_1_pkey unexpected"],
    ),
    case(
        "ALTER INDEX app.daily_1_pkey RESET (fillfactor)",
        "ALTER INDEX app.daily_1_pkey SET (fillfactor = 90)",
        &["constraints constraint app.daily_1.daily_1_pkey unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 DISABLE TRIGGER ALL",
        "ALTER TABLE app.daily_1 ENABLE TRIGGER ALL",
        &[
            "constraints constraint app.daily_1.daily_ref unexpected",
            "objects trigger app.daily_1.watch unexpected",
        ],
    ),
    case(
        "COMMENT ON CONSTRAINT daily_ref ON app.daily_1 IS 'x'",
        "COMMENT ON CONSTRAINT daily_ref ON app.daily_1 IS NULL",
        &["constraints constraint app.daily_1.daily_ref unexpected"],
    ),
    case(
        "CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
         ALTER TABLE app.daily_1 SET ACCESS METHOD other_heap",
        "ALTER TABLE app.daily_1 SET ACCESS METHOD heap; DROP ACCESS METHOD other_heap",
        &["objects access_method other_heap unexpected", "objects table app.daily_1 unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 ADD CONSTRAINT extra CHECK (n < 9)",
        "ALTER TABLE app.daily_1 DROP CONSTRAINT extra",
        &["constraints constraint app.daily_1.extra unexpected"],
    ),
    case(
        "COMMENT ON CONSTRAINT daily_check ON app.daily_1 IS 'x'",
        "COMMENT ON CONSTRAINT daily_check ON app.daily_1 IS NULL",
        &["constraints constraint app.daily_1.daily_check unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 DISABLE TRIGGER watch",
        "ALTER TABLE app.daily_1 ENABLE TRIGGER watch",
        &["objects trigger app.daily_1.watch unexpected"],
    ),
    case(
        "CREATE TRIGGER extra AFTER DELETE ON app.daily_1 EXECUTE FUNCTION app.on_row()",
        "DROP TRIGGER extra ON app.daily_1",
        &["objects trigger app.daily_1.extra unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 ALTER n SET DEFAULT 2",
        "ALTER TABLE app.daily_1 ALTER n SET DEFAULT 1",
        COLUMN,
    ),
    case(
        "ALTER TABLE app.daily_1 ALTER n SET NOT NULL",
        "ALTER TABLE app.daily_1 ALTER n DROP NOT NULL",
        COLUMN,
    ),
    case(
        "ALTER TABLE app.daily_1 ALTER n SET STATISTICS 9",
        "ALTER TABLE app.daily_1 ALTER n SET STATISTICS -1",
        COLUMN,
    ),
    case(
        "ALTER TABLE app.daily_1 ALTER n SET (n_distinct = 9)",
        "ALTER TABLE app.daily_1 ALTER n RESET (n_distinct)",
        COLUMN,
    ),
    case("COMMENT ON COLUMN app.daily_1.n IS 'x'", "COMMENT ON COLUMN app.daily_1.n IS NULL", COLUMN),
    case("GRANT SELECT (n) ON app.daily_1 TO PUBLIC", "REVOKE SELECT (n) ON app.daily_1 FROM PUBLIC", COLUMN),
    case(
        "ALTER TABLE app.daily_1 ALTER note SET STORAGE EXTERNAL",
        "ALTER TABLE app.daily_1 ALTER note SET STORAGE EXTENDED",
        &["columns column app.daily_1.note unexpected"],
    ),
    case(
        "ALTER TABLE app.daily_1 ALTER note SET COMPRESSION pglz",
        "ALTER TABLE app.daily_1 ALTER note SET COMPRESSION default",
        &["columns column app.daily_1.note unexpected"],
    ),
    case("COMMENT ON TABLE app.daily_1 IS 'x'", "COMMENT ON TABLE app.daily_1 IS NULL", TABLE),
    case("GRANT SELECT ON app.daily_1 TO PUBLIC", "REVOKE SELECT ON app.daily_1 FROM PUBLIC", TABLE),
    case("ALTER TABLE app.daily_1 OWNER TO opdb_admin", "ALTER TABLE app.daily_1 OWNER TO postgres", TABLE),
    case(
        "ALTER TABLE app.daily_1 SET (fillfactor = 70)",
        "ALTER TABLE app.daily_1 RESET (fillfactor)",
        TABLE,
    ),
    case(
        "ALTER TABLE app.daily_1 SET (toast.autovacuum_enabled = false)",
        "ALTER TABLE app.daily_1 RESET (toast.autovacuum_enabled)",
        TABLE,
    ),
    case("ALTER TABLE app.daily_1 SET UNLOGGED", "ALTER TABLE app.daily_1 SET LOGGED", TABLE),
    case(
        "ALTER TABLE app.daily_1 SET TABLESPACE partition_space",
        "ALTER TABLE app.daily_1 SET TABLESPACE pg_default",
        TABLE,
    ),
    case(
        "ALTER TABLE app.daily_1 ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.daily_1 DISABLE ROW LEVEL SECURITY",
        TABLE,
    ),
    case(
        "ALTER TABLE app.daily_1 REPLICA IDENTITY FULL",
        "ALTER TABLE app.daily_1 REPLICA IDENTITY DEFAULT",
        TABLE,
    ),
    case(
        "CREATE POLICY extra ON app.daily_1 USING (true)",
        "DROP POLICY extra ON app.daily_1",
        &["objects policy app.daily_1.extra unexpected"],
    ),
    case(
        "CREATE RULE extra AS ON DELETE TO app.daily_1 DO INSTEAD NOTHING",
        "DROP RULE extra ON app.daily_1",
        &["objects rule app.daily_1.extra unexpected"],
    ),
    case(
        "CREATE STATISTICS app.extra ON note, n FROM app.daily_1",
        "DROP STATISTICS app.extra",
        &["objects statistics app.extra unexpected"],
    ),
    case(
        "COMMENT ON TABLE app.nested_1_a IS 'x'",
        "COMMENT ON TABLE app.nested_1_a IS NULL",
        &["objects table app.nested_1_a unexpected"],
    ),
    // What is detached is a table like any other.
    case(
        "ALTER TABLE app.nested_1 DETACH PARTITION app.nested_1_a",
        "ALTER TABLE app.nested_1 ATTACH PARTITION app.nested_1_a FOR VALUES IN ('a')",
        &[
            "columns column app.nested_1_a.day unexpected",
            "columns column app.nested_1_a.kind unexpected",
            "objects table app.nested_1_a unexpected",
        ],
    ),
    // A default partition stays.
    case(
        "CREATE TABLE app.stamped_rest PARTITION OF app.stamped DEFAULT",
        "DROP TABLE app.stamped_rest",
        &["columns column app.stamped_rest.at unexpected", "objects table app.stamped_rest unexpected"],
    ),
];
