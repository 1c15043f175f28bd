//! Types, operators, collations and text search.

use super::case::{Case, case};

pub const TYPES: &[Case] = &[
    case(
        "CREATE TYPE app.other AS ENUM ()",
        "DROP TYPE app.other",
        &["data_types enum app.other unexpected"],
    ),
    case(
        "ALTER TYPE app.mood ADD VALUE 'ugly'",
        "DELETE FROM pg_enum WHERE enumtypid = 'app.mood'::regtype AND enumlabel = 'ugly'",
        &["data_types enum app.mood changed: labels"],
    ),
    case(
        "ALTER TYPE app.mood RENAME VALUE 'bad' TO 'worse'",
        "ALTER TYPE app.mood RENAME VALUE 'worse' TO 'bad'",
        &["data_types enum app.mood changed: labels"],
    ),
    case(
        "UPDATE pg_enum SET enumsortorder = 5 WHERE enumtypid = 'app.mood'::regtype AND enumlabel = 'good'",
        "UPDATE pg_enum SET enumsortorder = 1 WHERE enumtypid = 'app.mood'::regtype AND enumlabel = 'good'",
        &["data_types enum app.mood changed: labels"],
    ),
    case(
        "ALTER DOMAIN app.price SET DEFAULT 1",
        "ALTER DOMAIN app.price SET DEFAULT 0",
        &["data_types domain app.price changed: default"],
    ),
    case(
        "ALTER DOMAIN app.sorted DROP NOT NULL",
        "ALTER DOMAIN app.sorted SET NOT NULL",
        &["data_types domain app.sorted changed: not_null"],
    ),
    case(
        "DROP DOMAIN app.sorted; CREATE DOMAIN app.sorted AS varchar(5) COLLATE \"C\" NOT NULL",
        "DROP DOMAIN app.sorted; CREATE DOMAIN app.sorted AS text COLLATE \"C\" NOT NULL",
        &["data_types domain app.sorted changed: base_type"],
    ),
    case(
        "DROP DOMAIN app.sorted; CREATE DOMAIN app.sorted AS text COLLATE \"POSIX\" NOT NULL",
        "DROP DOMAIN app.sorted; CREATE DOMAIN app.sorted AS text COLLATE \"C\" NOT NULL",
        &["data_types domain app.sorted changed: collation"],
    ),
    case(
        "CREATE TYPE app.other AS ()",
        "DROP TYPE app.other",
        &["data_types composite_type app.other unexpected"],
    ),
    case(
        "CREATE TYPE app.other AS (x integer)",
        "DROP TYPE app.other",
        &["columns column app.other.x unexpected", "data_types composite_type app.other unexpected"],
    ),
    case(
        "ALTER TYPE app.pair RENAME ATTRIBUTE y TO z CASCADE",
        "ALTER TYPE app.pair RENAME ATTRIBUTE z TO y CASCADE",
        &[
            "columns column app.pair.y missing",
            "columns column app.pair.z unexpected",
            "columns column app.typed.y missing",
            "columns column app.typed.z unexpected",
            "data_types composite_type app.pair changed: attributes",
        ],
    ),
    case(
        "DROP TYPE app.words; CREATE TYPE app.words AS RANGE (SUBTYPE = varchar, COLLATION = \"C\")",
        WORDS,
        &["data_types range_type app.words changed: range"],
    ),
    case(
        "DROP TYPE app.words; CREATE TYPE app.words AS RANGE (SUBTYPE = text, COLLATION = \"POSIX\")",
        WORDS,
        &["data_types range_type app.words changed: range"],
    ),
    case(
        "DROP TYPE app.words; CREATE TYPE app.words AS RANGE (SUBTYPE = text, COLLATION = \"C\", SUBTYPE_OPCLASS = text_pattern_ops)",
        WORDS,
        &["data_types range_type app.words changed: range"],
    ),
    case(
        "DROP TYPE app.words;
         CREATE TYPE app.words AS RANGE (SUBTYPE = text, COLLATION = \"C\", MULTIRANGE_TYPE_NAME = app.many_words)",
        WORDS,
        &["data_types range_type app.words changed: range"],
    ),
    case(
        "UPDATE pg_range SET rngsubdiff = 0 WHERE rngtypid = 'app.extent'::regtype",
        "UPDATE pg_range SET rngsubdiff = 'app.distance'::regproc WHERE rngtypid = 'app.extent'::regtype",
        &["data_types range_type app.extent changed: range"],
    ),
    case(
        "UPDATE pg_range SET rngcanonical = 'int4range_canonical'::regproc WHERE rngtypid = 'app.extent'::regtype",
        "UPDATE pg_range SET rngcanonical = 0 WHERE rngtypid = 'app.extent'::regtype",
        &["data_types range_type app.extent changed: range"],
    ),
    case("CREATE TYPE app.other", "DROP TYPE app.other", &["data_types base_type app.other unexpected"]),
    case(
        "ALTER TYPE app.opaque SET (STORAGE = external)",
        "ALTER TYPE app.opaque SET (STORAGE = extended)",
        &["columns column app.made.opaque changed: storage", "data_types base_type app.opaque changed: base"],
    ),
    case(
        "ALTER TYPE app.opaque SET (RECEIVE = app.opaque_receive)",
        "ALTER TYPE app.opaque SET (RECEIVE = NONE)",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "ALTER TYPE app.opaque SET (SEND = app.opaque_send)",
        "ALTER TYPE app.opaque SET (SEND = NONE)",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "ALTER TYPE app.opaque SET (TYPMOD_IN = varchartypmodin)",
        "ALTER TYPE app.opaque SET (TYPMOD_IN = NONE)",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "ALTER TYPE app.opaque SET (TYPMOD_OUT = varchartypmodout)",
        "ALTER TYPE app.opaque SET (TYPMOD_OUT = NONE)",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "ALTER TYPE app.opaque SET (ANALYZE = array_typanalyze)",
        "ALTER TYPE app.opaque SET (ANALYZE = NONE)",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "UPDATE pg_type SET typcategory = 'S' WHERE oid = 'app.opaque'::regtype",
        "UPDATE pg_type SET typcategory = 'U' WHERE oid = 'app.opaque'::regtype",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "UPDATE pg_type SET typispreferred = true WHERE oid = 'app.opaque'::regtype",
        "UPDATE pg_type SET typispreferred = false WHERE oid = 'app.opaque'::regtype",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "UPDATE pg_type SET typdelim = ';' WHERE oid = 'app.opaque'::regtype",
        "UPDATE pg_type SET typdelim = ',' WHERE oid = 'app.opaque'::regtype",
        &["data_types base_type app.opaque changed: base"],
    ),
    case(
        "UPDATE pg_type SET typdefault = 'x' WHERE oid = 'app.opaque'::regtype",
        "UPDATE pg_type SET typdefault = NULL WHERE oid = 'app.opaque'::regtype",
        &["data_types base_type app.opaque changed: default"],
    ),
];

const WORDS: &str = "DROP TYPE app.words; CREATE TYPE app.words AS RANGE (SUBTYPE = text, COLLATION = \"C\")";

pub const OPERATORS: &[Case] = &[
    case(
        "CREATE OPERATOR app.<=> (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.same)",
        "DROP OPERATOR app.<=> (app.pair, app.pair)",
        &["objects operator app.<=> (app.pair, app.pair) unexpected"],
    ),
    case(
        "CREATE OPERATOR app.@@@ (RIGHTARG = app.pair, FUNCTION = app.to_number)",
        "DROP OPERATOR app.@@@ (NONE, app.pair)",
        &["objects operator app.@@@ (NONE, app.pair) unexpected"],
    ),
    case(
        "DROP OPERATOR app.!== (app.pair, app.pair);
         CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.same)",
        DIFFERS,
        &["objects operator app.!== (app.pair, app.pair) changed: function"],
    ),
    case(
        "DROP OPERATOR app.!== (app.pair, app.pair); CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair,
             FUNCTION = app.differs, COMMUTATOR = OPERATOR(app.!==))",
        DIFFERS,
        &["objects operator app.!== (app.pair, app.pair) changed: commutator"],
    ),
    case(
        "DROP OPERATOR app.!== (app.pair, app.pair); CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair,
             FUNCTION = app.differs, NEGATOR = OPERATOR(app.===))",
        "DROP OPERATOR app.!== (app.pair, app.pair);
         CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.differs)",
        &[
            "objects operator app.!== (app.pair, app.pair) changed: negator",
            "objects operator app.=== (app.pair, app.pair) changed: negator",
        ],
    ),
    case(
        "ALTER OPERATOR app.=== (app.pair, app.pair) SET (RESTRICT = eqsel)",
        "ALTER OPERATOR app.=== (app.pair, app.pair) SET (RESTRICT = NONE)",
        &["objects operator app.=== (app.pair, app.pair) changed: restrict"],
    ),
    case(
        "ALTER OPERATOR app.=== (app.pair, app.pair) SET (JOIN = eqjoinsel)",
        "ALTER OPERATOR app.=== (app.pair, app.pair) SET (JOIN = NONE)",
        &["objects operator app.=== (app.pair, app.pair) changed: join"],
    ),
    case(
        "UPDATE pg_operator SET oprcanmerge = true WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        "UPDATE pg_operator SET oprcanmerge = false WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        &["objects operator app.=== (app.pair, app.pair) changed: merges"],
    ),
    case(
        "UPDATE pg_operator SET oprcanhash = true WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        "UPDATE pg_operator SET oprcanhash = false WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        &["objects operator app.=== (app.pair, app.pair) changed: hashes"],
    ),
    case(
        "UPDATE pg_operator SET oprresult = 'integer'::regtype WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        "UPDATE pg_operator SET oprresult = 'boolean'::regtype WHERE oid = 'app.===(app.pair, app.pair)'::regoperator",
        &["objects operator app.=== (app.pair, app.pair) changed: result"],
    ),
    case(
        "CREATE OPERATOR FAMILY app.extra USING hash",
        "DROP OPERATOR FAMILY app.extra USING hash",
        &["objects operator_family app.extra USING hash unexpected"],
    ),
    case(
        "ALTER OPERATOR FAMILY app.backwards USING btree ADD OPERATOR 1 > (integer, bigint)",
        "ALTER OPERATOR FAMILY app.backwards USING btree DROP OPERATOR 1 (integer, bigint)",
        &["objects operator_family app.backwards USING btree changed: operators"],
    ),
    case(
        "ALTER OPERATOR FAMILY app.backwards USING btree ADD FUNCTION 1 (integer, bigint) btint48cmp(integer, bigint)",
        "ALTER OPERATOR FAMILY app.backwards USING btree DROP FUNCTION 1 (integer, bigint)",
        &["objects operator_family app.backwards USING btree changed: functions"],
    ),
    case(
        "UPDATE pg_opclass SET opcfamily = (SELECT oid FROM pg_opfamily WHERE opfname = 'other_family')
         WHERE opcname = 'backwards_ops'",
        "UPDATE pg_opclass SET opcfamily = (SELECT oid FROM pg_opfamily WHERE opfname = 'backwards')
         WHERE opcname = 'backwards_ops'",
        &["objects operator_class app.backwards_ops USING btree changed: family"],
    ),
    case(
        "UPDATE pg_opclass SET opcintype = 'bigint'::regtype WHERE opcname = 'backwards_ops'",
        "UPDATE pg_opclass SET opcintype = 'integer'::regtype WHERE opcname = 'backwards_ops'",
        &["objects operator_class app.backwards_ops USING btree changed: type"],
    ),
    case(
        "UPDATE pg_opclass SET opckeytype = 'bigint'::regtype WHERE opcname = 'backwards_ops'",
        "UPDATE pg_opclass SET opckeytype = 0 WHERE opcname = 'backwards_ops'",
        &["objects operator_class app.backwards_ops USING btree changed: key_type"],
    ),
    case(
        "UPDATE pg_opclass SET opcdefault = true WHERE opcname = 'opaque_ops'",
        "UPDATE pg_opclass SET opcdefault = false WHERE opcname = 'opaque_ops'",
        &["objects operator_class app.opaque_ops USING gist changed: default"],
    ),
    case(
        "ALTER OPERATOR CLASS app.backwards_ops USING btree RENAME TO renamed_ops",
        "ALTER OPERATOR CLASS app.renamed_ops USING btree RENAME TO backwards_ops",
        &[
            "objects operator_class app.backwards_ops USING btree missing",
            "objects operator_class app.renamed_ops USING btree unexpected",
        ],
    ),
];

