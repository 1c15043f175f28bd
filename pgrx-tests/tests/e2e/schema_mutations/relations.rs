//! Schemas, tables, views, sequences, and what is attached to a table.

use super::case::{Case, case};

pub const TABLES: &[Case] = &[
    case("CREATE SCHEMA other", "DROP SCHEMA other", &["objects schema other unexpected"]),
    case("DROP SCHEMA empty", "CREATE SCHEMA empty", &["objects schema empty missing"]),
    case("CREATE TABLE app.extra ()", "DROP TABLE app.extra", &["objects table app.extra unexpected"]),
    case(
        "DROP TABLE app.unlogged",
        "CREATE UNLOGGED TABLE app.unlogged (a integer)",
        &["columns column app.unlogged.a missing", "objects table app.unlogged missing"],
    ),
    case(
        "ALTER TABLE app.scratch RENAME TO renamed",
        "ALTER TABLE app.renamed RENAME TO scratch",
        &[
            "columns column app.renamed.a unexpected",
            "columns column app.scratch.a missing",
            "objects table app.renamed unexpected",
            "objects table app.scratch missing",
        ],
    ),
    case(
        "ALTER TABLE app.ordered DROP a; ALTER TABLE app.ordered ADD a integer",
        "ALTER TABLE app.ordered DROP b; ALTER TABLE app.ordered ADD b integer",
        &["columns table app.ordered changed: columns"],
    ),
    case(
        "ALTER TABLE app.scratch SET UNLOGGED",
        "ALTER TABLE app.scratch SET LOGGED",
        &["objects table app.scratch changed: persistence"],
    ),
    case(
        "ALTER TABLE app.plain SET ACCESS METHOD app_heap",
        "ALTER TABLE app.plain SET ACCESS METHOD heap",
        &["objects table app.plain changed: access_method"],
    ),
    case(
        "ALTER TABLE app.placed SET TABLESPACE pg_default",
        "ALTER TABLE app.placed SET TABLESPACE app_space",
        &["objects table app.placed changed: tablespace"],
    ),
    case(
        "ALTER TABLESPACE app_space RENAME TO app_renamed_space",
        "ALTER TABLESPACE app_renamed_space RENAME TO app_space",
        &["objects table app.placed changed: tablespace"],
    ),
    case(
        "ALTER ROLE app_transient RENAME TO app_renamed_role",
        "ALTER ROLE app_renamed_role RENAME TO app_transient",
        &["objects table app.transient changed: owner"],
    ),
    case(
        "ALTER TABLE app.tuned SET (fillfactor = 70)",
        "ALTER TABLE app.tuned SET (fillfactor = 80)",
        &["objects table app.tuned changed: options"],
    ),
    case(
        "ALTER TABLE app.plain SET (autovacuum_enabled = false)",
        "ALTER TABLE app.plain RESET (autovacuum_enabled)",
        &["objects table app.plain changed: options"],
    ),
    case(
        "ALTER TABLE app.tuned RESET (toast.autovacuum_enabled)",
        "ALTER TABLE app.tuned SET (toast.autovacuum_enabled = false)",
        &["objects table app.tuned changed: toast_options"],
    ),
    case(
        "ALTER TABLE app.plain ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.plain DISABLE ROW LEVEL SECURITY",
        &["objects table app.plain changed: row_security"],
    ),
    case(
        "ALTER TABLE app.secured FORCE ROW LEVEL SECURITY",
        "ALTER TABLE app.secured NO FORCE ROW LEVEL SECURITY",
        &["objects table app.secured changed: force_row_security"],
    ),
    case(
        "ALTER TABLE app.plain REPLICA IDENTITY FULL",
        "ALTER TABLE app.plain REPLICA IDENTITY DEFAULT",
        &["objects table app.plain changed: replica_identity"],
    ),
    case(
        "ALTER TABLE app.plain REPLICA IDENTITY NOTHING",
        "ALTER TABLE app.plain REPLICA IDENTITY DEFAULT",
        &["objects table app.plain changed: replica_identity"],
    ),
    case(
        "ALTER TABLE app.replicated REPLICA IDENTITY USING INDEX replicated_b",
        "ALTER TABLE app.replicated REPLICA IDENTITY USING INDEX replicated_a",
        &["objects table app.replicated changed: replica_identity_index"],
    ),
    case(
        "ALTER TABLE app.typed NOT OF",
        "ALTER TABLE app.typed OF app.pair",
        &["objects table app.typed changed: of_type"],
    ),
];

