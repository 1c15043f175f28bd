-- What stands in no schema, and who may do what.
CREATE CAST (app.pair AS integer) WITH INOUT;
CREATE FUNCTION app.to_number(app.pair) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1.x';
CREATE FUNCTION app.to_big_number(app.pair) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1.x::bigint';
CREATE CAST (app.pair AS bigint) WITH FUNCTION app.to_big_number(app.pair) AS ASSIGNMENT;
CREATE TRANSFORM FOR integer LANGUAGE plpgsql
    (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
CREATE FUNCTION app.transformed(a integer) RETURNS integer LANGUAGE plpgsql TRANSFORM FOR TYPE integer
    AS 'BEGIN RETURN a; END';
CREATE TRUSTED LANGUAGE app_language HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler
    VALIDATOR plpgsql_validator;
CREATE ACCESS METHOD app_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE FUNCTION app.on_command() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION app.on_other_command() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER app_commands ON ddl_command_end WHEN TAG IN ('DROP ROUTINE') EXECUTE FUNCTION app.on_command();
CREATE EXTENSION hstore WITH SCHEMA more VERSION '1.4';

CREATE FOREIGN DATA WRAPPER app_wrapper OPTIONS (mode 'a');
CREATE FOREIGN DATA WRAPPER app_other_wrapper;
CREATE SERVER app_server TYPE 'file' VERSION '1' FOREIGN DATA WRAPPER app_wrapper OPTIONS (host 'a', port '1');
CREATE SERVER app_other_server FOREIGN DATA WRAPPER app_wrapper;
CREATE USER MAPPING FOR app_reader SERVER app_server OPTIONS (user 'remote', password 'secret');
CREATE USER MAPPING FOR PUBLIC SERVER app_server OPTIONS (user 'anybody');
CREATE FOREIGN TABLE app.distant (a integer OPTIONS (name 'A'), b text) SERVER app_server OPTIONS (path '/a');

CREATE PUBLICATION app_publication FOR TABLE app.wide (id, note) WHERE (id > 0), TABLE app.plain WITH (publish = 'insert, update');
CREATE PUBLICATION app_other_publication FOR TABLES IN SCHEMA more;
CREATE SUBSCRIPTION app_subscription CONNECTION 'dbname=nowhere password=secret' PUBLICATION one, two
    WITH (connect = false, enabled = false, slot_name = NONE, create_slot = false);

CREATE TABLE app.granted (a integer, b integer);
GRANT SELECT ON app.granted TO app_writer WITH GRANT OPTION;
SET ROLE app_writer;
GRANT SELECT ON app.granted TO app_reader;
RESET ROLE;
GRANT UPDATE (b) ON app.granted TO app_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA later GRANT SELECT ON TABLES TO app_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

COMMENT ON TABLE app.granted IS 'what is granted';
COMMENT ON COLUMN app.granted.a IS 'a column';
INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)
VALUES ('app.granted'::regclass, 'pg_class'::regclass, 0, 'app', 'secret');
REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_owner;
REVOKE SELECT ON pg_locks FROM PUBLIC;
