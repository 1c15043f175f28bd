//! Functions, casts, languages, and what else runs code.

use super::case::{Case, case};

pub const FUNCTIONS: &[Case] = &[
    case(
        "CREATE FUNCTION app.other() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION app.other()",
        &["objects function app.other() unexpected"],
    ),
    case("DROP FUNCTION app.plus(integer, integer)", PLUS, &[
        "objects function app.plus(a integer, b integer) missing",
    ]),
    case(
        "CREATE OR REPLACE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql IMMUTABLE
             AS 'SELECT b + a'",
        PLUS,
        &["objects function app.plus(a integer, b integer) changed: source"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.plus(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql IMMUTABLE
             AS 'SELECT a + b'",
        PLUS,
        &["objects function app.plus(a integer, b integer) changed: arguments"],
    ),
    case(
        "DROP FUNCTION app.plus(integer, integer);
         CREATE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT a + b'",
        "DROP FUNCTION app.plus(integer, integer); CREATE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer
             LANGUAGE sql IMMUTABLE AS 'SELECT a + b'",
        &["objects function app.plus(a integer, b integer) changed: result"],
    ),
    case(
        "SET LOCAL check_function_bodies = off;
         CREATE OR REPLACE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE plpgsql IMMUTABLE
             AS 'SELECT a + b'",
        PLUS,
        &["objects function app.plus(a integer, b integer) changed: language"],
    ),
    case(
        "ALTER FUNCTION app.plus VOLATILE",
        "ALTER FUNCTION app.plus IMMUTABLE",
        &["objects function app.plus(a integer, b integer) changed: volatility"],
    ),
    case(
        "ALTER FUNCTION app.plus STRICT",
        "ALTER FUNCTION app.plus CALLED ON NULL INPUT",
        &["objects function app.plus(a integer, b integer) changed: strict"],
    ),
    case(
        "ALTER FUNCTION app.plus SECURITY DEFINER",
        "ALTER FUNCTION app.plus SECURITY INVOKER",
        &["objects function app.plus(a integer, b integer) changed: security_definer"],
    ),
    case(
        "ALTER FUNCTION app.plus LEAKPROOF",
        "ALTER FUNCTION app.plus NOT LEAKPROOF",
        &["objects function app.plus(a integer, b integer) changed: leakproof"],
    ),
    case(
        "ALTER FUNCTION app.plus PARALLEL SAFE",
        "ALTER FUNCTION app.plus PARALLEL UNSAFE",
        &["objects function app.plus(a integer, b integer) changed: parallel"],
    ),
    case(
        "ALTER FUNCTION app.plus COST 10",
        "ALTER FUNCTION app.plus COST 100",
        &["objects function app.plus(a integer, b integer) changed: cost"],
    ),
    case(
        "ALTER FUNCTION app.series ROWS 10",
        "ALTER FUNCTION app.series ROWS 1000",
        &["objects function app.series(n integer) changed: rows"],
    ),
    case(
        "ALTER FUNCTION app.series SUPPORT generate_series_int4_support",
        "CREATE OR REPLACE FUNCTION app.series(n integer) RETURNS SETOF integer LANGUAGE sql
             AS 'SELECT generate_series(1, n)'",
        &["objects function app.series(n integer) changed: support"],
    ),
    case(
        "ALTER FUNCTION app.set_point SET work_mem = '16MB'",
        "ALTER FUNCTION app.set_point SET work_mem = '8MB'",
        &["objects function app.set_point() changed: settings"],
    ),
    case(
        "ALTER FUNCTION app.plus SET search_path = app",
        "ALTER FUNCTION app.plus RESET ALL",
        &["objects function app.plus(a integer, b integer) changed: settings"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.transformed(a integer) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN a; END'",
        "CREATE OR REPLACE FUNCTION app.transformed(a integer) RETURNS integer LANGUAGE plpgsql TRANSFORM FOR TYPE integer
             AS 'BEGIN RETURN a; END'",
        &["objects function app.transformed(a integer) changed: transforms"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.native() RETURNS text LANGUAGE c AS 'dblink', 'dblink_current_query'",
        "CREATE OR REPLACE FUNCTION app.native() RETURNS text LANGUAGE c AS '$libdir/dblink', 'dblink_current_query'",
        &["objects function app.native() changed: library"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.native() RETURNS text LANGUAGE c AS '$libdir/dblink', 'dblink_get_notify'",
        "CREATE OR REPLACE FUNCTION app.native() RETURNS text LANGUAGE c AS '$libdir/dblink', 'dblink_current_query'",
        &["objects function app.native() changed: source"],
    ),
    case(
        "CREATE OR REPLACE FUNCTION app.inlined(a integer) RETURNS integer LANGUAGE sql RETURN a + 2",
        "CREATE OR REPLACE FUNCTION app.inlined(a integer) RETURNS integer LANGUAGE sql RETURN a + 1",
        &["objects function app.inlined(a integer) changed: body"],
    ),
    case(
        "DROP FUNCTION app.ranked(); CREATE FUNCTION app.ranked() RETURNS bigint LANGUAGE internal AS 'window_row_number'",
        "DROP FUNCTION app.ranked();
         CREATE FUNCTION app.ranked() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'",
        &["objects function app.ranked() changed: window"],
    ),
    case(
        "ALTER FUNCTION app.plus DEPENDS ON EXTENSION hstore",
        "ALTER FUNCTION app.plus NO DEPENDS ON EXTENSION hstore",
        &["objects function app.plus(a integer, b integer) changed: depends_on"],
    ),
    case(
        "CREATE OR REPLACE PROCEDURE app.work(a integer) LANGUAGE plpgsql AS 'BEGIN NULL; END'",
        "CREATE OR REPLACE PROCEDURE app.work(a integer) LANGUAGE plpgsql AS 'BEGIN END'",
        &["objects procedure app.work(IN a integer) changed: source"],
    ),
    case(
        "ALTER PROCEDURE app.work SET SCHEMA more",
        "ALTER PROCEDURE more.work SET SCHEMA app",
        &["objects procedure app.work(IN a integer) missing", "objects procedure more.work(IN a integer) unexpected"],
    ),
];

const PLUS: &str =
    "CREATE OR REPLACE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql
     IMMUTABLE AS 'SELECT a + b'";

pub const AGGREGATES: &[Case] = &[
    case(
        "CREATE AGGREGATE app.other(integer) (SFUNC = int4pl, STYPE = integer)",
        "DROP AGGREGATE app.other(integer)",
        &["objects aggregate app.other(integer) unexpected"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4mi, STYPE = integer, INITCOND = '0')",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '1')",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', FINALFUNC = int4abs)",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', COMBINEFUNC = int4pl)",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', SSPACE = 64)",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', SORTOP = <)",
        TOTAL,
        &["objects aggregate app.total(integer) changed: aggregate"],
    ),
    case(
        "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', PARALLEL = SAFE)",
        TOTAL,
        &["objects aggregate app.total(integer) changed: parallel"],
    ),
    case(
        "UPDATE pg_aggregate SET aggfinalmodify = 's' WHERE aggfnoid = 'app.middle'::regproc",
        "UPDATE pg_aggregate SET aggfinalmodify = 'w' WHERE aggfnoid = 'app.middle'::regproc",
        &["objects aggregate app.middle(double precision ORDER BY integer) changed: aggregate"],
    ),
    case(
        "UPDATE pg_aggregate SET aggminitval = '1' WHERE aggfnoid = 'app.moving'::regproc",
        "UPDATE pg_aggregate SET aggminitval = '0' WHERE aggfnoid = 'app.moving'::regproc",
        &["objects aggregate app.moving(double precision) changed: aggregate"],
    ),
    case(
        "UPDATE pg_aggregate SET aggminvtransfn = 'float8pl'::regproc WHERE aggfnoid = 'app.moving'::regproc",
        "UPDATE pg_aggregate SET aggminvtransfn = 'float8mi'::regproc WHERE aggfnoid = 'app.moving'::regproc",
        &["objects aggregate app.moving(double precision) changed: aggregate"],
    ),
];

const TOTAL: &str =
    "CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')";

pub const OUTSIDE: &[Case] = &[
    case(
        "CREATE CAST (app.mood AS app.pair) WITH INOUT",
        "DROP CAST (app.mood AS app.pair)",
        &["objects cast (app.mood AS app.pair) unexpected"],
    ),
    case(
        "DROP CAST (app.pair AS integer)",
        "CREATE CAST (app.pair AS integer) WITH INOUT",
        &["objects cast (app.pair AS integer) missing"],
    ),
    case(
        "DROP CAST (app.pair AS integer); CREATE CAST (app.pair AS integer) WITH FUNCTION app.to_number(app.pair)",
        "DROP CAST (app.pair AS integer); CREATE CAST (app.pair AS integer) WITH INOUT",
        &["objects cast (app.pair AS integer) changed: function, method"],
    ),
    case(
        "DROP CAST (app.pair AS bigint);
         CREATE CAST (app.pair AS bigint) WITH FUNCTION app.to_big_number(app.pair) AS IMPLICIT",
        "DROP CAST (app.pair AS bigint);
         CREATE CAST (app.pair AS bigint) WITH FUNCTION app.to_big_number(app.pair) AS ASSIGNMENT",
        &["objects cast (app.pair AS bigint) changed: context"],
    ),
    case(
        "CREATE TRANSFORM FOR bigint LANGUAGE sql (TO SQL WITH FUNCTION int8recv(internal))",
        "DROP TRANSFORM FOR bigint LANGUAGE sql",
        &["objects transform FOR bigint LANGUAGE sql unexpected"],
    ),
    case(
        "CREATE OR REPLACE TRANSFORM FOR integer LANGUAGE plpgsql (TO SQL WITH FUNCTION int4recv(internal))",
        TRANSFORM,
        &["objects transform FOR integer LANGUAGE plpgsql changed: from_sql"],
    ),
    case(
        "CREATE OR REPLACE TRANSFORM FOR integer LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
        TRANSFORM,
        &["objects transform FOR integer LANGUAGE plpgsql changed: to_sql"],
    ),
    case(
        "CREATE LANGUAGE other HANDLER plpgsql_call_handler",
        "DROP LANGUAGE other",
        &["objects language other unexpected"],
    ),
    case(
        "CREATE OR REPLACE LANGUAGE app_language HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler
             VALIDATOR plpgsql_validator",
        LANGUAGE,
        &["objects language app_language changed: trusted"],
    ),
    case(
        "CREATE OR REPLACE TRUSTED LANGUAGE app_language HANDLER plpgsql_call_handler VALIDATOR plpgsql_validator",
        LANGUAGE,
        &["objects language app_language changed: inline"],
    ),
    case(
        "CREATE OR REPLACE TRUSTED LANGUAGE app_language HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler",
        LANGUAGE,
        &["objects language app_language changed: validator"],
    ),
    case(
        "CREATE FUNCTION more.handler() RETURNS language_handler LANGUAGE internal AS 'fmgr_internal_validator';
         CREATE OR REPLACE TRUSTED LANGUAGE app_language HANDLER more.handler INLINE plpgsql_inline_handler
             VALIDATOR plpgsql_validator",
        "CREATE OR REPLACE TRUSTED LANGUAGE app_language HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler
             VALIDATOR plpgsql_validator;
         DROP FUNCTION more.handler()",
        &["objects function more.handler() unexpected", "objects language app_language changed: handler"],
    ),
    case(
        "CREATE ACCESS METHOD other TYPE INDEX HANDLER bthandler",
        "DROP ACCESS METHOD other",
        &["objects access_method other unexpected"],
    ),
    case(
        "DROP ACCESS METHOD app_heap; CREATE ACCESS METHOD app_heap TYPE INDEX HANDLER bthandler",
        "DROP ACCESS METHOD app_heap; CREATE ACCESS METHOD app_heap TYPE TABLE HANDLER heap_tableam_handler",
        &["objects access_method app_heap changed: handler, type"],
    ),
    case(
        "CREATE EVENT TRIGGER other ON sql_drop EXECUTE FUNCTION app.on_command()",
        "DROP EVENT TRIGGER other",
        &["objects event_trigger other unexpected"],
    ),
    case(
        "ALTER EVENT TRIGGER app_commands DISABLE",
        "ALTER EVENT TRIGGER app_commands ENABLE",
        &["objects event_trigger app_commands changed: enabled"],
    ),
    case(
        "DROP EVENT TRIGGER app_commands; CREATE EVENT TRIGGER app_commands ON ddl_command_start
             WHEN TAG IN ('DROP ROUTINE') EXECUTE FUNCTION app.on_command()",
        COMMANDS,
        &["objects event_trigger app_commands changed: event"],
    ),
    case(
        "DROP EVENT TRIGGER app_commands; CREATE EVENT TRIGGER app_commands ON ddl_command_end
             WHEN TAG IN ('DROP ROUTINE', 'DROP RULE') EXECUTE FUNCTION app.on_command()",
        COMMANDS,
        &["objects event_trigger app_commands changed: tags"],
    ),
    case(
        "DROP EVENT TRIGGER app_commands; CREATE EVENT TRIGGER app_commands ON ddl_command_end
             WHEN TAG IN ('DROP ROUTINE') EXECUTE FUNCTION app.on_other_command()",
        COMMANDS,
        &["objects event_trigger app_commands changed: function"],
    ),
];

const TRANSFORM: &str = "CREATE OR REPLACE TRANSFORM FOR integer LANGUAGE plpgsql
     (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal))";
const LANGUAGE: &str = "CREATE OR REPLACE TRUSTED LANGUAGE app_language HANDLER plpgsql_call_handler
     INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator";
const COMMANDS: &str = "DROP EVENT TRIGGER app_commands; CREATE EVENT TRIGGER app_commands ON ddl_command_end
     WHEN TAG IN ('DROP ROUTINE') EXECUTE FUNCTION app.on_command()";