pub const FAMILIES: &[Case] = &[
    case(
        "ALTER TABLE app.child NO INHERIT app.parent; ALTER TABLE app.child INHERIT app.other_parent",
        "ALTER TABLE app.child NO INHERIT app.other_parent; ALTER TABLE app.child INHERIT app.parent",
        &["objects table app.child changed: inherits"],
    ),
    case(
        "ALTER TABLE app.child NO INHERIT app.parent",
        "ALTER TABLE app.child INHERIT app.parent",
        &[
            "columns column app.child.a changed: inherited, local",
            "constraints constraint app.child.parent_a changed: inherited, local",
            "objects table app.child changed: inherits",
        ],
    ),
    case(
        "ALTER TABLE app.heir INHERIT app.other_parent",
        "ALTER TABLE app.heir NO INHERIT app.other_parent",
        &[
            "columns column app.heir.a changed: inherited",
            "constraints constraint app.heir.parent_a changed: inherited",
            "objects table app.heir changed: inherits",
        ],
    ),
    case(
        "UPDATE pg_attribute SET attislocal = true WHERE attrelid = 'app.heir'::regclass AND attname = 'a'",
        "UPDATE pg_attribute SET attislocal = false WHERE attrelid = 'app.heir'::regclass AND attname = 'a'",
        &["columns column app.heir.a changed: local"],
    ),
    case(
        "UPDATE pg_constraint SET conislocal = true WHERE conrelid = 'app.heir'::regclass AND conname = 'parent_a'",
        "UPDATE pg_constraint SET conislocal = false WHERE conrelid = 'app.heir'::regclass AND conname = 'parent_a'",
        &["constraints constraint app.heir.parent_a changed: local"],
    ),
    case(
        "DROP TABLE app.scratch; CREATE TABLE app.scratch (a integer) PARTITION BY LIST (a)",
        "DROP TABLE app.scratch; CREATE TABLE app.scratch (a integer)",
        &[
            "columns column app.scratch.a changed: of",
            "objects table app.scratch changed: partition_key, partitioned",
        ],
    ),
    case(
        "DROP TABLE app.keyless; CREATE TABLE app.keyless (a integer, b integer) PARTITION BY LIST (b)",
        "DROP TABLE app.keyless; CREATE TABLE app.keyless (a integer, b integer) PARTITION BY LIST (a)",
        &["objects table app.keyless changed: partition_key"],
    ),
    case(
        "ALTER TABLE app.number DETACH PARTITION app.number_0;
         ALTER TABLE app.number ATTACH PARTITION app.number_0 FOR VALUES FROM (0) TO (200)",
        "ALTER TABLE app.number DETACH PARTITION app.number_0;
         ALTER TABLE app.number ATTACH PARTITION app.number_0 FOR VALUES FROM (0) TO (100)",
        &["objects table app.number_0 changed: partition_bound"],
    ),
    case(
        "DROP TABLE app.hash_0; CREATE TABLE app.hash_0 PARTITION OF app.hash FOR VALUES WITH (MODULUS 4, REMAINDER 0)",
        "DROP TABLE app.hash_0; CREATE TABLE app.hash_0 PARTITION OF app.hash FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        &["objects table app.hash_0 changed: partition_bound"],
    ),
    case(
        "CREATE TABLE app.hash_1 PARTITION OF app.hash FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        "DROP TABLE app.hash_1",
        &["columns column app.hash_1.a unexpected", "objects table app.hash_1 unexpected"],
    ),
    case(
        "DROP TABLE app.number_0",
        "CREATE TABLE app.number_0 PARTITION OF app.number FOR VALUES FROM (0) TO (100)",
        &["columns column app.number_0.a missing", "objects table app.number_0 missing"],
    ),
    case(
        "ALTER TABLE app.number DETACH PARTITION app.number_0; CREATE TABLE app.extra (a integer) PARTITION BY RANGE (a);
         ALTER TABLE app.extra ATTACH PARTITION app.number_0 FOR VALUES FROM (0) TO (100)",
        "ALTER TABLE app.extra DETACH PARTITION app.number_0; DROP TABLE app.extra;
         ALTER TABLE app.number ATTACH PARTITION app.number_0 FOR VALUES FROM (0) TO (100)",
        &[
            "columns column app.extra.a unexpected",
            "objects table app.extra unexpected",
            "objects table app.number_0 changed: partition_of",
        ],
    ),
];

