//! What an extension makes is one row; what somebody changes about it is named.

use super::case::{Case, case};
use super::fixture::capture;
use super::mutations::assert_all_are_named;
use crate::fixture::{database, execute, on_test, servers};

#[test]
fn what_is_changed_about_the_objects_of_an_extension_is_named() {
    let client = &mut on_test(&database(&servers().test));
    execute(
        client,
        "CREATE SCHEMA app; CREATE EXTENSION hstore SCHEMA app VERSION '1.4'; CREATE TABLE app.kept (a integer, b text);
         CREATE FUNCTION app.on_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         ALTER EXTENSION hstore ADD TABLE app.kept",
    );
    capture(client);
    assert_all_are_named(client, CHANGES);
}

const CHANGES: &[Case] = &[
    case(
        "CREATE EXTENSION pgstattuple SCHEMA app",
        "DROP EXTENSION pgstattuple",
        &["objects extension pgstattuple unexpected"],
    ),
    case(
        "ALTER EXTENSION hstore DROP FUNCTION app.akeys(app.hstore)",
        "ALTER EXTENSION hstore ADD FUNCTION app.akeys(app.hstore)",
        &["objects function app.akeys(app.hstore) changed: extension"],
    ),
    case(
        "GRANT EXECUTE ON FUNCTION app.akeys TO opdb_reader",
        "REVOKE EXECUTE ON FUNCTION app.akeys FROM opdb_reader",
        &["objects function app.akeys(app.hstore) changed: acl"],
    ),
    case(
        "REVOKE EXECUTE ON FUNCTION app.akeys FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION app.akeys TO PUBLIC",
        &["objects function app.akeys(app.hstore) changed: acl"],
    ),
    case(
        "COMMENT ON FUNCTION app.akeys IS 'x'",
        "COMMENT ON FUNCTION app.akeys IS NULL",
        &["objects function app.akeys(app.hstore) changed: comment"],
    ),
    case(
        "ALTER FUNCTION app.akeys OWNER TO opdb_admin",
        "ALTER FUNCTION app.akeys OWNER TO postgres",
        &["objects function app.akeys(app.hstore) changed: owner"],
    ),
    case(
        "ALTER FUNCTION app.akeys SECURITY DEFINER",
        "ALTER FUNCTION app.akeys SECURITY INVOKER",
        &["objects function app.akeys(app.hstore) changed: security_definer"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.akeys(app.hstore) RETURNS text[] LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
             AS '$libdir/hstore', 'hstore_avals'",
        "CREATE OR REPLACE FUNCTION app.akeys(app.hstore) RETURNS text[] LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
             AS '$libdir/hstore', 'hstore_akeys'",
        &["objects function app.akeys(app.hstore) changed: source"],
    ),
    case(
        "COMMENT ON TYPE app.hstore IS 'x'",
        "COMMENT ON TYPE app.hstore IS NULL",
        &["data_types base_type app.hstore changed: comment"],
    ),
    case(
        "ALTER OPERATOR app.?(app.hstore, text) OWNER TO opdb_admin",
        "ALTER OPERATOR app.?(app.hstore, text) OWNER TO postgres",
        &["objects operator app.? (app.hstore, text) changed: owner"],
    ),
    case(
        "ALTER TABLE app.kept ADD c integer",
        "ALTER TABLE app.kept DROP c",
        &["columns column app.kept.c unexpected"],
    ),
    case(
        "CREATE INDEX kept_a ON app.kept (a)",
        "DROP INDEX app.kept_a",
        &["indexes index app.kept.kept_a unexpected"],
    ),
    case(
        "CREATE TRIGGER watch AFTER INSERT ON app.kept EXECUTE FUNCTION app.on_row()",
        "DROP TRIGGER watch ON app.kept",
        &["objects trigger app.kept.watch unexpected"],
    ),
    case(
        "GRANT SELECT ON app.kept TO opdb_reader",
        "REVOKE SELECT ON app.kept FROM opdb_reader",
        &["objects table app.kept changed: acl"],
    ),
    case(
        "CREATE FUNCTION app.added() RETURNS integer LANGUAGE sql AS 'SELECT 1'; ALTER EXTENSION hstore ADD FUNCTION app.added",
        "ALTER EXTENSION hstore DROP FUNCTION app.added; DROP FUNCTION app.added",
        &["objects function app.added() unexpected"],
    ),
    case(
        "ALTER EXTENSION hstore UPDATE TO '1.8'; ALTER FUNCTION app.akeys COST 5",
        "ALTER EXTENSION hstore DROP TABLE app.kept; DROP EXTENSION hstore;
         CREATE EXTENSION hstore SCHEMA app VERSION '1.4'; ALTER EXTENSION hstore ADD TABLE app.kept",
        &["objects extension hstore changed: version"],
    ),
];
