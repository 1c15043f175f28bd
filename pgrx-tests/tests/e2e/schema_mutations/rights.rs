//! Owners and privileges.

use super::case::{Case, case};

macro_rules! owner {
    ($of:literal, $object:literal) => {
        case(
            concat!("ALTER ", $of, " OWNER TO app_owner"),
            concat!("ALTER ", $of, " OWNER TO postgres"),
            &[concat!($object, " changed: owner")],
        )
    };
}

pub const OWNERS: &[Case] = &[
    owner!("SCHEMA empty", "objects schema empty"),
    owner!("TABLE app.plain", "objects table app.plain"),
    owner!("VIEW app.shown", "objects view app.shown"),
    owner!("MATERIALIZED VIEW app.summary", "objects materialized_view app.summary"),
    owner!("FOREIGN TABLE app.distant", "objects foreign_table app.distant"),
    owner!("TABLE app.wide", "objects table app.wide"),
    owner!("SEQUENCE app.numbers", "objects sequence app.numbers"),
    owner!("STATISTICS app.correlated", "objects statistics app.correlated"),
    owner!("FUNCTION app.plus", "objects function app.plus(a integer, b integer)"),
    owner!("PROCEDURE app.work", "objects procedure app.work(IN a integer)"),
    owner!("AGGREGATE app.total(integer)", "objects aggregate app.total(integer)"),
    owner!("TYPE app.mood", "data_types enum app.mood"),
    owner!("DOMAIN app.price", "data_types domain app.price"),
    owner!("TYPE app.pair", "data_types composite_type app.pair"),
    owner!("TYPE app.extent", "data_types range_type app.extent"),
    owner!("TYPE app.opaque", "data_types base_type app.opaque"),
    owner!("OPERATOR app.=== (app.pair, app.pair)", "objects operator app.=== (app.pair, app.pair)"),
    owner!(
        "OPERATOR CLASS app.backwards_ops USING btree",
        "objects operator_class app.backwards_ops USING btree"
    ),
    owner!("OPERATOR FAMILY app.backwards USING btree", "objects operator_family app.backwards USING btree"),
    owner!("COLLATION app.sorting", "objects collation app.sorting"),
    owner!("CONVERSION app.latin", "objects conversion app.latin"),
    owner!("TEXT SEARCH CONFIGURATION app.search", "objects text_search_configuration app.search"),
    owner!("TEXT SEARCH DICTIONARY app.dictionary", "objects text_search_dictionary app.dictionary"),
    owner!("LANGUAGE app_language", "objects language app_language"),
    owner!("SERVER app_server", "objects server app_server"),
    owner!("PUBLICATION app_publication", "objects publication app_publication"),
    case(
        "ALTER ROLE app_owner SUPERUSER; ALTER EVENT TRIGGER app_commands OWNER TO app_owner",
        "ALTER EVENT TRIGGER app_commands OWNER TO postgres; ALTER ROLE app_owner NOSUPERUSER",
        &["objects event_trigger app_commands changed: owner"],
    ),
    case(
        "ALTER ROLE app_owner SUPERUSER; ALTER FOREIGN DATA WRAPPER app_wrapper OWNER TO app_owner",
        "ALTER FOREIGN DATA WRAPPER app_wrapper OWNER TO postgres; ALTER ROLE app_owner NOSUPERUSER",
        &["objects foreign_data_wrapper app_wrapper changed: owner"],
    ),
    case(
        "ALTER ROLE app_owner SUPERUSER; ALTER SUBSCRIPTION app_subscription OWNER TO app_owner",
        "ALTER SUBSCRIPTION app_subscription OWNER TO postgres; ALTER ROLE app_owner NOSUPERUSER",
        &["objects subscription app_subscription changed: owner"],
    ),
    case(
        "UPDATE pg_extension SET extowner = 'app_owner'::regrole WHERE extname = 'hstore'",
        "UPDATE pg_extension SET extowner = 'postgres'::regrole WHERE extname = 'hstore'",
        &["objects extension hstore changed: owner"],
    ),
];

