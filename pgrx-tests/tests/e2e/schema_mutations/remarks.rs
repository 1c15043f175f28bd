//! Comments and security labels.

use super::case::{Case, case};

macro_rules! comment {
    ($on:literal, $object:literal) => {
        comment!($on, $object, "comment")
    };
    ($on:literal, $object:literal, $facet:literal) => {
        case(
            concat!("COMMENT ON ", $on, " IS 'changed'"),
            concat!("COMMENT ON ", $on, " IS NULL"),
            &[concat!($object, " changed: ", $facet)],
        )
    };
}

/// No provider of labels is loaded, so they are written into the catalog.
macro_rules! label {
    ($class:literal, $object:literal, $found:literal) => {
        label!($class, $object, 0, $found)
    };
    ($class:literal, $object:literal, $column:literal, $found:literal) => {
        case(
            concat!(
                "INSERT INTO pg_seclabel (classoid, objoid, objsubid, provider, label) VALUES ('",
                $class,
                "'::regclass, ",
                $object,
                ", ",
                $column,
                ", 'app', 'changed')"
            ),
            "DELETE FROM pg_seclabel WHERE label = 'changed'",
            &[concat!($found, " changed: security_labels")],
        )
    };
}

pub const COMMENTS: &[Case] = &[
    comment!("SCHEMA app", "objects schema app"),
    comment!("TABLE app.plain", "objects table app.plain"),
    comment!("VIEW app.shown", "objects view app.shown"),
    comment!("MATERIALIZED VIEW app.summary", "objects materialized_view app.summary"),
    comment!("FOREIGN TABLE app.distant", "objects foreign_table app.distant"),
    comment!("COLUMN app.plain.a", "columns column app.plain.a"),
    comment!("COLUMN app.shown.a", "columns column app.shown.a"),
    comment!("COLUMN app.pair.x", "columns column app.pair.x"),
    comment!("CONSTRAINT held_check ON app.held", "constraints constraint app.held.held_check"),
    comment!(
        "CONSTRAINT price_positive ON DOMAIN app.price",
        "constraints constraint app.price.price_positive"
    ),
    comment!("INDEX app.held_unique", "constraints constraint app.held.held_unique", "index_comment"),
    comment!("INDEX app.indexed_a", "indexes index app.indexed.indexed_a"),
    comment!("SEQUENCE app.numbers", "objects sequence app.numbers"),
    comment!("TRIGGER watch ON app.watched", "objects trigger app.watched.watch"),
    comment!("RULE forget ON app.watched", "objects rule app.watched.forget"),
    comment!("POLICY tenants ON app.secured", "objects policy app.secured.tenants"),
    comment!("STATISTICS app.correlated", "objects statistics app.correlated"),
    comment!("FUNCTION app.plus", "objects function app.plus(a integer, b integer)"),
    comment!("PROCEDURE app.work", "objects procedure app.work(IN a integer)"),
    comment!("AGGREGATE app.total(integer)", "objects aggregate app.total(integer)"),
    comment!("TYPE app.mood", "data_types enum app.mood"),
    comment!("DOMAIN app.price", "data_types domain app.price"),
    comment!("TYPE app.pair", "data_types composite_type app.pair"),
    comment!("TYPE app.extent", "data_types range_type app.extent"),
    comment!("TYPE app.opaque", "data_types base_type app.opaque"),
    comment!("OPERATOR app.=== (app.pair, app.pair)", "objects operator app.=== (app.pair, app.pair)"),
    comment!(
        "OPERATOR CLASS app.backwards_ops USING btree",
        "objects operator_class app.backwards_ops USING btree"
    ),
    comment!(
        "OPERATOR FAMILY app.backwards USING btree",
        "objects operator_family app.backwards USING btree"
    ),
    comment!("COLLATION app.sorting", "objects collation app.sorting"),
    comment!("CONVERSION app.latin", "objects conversion app.latin"),
    comment!("TEXT SEARCH CONFIGURATION app.search", "objects text_search_configuration app.search"),
    comment!("TEXT SEARCH DICTIONARY app.dictionary", "objects text_search_dictionary app.dictionary"),
    comment!("TEXT SEARCH PARSER app.parser", "objects text_search_parser app.parser"),
    comment!("TEXT SEARCH TEMPLATE app.template", "objects text_search_template app.template"),
    comment!("CAST (app.pair AS integer)", "objects cast (app.pair AS integer)"),
    comment!("TRANSFORM FOR integer LANGUAGE plpgsql", "objects transform FOR integer LANGUAGE plpgsql"),
    comment!("LANGUAGE app_language", "objects language app_language"),
    comment!("ACCESS METHOD app_heap", "objects access_method app_heap"),
    comment!("EVENT TRIGGER app_commands", "objects event_trigger app_commands"),
    comment!("FOREIGN DATA WRAPPER app_wrapper", "objects foreign_data_wrapper app_wrapper"),
    comment!("SERVER app_server", "objects server app_server"),
    comment!("PUBLICATION app_publication", "objects publication app_publication"),
    comment!("SUBSCRIPTION app_subscription", "objects subscription app_subscription"),
    case(
        "COMMENT ON EXTENSION hstore IS 'changed'",
        "COMMENT ON EXTENSION hstore IS 'data type for storing sets of (key, value) pairs'",
        &["objects extension hstore changed: comment"],
    ),
    case(
        "COMMENT ON TABLE app.granted IS NULL",
        "COMMENT ON TABLE app.granted IS 'what is granted'",
        &["objects table app.granted changed: comment"],
    ),
    case(
        "COMMENT ON COLUMN app.granted.a IS 'another column'",
        "COMMENT ON COLUMN app.granted.a IS 'a column'",
        &["columns column app.granted.a changed: comment"],
    ),
    case(
        "COMMENT ON FUNCTION app.extent(integer, integer) IS 'changed'",
        "COMMENT ON FUNCTION app.extent(integer, integer) IS NULL",
        &["objects function app.extent(integer, integer) unexpected"],
    ),
    case(
        "COMMENT ON TYPE app.plain IS 'changed'",
        "COMMENT ON TYPE app.plain IS NULL",
        &["data_types composite_type app.plain unexpected"],
    ),
    case(
        "COMMENT ON TRIGGER list_watch ON app.list_1 IS 'changed'",
        "COMMENT ON TRIGGER list_watch ON app.list_1 IS NULL",
        &["objects trigger app.list_1.list_watch unexpected"],
    ),
];