pub const VIEWS: &[Case] = &[
    case(
        "CREATE OR REPLACE VIEW app.shown AS SELECT a, b FROM app.plain WHERE a > 1",
        "CREATE OR REPLACE VIEW app.shown AS SELECT a, b FROM app.plain WHERE a > 0",
        &["objects view app.shown changed: definition"],
    ),
    case(
        "ALTER VIEW app.shown RENAME COLUMN b TO c",
        "ALTER VIEW app.shown RENAME COLUMN c TO b",
        &[
            "columns column app.shown.b missing",
            "columns column app.shown.c unexpected",
            "objects view app.shown changed: definition",
        ],
    ),
    case(
        "ALTER VIEW app.guarded RESET (security_barrier)",
        "ALTER VIEW app.guarded SET (security_barrier = true)",
        &["objects view app.guarded changed: options"],
    ),
    case(
        "ALTER VIEW app.guarded SET (check_option = cascaded)",
        "ALTER VIEW app.guarded SET (check_option = local)",
        &["objects view app.guarded changed: options"],
    ),
    case(
        "ALTER VIEW app.shown SET (security_invoker = true)",
        "ALTER VIEW app.shown RESET (security_invoker)",
        &["objects view app.shown changed: options"],
    ),
    case(
        "ALTER VIEW app.shown ALTER a SET DEFAULT 1",
        "ALTER VIEW app.shown ALTER a DROP DEFAULT",
        &["columns column app.shown.a changed: default"],
    ),
    case(
        "DROP MATERIALIZED VIEW app.summary; CREATE MATERIALIZED VIEW app.summary AS SELECT a + 1 AS total FROM app.plain;
         CREATE INDEX summary_total ON app.summary (total)",
        "DROP MATERIALIZED VIEW app.summary; CREATE MATERIALIZED VIEW app.summary AS SELECT a AS total FROM app.plain;
         CREATE INDEX summary_total ON app.summary (total)",
        &["objects materialized_view app.summary changed: definition"],
    ),
    case(
        "ALTER MATERIALIZED VIEW app.summary DEPENDS ON EXTENSION hstore",
        "ALTER MATERIALIZED VIEW app.summary NO DEPENDS ON EXTENSION hstore",
        &["objects materialized_view app.summary changed: depends_on"],
    ),
    case(
        "ALTER MATERIALIZED VIEW app.summary SET (fillfactor = 70)",
        "ALTER MATERIALIZED VIEW app.summary RESET (fillfactor)",
        &["objects materialized_view app.summary changed: options"],
    ),
    case(
        "DROP FOREIGN TABLE app.distant; CREATE FOREIGN TABLE app.distant (a integer OPTIONS (name 'A'), b text)
             SERVER app_other_server OPTIONS (path '/a')",
        "DROP FOREIGN TABLE app.distant; CREATE FOREIGN TABLE app.distant (a integer OPTIONS (name 'A'), b text)
             SERVER app_server OPTIONS (path '/a')",
        &["objects foreign_table app.distant changed: server"],
    ),
    case(
        "ALTER FOREIGN TABLE app.distant OPTIONS (SET path '/b')",
        "ALTER FOREIGN TABLE app.distant OPTIONS (SET path '/a')",
        &["objects foreign_table app.distant changed: foreign_options"],
    ),
    case(
        "DROP VIEW app.guarded; CREATE TABLE app.guarded (a integer)",
        "DROP TABLE app.guarded; CREATE VIEW app.guarded WITH (security_barrier = true, check_option = local)
             AS SELECT a FROM app.plain",
        &[
            "columns column app.guarded.a changed: of",
            "objects table app.guarded unexpected",
            "objects view app.guarded missing",
        ],
    ),
];