/// A privilege on an object of each kind that has some.
macro_rules! grant {
    ($what:literal, $object:literal) => {
        case(
            concat!("GRANT ", $what, " TO app_owner"),
            concat!("REVOKE ", $what, " FROM app_owner"),
            &[concat!($object, " changed: acl")],
        )
    };
}

pub const GRANTS: &[Case] = &[
    grant!("USAGE ON SCHEMA app", "objects schema app"),
    grant!("SELECT ON app.plain", "objects table app.plain"),
    grant!("SELECT ON app.shown", "objects view app.shown"),
    grant!("SELECT ON app.summary", "objects materialized_view app.summary"),
    grant!("SELECT ON app.distant", "objects foreign_table app.distant"),
    grant!("SELECT (a) ON app.plain", "columns column app.plain.a"),
    grant!("INSERT (b) ON app.granted", "columns column app.granted.b"),
    grant!("USAGE ON SEQUENCE app.numbers", "objects sequence app.numbers"),
    grant!("EXECUTE ON FUNCTION app.plus", "objects function app.plus(a integer, b integer)"),
    grant!("EXECUTE ON PROCEDURE app.work", "objects procedure app.work(IN a integer)"),
    grant!("EXECUTE ON FUNCTION app.total(integer)", "objects aggregate app.total(integer)"),
    grant!("USAGE ON TYPE app.mood", "data_types enum app.mood"),
    grant!("USAGE ON DOMAIN app.price", "data_types domain app.price"),
    grant!("USAGE ON TYPE app.pair", "data_types composite_type app.pair"),
    grant!("USAGE ON TYPE app.extent", "data_types range_type app.extent"),
    grant!("USAGE ON TYPE app.opaque", "data_types base_type app.opaque"),
    grant!("USAGE ON LANGUAGE app_language", "objects language app_language"),
    grant!("USAGE ON FOREIGN DATA WRAPPER app_wrapper", "objects foreign_data_wrapper app_wrapper"),
    grant!("USAGE ON FOREIGN SERVER app_server", "objects server app_server"),
];