const DIFFERS: &str = "DROP OPERATOR app.!== (app.pair, app.pair);
     CREATE OPERATOR app.!== (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.differs)";

pub const LANGUAGES: &[Case] = &[
    case(
        "CREATE COLLATION app.other FROM \"C\"",
        "DROP COLLATION app.other",
        &["objects collation app.other unexpected"],
    ),
    case(
        "DROP COLLATION app.sorting; CREATE COLLATION app.sorting (PROVIDER = libc, LC_COLLATE = \"POSIX\", LC_CTYPE = \"C\")",
        SORTING,
        &["objects collation app.sorting changed: lc_collate"],
    ),
    case(
        "DROP COLLATION app.sorting; CREATE COLLATION app.sorting (PROVIDER = libc, LC_COLLATE = \"C\", LC_CTYPE = \"POSIX\")",
        SORTING,
        &["objects collation app.sorting changed: lc_ctype"],
    ),
    case(
        "UPDATE pg_collation SET collprovider = 'i' WHERE collname = 'sorting'",
        "UPDATE pg_collation SET collprovider = 'c' WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: provider"],
    ),
    case(
        "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'sorting'",
        "UPDATE pg_collation SET collisdeterministic = true WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: deterministic"],
    ),
    case(
        "UPDATE pg_collation SET collencoding = -1 WHERE collname = 'sorting'",
        "UPDATE pg_collation SET collencoding = 6 WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: encoding"],
    ),
    case(
        "UPDATE pg_collation SET colliculocale = 'de' WHERE collname = 'sorting'",
        "UPDATE pg_collation SET colliculocale = NULL WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: locale"],
    )
    .until(16),
    case(
        "UPDATE pg_collation SET colllocale = 'de' WHERE collname = 'sorting'",
        "UPDATE pg_collation SET colllocale = NULL WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: locale"],
    )
    .since(17),
    case(
        "UPDATE pg_collation SET collicurules = '&a < b' WHERE collname = 'sorting'",
        "UPDATE pg_collation SET collicurules = NULL WHERE collname = 'sorting'",
        &["objects collation app.sorting changed: rules"],
    )
    .since(16),
    case(
        "CREATE CONVERSION app.other FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        "DROP CONVERSION app.other",
        &["objects conversion app.other unexpected"],
    ),
    case(
        "DROP CONVERSION app.latin; CREATE DEFAULT CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        LATIN,
        &["objects conversion app.latin changed: default"],
    ),
    case(
        "DROP CONVERSION app.latin; CREATE CONVERSION app.latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
        LATIN,
        &["objects conversion app.latin changed: function, source, target"],
    ),
    case(
        "CREATE TEXT SEARCH CONFIGURATION app.other (COPY = app.search)",
        "DROP TEXT SEARCH CONFIGURATION app.other",
        &["objects text_search_configuration app.other unexpected"],
    ),
    case(
        "UPDATE pg_ts_config SET cfgparser = (SELECT oid FROM pg_ts_parser WHERE prsname = 'parser')
         WHERE cfgname = 'search'",
        "UPDATE pg_ts_config SET cfgparser = (SELECT oid FROM pg_ts_parser WHERE prsname = 'default')
         WHERE cfgname = 'search'",
        &["objects text_search_configuration app.search changed: parser"],
    ),
    case(
        "ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR word WITH pg_catalog.simple, app.dictionary",
        "ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR word WITH app.dictionary, pg_catalog.simple",
        &["objects text_search_configuration app.search changed: mappings"],
    ),
    case(
        "ALTER TEXT SEARCH CONFIGURATION app.search ADD MAPPING FOR email WITH pg_catalog.simple",
        "ALTER TEXT SEARCH CONFIGURATION app.search DROP MAPPING FOR email",
        &["objects text_search_configuration app.search changed: mappings"],
    ),
    case(
        "ALTER TEXT SEARCH DICTIONARY app.dictionary (ACCEPT = false)",
        "ALTER TEXT SEARCH DICTIONARY app.dictionary (ACCEPT)",
        &["objects text_search_dictionary app.dictionary changed: options"],
    ),
    case(
        "UPDATE pg_ts_dict SET dicttemplate = (SELECT oid FROM pg_ts_template WHERE tmplname = 'template')
         WHERE dictname = 'dictionary'",
        "UPDATE pg_ts_dict SET dicttemplate = (SELECT oid FROM pg_ts_template WHERE tmplname = 'simple')
         WHERE dictname = 'dictionary'",
        &["objects text_search_dictionary app.dictionary changed: template"],
    ),
    case(
        "DROP TEXT SEARCH TEMPLATE app.template; CREATE TEXT SEARCH TEMPLATE app.template (LEXIZE = dsimple_lexize)",
        TEMPLATE,
        &["objects text_search_template app.template changed: init"],
    ),
    case(
        "DROP TEXT SEARCH TEMPLATE app.template;
         CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsynonym_lexize)",
        TEMPLATE,
        &["objects text_search_template app.template changed: lexize"],
    ),
    case(
        "UPDATE pg_ts_parser SET prsheadline = 0 WHERE prsname = 'parser'",
        "UPDATE pg_ts_parser SET prsheadline = 'prsd_headline'::regproc WHERE prsname = 'parser'",
        &["objects text_search_parser app.parser changed: headline"],
    ),
    case(
        "UPDATE pg_ts_parser SET prsstart = 'prsd_end'::regproc WHERE prsname = 'parser'",
        "UPDATE pg_ts_parser SET prsstart = 'prsd_start'::regproc WHERE prsname = 'parser'",
        &["objects text_search_parser app.parser changed: start"],
    ),
    case(
        "UPDATE pg_ts_parser SET prstoken = 'prsd_end'::regproc WHERE prsname = 'parser'",
        "UPDATE pg_ts_parser SET prstoken = 'prsd_nexttoken'::regproc WHERE prsname = 'parser'",
        &["objects text_search_parser app.parser changed: token"],
    ),
    case(
        "UPDATE pg_ts_parser SET prsend = 'prsd_start'::regproc WHERE prsname = 'parser'",
        "UPDATE pg_ts_parser SET prsend = 'prsd_end'::regproc WHERE prsname = 'parser'",
        &["objects text_search_parser app.parser changed: end"],
    ),
    case(
        "UPDATE pg_ts_parser SET prslextype = 'prsd_end'::regproc WHERE prsname = 'parser'",
        "UPDATE pg_ts_parser SET prslextype = 'prsd_lextype'::regproc WHERE prsname = 'parser'",
        &["objects text_search_parser app.parser changed: token_types"],
    ),
];

const SORTING: &str = "DROP COLLATION app.sorting;
     CREATE COLLATION app.sorting (PROVIDER = libc, LC_COLLATE = \"C\", LC_CTYPE = \"C\")";
const LATIN: &str =
    "DROP CONVERSION app.latin; CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8";
const TEMPLATE: &str = "DROP TEXT SEARCH TEMPLATE app.template;
     CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize)";