pub const SEQUENCES: &[Case] = &[
    case("CREATE SEQUENCE app.other", "DROP SEQUENCE app.other", &["objects sequence app.other unexpected"]),
    case(
        "ALTER SEQUENCE app.numbers AS integer MAXVALUE 100",
        "ALTER SEQUENCE app.numbers AS bigint NO MAXVALUE",
        &["objects sequence app.numbers changed: maximum, type"],
    ),
    case(
        "ALTER SEQUENCE app.numbers START 5",
        "ALTER SEQUENCE app.numbers START 1",
        &["objects sequence app.numbers changed: start"],
    ),
    case(
        "ALTER SEQUENCE app.numbers INCREMENT 2",
        "ALTER SEQUENCE app.numbers INCREMENT 1",
        &["objects sequence app.numbers changed: increment"],
    ),
    case(
        "ALTER SEQUENCE app.numbers MINVALUE 0",
        "ALTER SEQUENCE app.numbers MINVALUE 1",
        &["objects sequence app.numbers changed: minimum"],
    ),
    case(
        "ALTER SEQUENCE app.numbers MAXVALUE 1000",
        "ALTER SEQUENCE app.numbers NO MAXVALUE",
        &["objects sequence app.numbers changed: maximum"],
    ),
    case(
        "ALTER SEQUENCE app.numbers CACHE 10",
        "ALTER SEQUENCE app.numbers CACHE 1",
        &["objects sequence app.numbers changed: cache"],
    ),
    case(
        "ALTER SEQUENCE app.numbers CYCLE",
        "ALTER SEQUENCE app.numbers NO CYCLE",
        &["objects sequence app.numbers changed: cycle"],
    ),
    case(
        "ALTER SEQUENCE app.numbers SET UNLOGGED",
        "ALTER SEQUENCE app.numbers SET LOGGED",
        &["objects sequence app.numbers changed: persistence"],
    ),
    case(
        "ALTER SEQUENCE app.numbers OWNED BY app.plain.a",
        "ALTER SEQUENCE app.numbers OWNED BY NONE",
        // What belongs to a column has the owner of its table.
        &["objects sequence app.numbers changed: owned_by, owner"],
    ),
    case(
        "ALTER SEQUENCE app.wide_serial_id_seq OWNED BY app.wide.required",
        "ALTER SEQUENCE app.wide_serial_id_seq OWNED BY app.wide.serial_id",
        &["objects sequence app.wide_serial_id_seq changed: owned_by"],
    ),
    case(
        "ALTER TABLE app.wide ALTER serial_id DROP DEFAULT; DROP SEQUENCE app.wide_serial_id_seq;
         ALTER TABLE app.wide ALTER serial_id ADD GENERATED BY DEFAULT AS IDENTITY",
        "ALTER TABLE app.wide ALTER serial_id DROP IDENTITY;
         CREATE SEQUENCE app.wide_serial_id_seq AS integer OWNED BY app.wide.serial_id;
         ALTER TABLE app.wide ALTER serial_id SET DEFAULT nextval('app.wide_serial_id_seq')",
        &[
            "columns column app.wide.serial_id changed: default, identity",
            "objects sequence app.wide_serial_id_seq changed: identity",
        ],
    ),
];