pub const LABELS: &[Case] = &[
    label!("pg_namespace", "'app'::regnamespace", "objects schema app"),
    label!("pg_class", "'app.plain'::regclass", "objects table app.plain"),
    label!("pg_class", "'app.shown'::regclass", "objects view app.shown"),
    label!("pg_class", "'app.summary'::regclass", "objects materialized_view app.summary"),
    label!("pg_class", "'app.distant'::regclass", "objects foreign_table app.distant"),
    label!("pg_class", "'app.plain'::regclass", 1, "columns column app.plain.a"),
    label!("pg_class", "'app.numbers'::regclass", "objects sequence app.numbers"),
    label!("pg_proc", "'app.plus'::regproc", "objects function app.plus(a integer, b integer)"),
    label!("pg_proc", "'app.work'::regproc", "objects procedure app.work(IN a integer)"),
    label!("pg_proc", "'app.total'::regproc", "objects aggregate app.total(integer)"),
    label!("pg_type", "'app.mood'::regtype", "data_types enum app.mood"),
    label!("pg_type", "'app.price'::regtype", "data_types domain app.price"),
    label!("pg_type", "'app.pair'::regtype", "data_types composite_type app.pair"),
    label!(
        "pg_language",
        "(SELECT oid FROM pg_language WHERE lanname = 'app_language')",
        "objects language app_language"
    ),
    label!(
        "pg_event_trigger",
        "(SELECT oid FROM pg_event_trigger WHERE evtname = 'app_commands')",
        "objects event_trigger app_commands"
    ),
    label!(
        "pg_publication",
        "(SELECT oid FROM pg_publication WHERE pubname = 'app_publication')",
        "objects publication app_publication"
    ),
    label!(
        "pg_subscription",
        "(SELECT oid FROM pg_subscription WHERE subname = 'app_subscription')",
        "objects subscription app_subscription"
    ),
    case(
        "UPDATE pg_seclabel SET label = 'open' WHERE label = 'secret'",
        "UPDATE pg_seclabel SET label = 'secret' WHERE label = 'open'",
        &["objects table app.granted changed: security_labels"],
    ),
];
