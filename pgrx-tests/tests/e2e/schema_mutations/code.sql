-- Functions, types, operators and text search.
CREATE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION app.minus(a integer, b integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a - b';
CREATE FUNCTION app.series(n integer) RETURNS SETOF integer LANGUAGE sql AS 'SELECT generate_series(1, n)';
CREATE FUNCTION app.inlined(a integer) RETURNS integer LANGUAGE sql RETURN a + 1;
CREATE FUNCTION app.native() RETURNS text LANGUAGE c AS '$libdir/dblink', 'dblink_current_query';
CREATE FUNCTION app.ranked() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number';
CREATE FUNCTION app.set_point() RETURNS void LANGUAGE plpgsql SET work_mem = '8MB' AS 'BEGIN END';
CREATE PROCEDURE app.work(a integer) LANGUAGE plpgsql AS 'BEGIN END';
CREATE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE AGGREGATE app.middle(float8 ORDER BY integer) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE app.moving(float8) (SFUNC = float8_accum, STYPE = float8[], FINALFUNC = float8_avg, COMBINEFUNC = float8_combine,
    INITCOND = '{0,0,0}', PARALLEL = SAFE, MSFUNC = float8pl, MINVFUNC = float8mi, MSTYPE = float8, MINITCOND = '0');

CREATE TYPE app.mood AS ENUM ('good', 'bad');
CREATE DOMAIN app.price AS numeric(10,2) DEFAULT 0 CONSTRAINT price_positive CHECK (VALUE >= 0);
CREATE DOMAIN app.sorted AS text COLLATE "C" NOT NULL;
CREATE FUNCTION app.distance(integer, integer) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT ($1 - $2)::float8';
CREATE TYPE app.extent AS RANGE (SUBTYPE = integer, SUBTYPE_DIFF = app.distance);
CREATE TYPE app.words AS RANGE (SUBTYPE = text, COLLATION = "C");
CREATE TYPE app.shell;
CREATE TYPE app.opaque;
CREATE FUNCTION app.opaque_in(cstring) RETURNS app.opaque LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION app.opaque_out(app.opaque) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION app.opaque_receive(internal) RETURNS app.opaque LANGUAGE internal STABLE STRICT AS 'textrecv';
CREATE FUNCTION app.opaque_send(app.opaque) RETURNS bytea LANGUAGE internal STABLE STRICT AS 'textsend';
CREATE TYPE app.opaque (INPUT = app.opaque_in, OUTPUT = app.opaque_out, STORAGE = extended);
CREATE TABLE app.made (mood app.mood, price app.price, pair app.pair, extent app.extent, opaque app.opaque);

CREATE FUNCTION app.same(app.pair, app.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x = $2.x';
CREATE FUNCTION app.differs(app.pair, app.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x <> $2.x';
CREATE OPERATOR app.=== (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.same, COMMUTATOR = OPERATOR(app.===));
CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.differs);
CREATE OPERATOR FAMILY app.backwards USING btree;
CREATE OPERATOR FAMILY app.other_family USING btree;
CREATE OPERATOR CLASS app.backwards_ops FOR TYPE integer USING btree FAMILY app.backwards AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(integer, integer);
CREATE OPERATOR CLASS app.opaque_ops FOR TYPE app.opaque USING gist AS STORAGE integer;

CREATE COLLATION app.sorting (PROVIDER = libc, LC_COLLATE = "C", LC_CTYPE = "C");
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY app.dictionary (TEMPLATE = pg_catalog.simple, STOPWORDS = english);
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype,
    HEADLINE = prsd_headline);
CREATE TEXT SEARCH CONFIGURATION app.search (PARSER = pg_catalog.default);
ALTER TEXT SEARCH CONFIGURATION app.search ADD MAPPING FOR word, asciiword WITH app.dictionary, pg_catalog.simple;
