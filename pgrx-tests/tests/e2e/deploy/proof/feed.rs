//! The feed of the demo: a week of earthquakes goes to production, and a corrupt one does not.

use opdb_e2e::main_job;

use super::{is_refused, takes_back};
use crate::deploy::{applied, content, deploy};
use crate::fixture::{Pair, execute, text};

/// Rows of the feed.
const EVENTS: i64 = 1707;
/// A quake is not that strong.
const CORRUPT: f64 = 99.0;

/// An event table with the feed, whose every `corrupt`th quake is one that cannot have been.
fn ingest_feed(client: &mut postgres::Client, corrupt: usize) {
    let mut feed: serde_json::Value = serde_json::from_str(&main_job::feed().unwrap()).unwrap();
    if corrupt > 0 {
        for quake in feed["features"].as_array_mut().unwrap().iter_mut().step_by(corrupt) {
            quake["properties"]["mag"] = CORRUPT.into();
        }
    }
    execute(client, "SELECT opdb.create_event_table('raw_events', start_at => '2018-01-31')");
    let sql = format!(
        "SELECT i.inserted FROM (SELECT $1::text::jsonb AS document) feed,
                LATERAL opdb.ingest('raw_events', ({})) i",
        main_job::AS_RECORDS
    );
    let inserted: i64 = client.query_one(&sql, &[&feed.to_string()]).unwrap().get(0);
    assert_eq!(inserted, EVENTS);
}

/// The rules of the demo here; on production opdb, and an event table of its own.
fn pair(corrupt: usize) -> Pair {
    let mut pair = Pair::with_opdb_on_both();
    ingest_feed(&mut pair.here, corrupt);
    prepare(&mut pair);
    execute(&mut pair.there, "SELECT opdb.set_environment('live', 'production')");
    pair
}

fn prepare(pair: &mut Pair) {
    execute(
        &mut pair.here,
        r#"SELECT opdb.add_quality_rule('raw_events', 'accuracy', 'expression', '{}',
               '{"expression": "(payload ->> ''mag'')::numeric BETWEEN -2 AND 10"}', threshold => 0.999);
           SELECT opdb.capture_schema()"#,
    );
}

const QUAKES: &str = "(SELECT source, source_id, occurred_at AT TIME ZONE 'UTC', payload FROM raw_events)";

#[test]
fn good_data_goes_into_the_event_table_of_production() {
    let mut pair = pair(0);
    execute(&mut pair.there, "SELECT opdb.create_event_table('raw_events', start_at => '2018-01-31')");
    let before = vec![("raw_events", content(&mut pair.there, "raw_events"))];
    assert_eq!(deploy(&mut pair.here, "{raw_events}", "{}"), applied(EVENTS, 0, 0));
    assert_eq!(content(&mut pair.there, QUAKES), content(&mut pair.here, QUAKES));
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM raw_events_keys"), EVENTS.to_string());
    takes_back(&mut pair, &before);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM raw_events_keys"), "0");
    assert_eq!(deploy(&mut pair.here, "{raw_events}", "{}"), applied(EVENTS, 0, 0), "and there again");
}

#[test]
fn corrupt_data_leaves_production_as_it_is() {
    // 9 of 1707 quakes: the rule lets 1 of 1000 be wrong.
    let mut pair = pair(200);
    ingest_feed(&mut pair.there, 0);
    is_refused(&mut pair, "{raw_events}", "quality: public.raw_events");
    let wrong =
        text(&mut pair.here, "SELECT count(*) FROM raw_events WHERE (payload ->> 'mag')::numeric > 10");
    assert_eq!(wrong, "9");
}

/// Production without opdb, as the demo has it, with as many characters for the id of a quake.
fn with_narrow_ids(characters: &str) -> Pair {
    let mut pair = Pair::with_plain_production();
    ingest_feed(&mut pair.here, 0);
    prepare(&mut pair);
    execute(
        &mut pair.there,
        &format!(
            "CREATE TABLE raw_events (
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL,
                 source_id varchar({characters}) NOT NULL UNIQUE, occurred_at timestamptz NOT NULL, payload jsonb NOT NULL,
                 created_at timestamptz NOT NULL DEFAULT now(), processed boolean NOT NULL DEFAULT false);
             INSERT INTO raw_events (source, source_id, occurred_at, payload) VALUES ('own', 'own', now(), '{{}}')"
        ),
    );
    pair
}

#[test]
fn a_narrower_column_there_takes_what_fits() {
    // The longest id of the feed.
    let mut pair = with_narrow_ids("12");
    assert_eq!(text(&mut pair.here, "SELECT max(length(source_id)) FROM raw_events"), "12");
    assert_eq!(deploy(&mut pair.here, "{raw_events}", "{}"), applied(EVENTS, 0, 0));
    execute(&mut pair.there, "DELETE FROM raw_events WHERE source_id = 'own'");
    assert_eq!(content(&mut pair.there, QUAKES), content(&mut pair.here, QUAKES));
}

#[test]
fn a_value_that_does_not_fit_leaves_production_as_it_is() {
    let mut pair = with_narrow_ids("11");
    is_refused(&mut pair, "{raw_events}", "column_mapping: public.raw_events.source_id");
}