/// Who granted what to whom, and how.
pub const PRIVILEGES: &[Case] = &[
    case(
        "GRANT INSERT ON app.granted TO app_reader",
        "REVOKE INSERT ON app.granted FROM app_reader",
        &["objects table app.granted changed: acl"],
    ),
    case(
        "GRANT SELECT ON app.granted TO PUBLIC",
        "REVOKE SELECT ON app.granted FROM PUBLIC",
        &["objects table app.granted changed: acl"],
    ),
    case(
        "GRANT ALL ON app.granted TO app_owner",
        "REVOKE ALL ON app.granted FROM app_owner",
        &["objects table app.granted changed: acl"],
    ),
    case(
        "SET ROLE app_writer; GRANT SELECT ON app.granted TO app_reader WITH GRANT OPTION; RESET ROLE",
        "SET ROLE app_writer; REVOKE GRANT OPTION FOR SELECT ON app.granted FROM app_reader; RESET ROLE",
        &["objects table app.granted changed: acl"],
    ),
    case(
        "SET ROLE app_writer; REVOKE SELECT ON app.granted FROM app_reader; RESET ROLE;
         GRANT SELECT ON app.granted TO app_reader",
        "REVOKE SELECT ON app.granted FROM app_reader; SET ROLE app_writer; GRANT SELECT ON app.granted TO app_reader;
         RESET ROLE",
        &["objects table app.granted changed: acl"],
    ),
    case(
        "REVOKE DELETE ON app.plain FROM postgres",
        "GRANT DELETE ON app.plain TO postgres",
        &["objects table app.plain changed: acl"],
    ),
    case(
        "REVOKE ALL ON app.plain FROM postgres",
        "GRANT ALL ON app.plain TO postgres",
        &["objects table app.plain changed: acl"],
    ),
    case(
        "REVOKE EXECUTE ON FUNCTION app.plus FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION app.plus TO PUBLIC",
        &["objects function app.plus(a integer, b integer) changed: acl"],
    ),
    case(
        "REVOKE USAGE ON TYPE app.mood FROM PUBLIC",
        "GRANT USAGE ON TYPE app.mood TO PUBLIC",
        &["data_types enum app.mood changed: acl"],
    ),
    case(
        "GRANT UPDATE (b) ON app.granted TO app_reader WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR UPDATE (b) ON app.granted FROM app_reader",
        &["columns column app.granted.b changed: acl"],
    ),
    case(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA later GRANT INSERT ON TABLES TO app_reader",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA later REVOKE INSERT ON TABLES FROM app_reader",
        &["objects default_privileges FOR ROLE postgres ON TABLES (later) changed: acl"],
    ),
    case(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA later GRANT SELECT ON TABLES TO app_reader WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA later REVOKE GRANT OPTION FOR SELECT ON TABLES FROM app_reader",
        &["objects default_privileges FOR ROLE postgres ON TABLES (later) changed: acl"],
    ),
    case(
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT EXECUTE ON FUNCTIONS TO app_reader",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM app_reader",
        &["objects default_privileges FOR ROLE app_owner ON FUNCTIONS changed: acl"],
    ),
    case(
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO app_reader",
        "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SCHEMAS FROM app_reader",
        &["objects default_privileges FOR ROLE postgres ON SCHEMAS unexpected"],
    ),
    case(
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        &["objects default_privileges FOR ROLE app_owner ON FUNCTIONS missing"],
    ),
    case(
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_owner WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR EXECUTE ON FUNCTION pg_read_file(text) FROM app_owner",
        &["objects system_function pg_read_file(text) changed: acl"],
    ),
    case(
        "GRANT CREATE ON SCHEMA pg_catalog TO app_owner",
        "REVOKE CREATE ON SCHEMA pg_catalog FROM app_owner",
        &["objects schema pg_catalog unexpected"],
    ),
    case(
        "REVOKE USAGE ON TYPE pg_catalog.int4 FROM PUBLIC",
        "GRANT USAGE ON TYPE pg_catalog.int4 TO PUBLIC",
        &["data_types base_type pg_catalog.int4 unexpected"],
    ),
    case(
        "GRANT SELECT ON pg_locks TO app_owner",
        "REVOKE SELECT ON pg_locks FROM app_owner",
        &["objects system_relation pg_locks changed: acl"],
    ),
    case(
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO app_owner",
        "REVOKE EXECUTE ON FUNCTION pg_ls_dir(text) FROM app_owner",
        &["objects system_function pg_ls_dir(text) unexpected"],
    ),
    case(
        "REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO PUBLIC",
        &["objects system_function pg_sleep(double precision) unexpected"],
    ),
    case(
        "GRANT SELECT ON pg_authid TO app_owner",
        "REVOKE SELECT ON pg_authid FROM app_owner",
        &["objects system_relation pg_authid unexpected"],
    ),
    case(
        "GRANT SELECT (rolpassword) ON pg_authid TO app_owner",
        "REVOKE SELECT (rolpassword) ON pg_authid FROM app_owner",
        &["objects system_relation pg_authid.rolpassword unexpected"],
    ),
    case(
        "REVOKE SELECT (subname) ON pg_subscription FROM PUBLIC",
        "GRANT SELECT (subname) ON pg_subscription TO PUBLIC",
        &["objects system_relation pg_subscription.subname unexpected"],
    ),
    // What the server makes with an object follows from it, until somebody grants something.
    case(
        "REVOKE EXECUTE ON FUNCTION app.extent(integer, integer) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION app.extent(integer, integer) TO PUBLIC",
        &["objects function app.extent(integer, integer) unexpected"],
    ),
    case(
        "REVOKE USAGE ON TYPE app.plain FROM PUBLIC",
        "GRANT USAGE ON TYPE app.plain TO PUBLIC",
        &["data_types composite_type app.plain unexpected"],
    ),
    // What a function of the server may do is told from what it might from the start.
    case(
        "DELETE FROM pg_init_privs WHERE objoid = 'pg_ls_waldir()'::regprocedure",
        "INSERT INTO pg_init_privs SELECT oid, 'pg_proc'::regclass, 0, 'i', proacl FROM pg_proc
         WHERE oid = 'pg_ls_waldir()'::regprocedure",
        &["objects system_function pg_ls_waldir() unexpected"],
    ),
];
