-- Who owns what, and who granted what to whom.

CREATE SCHEMA owned AUTHORIZATION round_trip_owner;
COMMENT ON SCHEMA owned IS E'of somebody\nelse';
GRANT USAGE ON SCHEMA owned TO PUBLIC;
GRANT ALL ON SCHEMA owned TO round_trip_grantor WITH GRANT OPTION;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO "Round trip ""reader""";

ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner IN SCHEMA owned GRANT SELECT, INSERT ON TABLES TO "Round trip ""reader""";
ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner IN SCHEMA owned GRANT ALL ON SEQUENCES TO round_trip_grantor WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner IN SCHEMA public GRANT ALL ON TABLES TO round_trip_grantor;
ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner REVOKE ALL ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE round_trip_owner GRANT USAGE ON SCHEMAS TO round_trip_grantor;

SET ROLE round_trip_owner;
CREATE TYPE owned.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN owned.positive AS int CHECK (VALUE > 0);
CREATE TABLE owned.plain (id serial PRIMARY KEY, v varchar(3) CHECK (v IN ('a', 'b')), secret text, m owned.mood);
CREATE TABLE owned.reduced (id int GENERATED ALWAYS AS IDENTITY, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE owned.reduced_1 PARTITION OF owned.reduced FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE owned.nobody (a int);
CREATE VIEW owned.seen AS SELECT id, v FROM owned.plain;
CREATE MATERIALIZED VIEW owned.kept AS SELECT at FROM owned.reduced;
CREATE SEQUENCE owned.counter AS smallint INCREMENT -2 MINVALUE -100 MAXVALUE 7 START 5 CACHE 3 CYCLE;
CREATE FUNCTION owned.f(a int DEFAULT 3) RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, "Odd schema"
    SET work_mem = '5MB' COST 7 AS 'SELECT a';
CREATE PROCEDURE owned.p() LANGUAGE sql AS '';
CREATE AGGREGATE owned.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', PARALLEL = SAFE);
GRANT SELECT, UPDATE ON owned.plain TO round_trip_grantor WITH GRANT OPTION;
GRANT SELECT (id, v), UPDATE (v) ON owned.plain TO "Round trip ""reader""";
GRANT REFERENCES (secret) ON owned.plain TO round_trip_grantor WITH GRANT OPTION;
GRANT ALL ON owned.reduced TO PUBLIC;
REVOKE ALL ON owned.reduced FROM round_trip_owner;
GRANT SELECT, UPDATE ON owned.reduced TO round_trip_owner;
REVOKE ALL ON owned.nobody FROM round_trip_owner;
GRANT SELECT ON owned.seen TO PUBLIC;
GRANT USAGE ON SEQUENCE owned.counter TO "Round trip ""reader""";
GRANT EXECUTE ON FUNCTION owned.f TO round_trip_grantor WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE owned.p TO PUBLIC;
GRANT USAGE ON TYPE owned.mood TO "Round trip ""reader""";
REVOKE USAGE ON TYPE owned.positive FROM round_trip_owner;
COMMENT ON TABLE owned.plain IS 'it''s "plain"';
COMMENT ON COLUMN owned.plain.v IS '';
COMMENT ON COLUMN owned.plain.id IS 'key';
COMMENT ON CONSTRAINT plain_pkey ON owned.plain IS 'of the key';
COMMENT ON INDEX owned.plain_pkey IS 'of its index';
COMMENT ON FUNCTION owned.f(int) IS 'a function';
COMMENT ON TYPE owned.mood IS 'how it goes';
COMMENT ON DOMAIN owned.positive IS 'more than nothing';
COMMENT ON CONSTRAINT positive_check ON DOMAIN owned.positive IS 'more';
ALTER TABLE owned.plain ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, REPLICA IDENTITY FULL, CLUSTER ON plain_pkey,
    SET (fillfactor = 60, toast.autovacuum_enabled = off), ALTER secret SET STORAGE EXTERNAL, ALTER secret SET STATISTICS 7;
CREATE POLICY mine ON owned.plain TO round_trip_grantor, "Round trip ""reader""" USING (v = current_user AND m IN ('sad', 'glad'));

SET ROLE round_trip_grantor;
GRANT SELECT ON owned.plain TO "Round trip ""reader""";
RESET ROLE;
GRANT UPDATE ON owned.plain TO "Round trip ""reader""" WITH GRANT OPTION GRANTED BY CURRENT_USER;
ALTER PROCEDURE owned.p() OWNER TO round_trip_grantor;