pub const ATTACHED: &[Case] = &[
    case(
        "CREATE RULE other AS ON UPDATE TO app.watched DO INSTEAD NOTHING",
        "DROP RULE other ON app.watched",
        &["objects rule app.watched.other unexpected"],
    ),
    case(
        "ALTER TABLE app.watched DISABLE RULE forget",
        "ALTER TABLE app.watched ENABLE RULE forget",
        &["objects rule app.watched.forget changed: enabled"],
    ),
    case(
        "CREATE OR REPLACE RULE forget AS ON DELETE TO app.watched WHERE old.a = 2 DO INSTEAD NOTHING",
        "CREATE OR REPLACE RULE forget AS ON DELETE TO app.watched WHERE old.a = 1 DO INSTEAD NOTHING",
        &["objects rule app.watched.forget changed: definition"],
    ),
    case(
        "DROP POLICY tenants ON app.secured;
         CREATE POLICY tenants ON app.secured FOR UPDATE TO app_reader USING (tenant = current_user) WITH CHECK (a > 0)",
        TENANTS,
        &["objects policy app.secured.tenants changed: command"],
    ),
    case(
        "DROP POLICY tenants ON app.secured; CREATE POLICY tenants ON app.secured AS RESTRICTIVE FOR ALL TO app_reader
             USING (tenant = current_user) WITH CHECK (a > 0)",
        TENANTS,
        &["objects policy app.secured.tenants changed: permissive"],
    ),
    case(
        "ALTER POLICY tenants ON app.secured TO app_reader, app_writer",
        "ALTER POLICY tenants ON app.secured TO app_reader",
        &["objects policy app.secured.tenants changed: roles"],
    ),
    case(
        "ALTER POLICY tenants ON app.secured TO PUBLIC",
        "ALTER POLICY tenants ON app.secured TO app_reader",
        &["objects policy app.secured.tenants changed: roles"],
    ),
    case(
        "ALTER POLICY tenants ON app.secured USING (true)",
        "ALTER POLICY tenants ON app.secured USING (tenant = current_user)",
        &["objects policy app.secured.tenants changed: using"],
    ),
    case(
        "ALTER POLICY tenants ON app.secured WITH CHECK (a > 1)",
        "ALTER POLICY tenants ON app.secured WITH CHECK (a > 0)",
        &["objects policy app.secured.tenants changed: check"],
    ),
    case("DROP POLICY tenants ON app.secured", TENANTS, &["objects policy app.secured.tenants missing"]),
    case(
        "CREATE STATISTICS app.other ON a, c FROM app.indexed",
        "DROP STATISTICS app.other",
        &["objects statistics app.other unexpected"],
    ),
    case(
        "DROP STATISTICS app.correlated; CREATE STATISTICS app.correlated (mcv) ON a, b FROM app.indexed",
        CORRELATED,
        &["objects statistics app.correlated changed: definition"],
    ),
    case(
        "DROP STATISTICS app.correlated; CREATE STATISTICS app.correlated (ndistinct, dependencies) ON a, b FROM app.plain",
        CORRELATED,
        &["objects statistics app.correlated changed: definition, table"],
    ),
    case(
        "ALTER STATISTICS app.correlated SET STATISTICS 50",
        "ALTER STATISTICS app.correlated SET STATISTICS -1",
        &["objects statistics app.correlated changed: target"],
    ),
];

const TENANTS: &str = "DROP POLICY IF EXISTS tenants ON app.secured;
     CREATE POLICY tenants ON app.secured FOR ALL TO app_reader USING (tenant = current_user) WITH CHECK (a > 0)";
const CORRELATED: &str = "DROP STATISTICS app.correlated;
     CREATE STATISTICS app.correlated (ndistinct, dependencies) ON a, b FROM app.indexed";

pub const TRIGGERS: &[Case] = &[
    case(
        "CREATE TRIGGER other AFTER DELETE ON app.watched EXECUTE FUNCTION app.on_row()",
        "DROP TRIGGER other ON app.watched",
        &["objects trigger app.watched.other unexpected"],
    ),
    case(
        "ALTER TABLE app.watched DISABLE TRIGGER watch",
        "ALTER TABLE app.watched ENABLE TRIGGER watch",
        &["objects trigger app.watched.watch changed: enabled"],
    ),
    case(
        "ALTER TABLE app.watched ENABLE REPLICA TRIGGER watch",
        "ALTER TABLE app.watched ENABLE TRIGGER watch",
        &["objects trigger app.watched.watch changed: enabled"],
    ),
    case(
        "ALTER TABLE app.watched ENABLE ALWAYS TRIGGER watch",
        "ALTER TABLE app.watched ENABLE TRIGGER watch",
        &["objects trigger app.watched.watch changed: enabled"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch BEFORE INSERT OR UPDATE OF b ON app.watched FOR EACH ROW WHEN (new.a > 0)
             EXECUTE FUNCTION app.on_row('x')",
        WATCH,
        &["objects trigger app.watched.watch changed: definition"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch BEFORE INSERT OR UPDATE OF a ON app.watched FOR EACH ROW WHEN (new.a > 1)
             EXECUTE FUNCTION app.on_row('x')",
        WATCH,
        &["objects trigger app.watched.watch changed: definition"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch BEFORE INSERT OR UPDATE OF a ON app.watched FOR EACH ROW WHEN (new.a > 0)
             EXECUTE FUNCTION app.on_other_row('x')",
        WATCH,
        &["objects trigger app.watched.watch changed: definition"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch BEFORE INSERT OR UPDATE OF a ON app.watched FOR EACH ROW WHEN (new.a > 0)
             EXECUTE FUNCTION app.on_row('y')",
        WATCH,
        &["objects trigger app.watched.watch changed: definition"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch AFTER INSERT OR UPDATE OF a ON app.watched FOR EACH ROW WHEN (new.a > 0)
             EXECUTE FUNCTION app.on_row('x')",
        WATCH,
        &["objects trigger app.watched.watch changed: definition"],
    ),
    case(
        "CREATE OR REPLACE TRIGGER watch_all AFTER UPDATE ON app.watched REFERENCING NEW TABLE AS other
             FOR EACH STATEMENT EXECUTE FUNCTION app.on_row()",
        "CREATE OR REPLACE TRIGGER watch_all AFTER UPDATE ON app.watched REFERENCING NEW TABLE AS changed
             FOR EACH STATEMENT EXECUTE FUNCTION app.on_row()",
        &["objects trigger app.watched.watch_all changed: definition"],
    ),
    case(
        "DROP TRIGGER checked ON app.watched; CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON app.watched
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.on_row()",
        "DROP TRIGGER checked ON app.watched; CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON app.watched
             DEFERRABLE FOR EACH ROW EXECUTE FUNCTION app.on_row()",
        &["objects trigger app.watched.checked changed: definition"],
    ),
    case(
        "ALTER TRIGGER watch ON app.watched DEPENDS ON EXTENSION hstore",
        "ALTER TRIGGER watch ON app.watched NO DEPENDS ON EXTENSION hstore",
        &["objects trigger app.watched.watch changed: depends_on"],
    ),
    case(
        "ALTER TABLE app.list_1 DISABLE TRIGGER list_watch",
        "ALTER TABLE app.list_1 ENABLE TRIGGER list_watch",
        &["objects trigger app.list_1.list_watch unexpected"],
    ),
    case(
        "ALTER TABLE app.list_1 DISABLE TRIGGER list_watch; ALTER TABLE app.list_1 ENABLE ALWAYS TRIGGER list_watch",
        "ALTER TABLE app.list_1 ENABLE TRIGGER list_watch",
        &["objects trigger app.list_1.list_watch unexpected"],
    ),
];

const WATCH: &str = "CREATE OR REPLACE TRIGGER watch BEFORE INSERT OR UPDATE OF a ON app.watched FOR EACH ROW
     WHEN (new.a > 0) EXECUTE FUNCTION app.on_row('x')";
