//! The job that the demo shows.

use opdb_e2e::main_job::{self, Ingested};

use crate::fixture::servers;
use crate::schema_round_trip::survives_pg_dump;

#[test]
fn a_real_feed_goes_from_test_to_production_once() {
    let mut told = Vec::new();
    let summary = main_job::run(&servers().test, &servers().production, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();

    let ingested = |inserted, duplicates, rejected| Ingested { inserted, duplicates, rejected };
    assert_eq!(summary.first_feed, ingested(1707, 0, 0));
    assert_eq!(summary.second_feed, ingested(0, 1707, 0));
    assert_eq!(summary.broken, ingested(0, 0, 3));
    assert_eq!(summary.dead_letters, 3);
    assert_eq!(summary.partitions, 8, "31 January to 7 February");

    assert!(summary.schema_valid);
    assert!(summary.quality_passed);
    assert_eq!(summary.score, "1.000000");

    assert_eq!(summary.blocking_before, ["source_id: narrowing"]);
    assert_eq!(summary.refused.state, "refused");
    let reason = summary.refused.error.unwrap();
    assert!(reason.contains("source_id") && reason.contains("character varying(8)"), "{reason}");
    assert_eq!(summary.rows_after_refusal, 0);

    assert!(summary.blocking_after.is_empty(), "{:?}", summary.blocking_after);
    assert_eq!((summary.applied.state.as_str(), summary.applied.inserted), ("applied", Some(1707)));
    let repeated = summary.repeated;
    assert_eq!(
        (repeated.state.as_str(), repeated.inserted, repeated.updated, repeated.unchanged),
        ("applied", Some(0), Some(0), Some(1707))
    );
    assert_eq!(summary.rows_in_production, 1707);
    assert!(summary.same_rows);
    assert!(!told.contains("only for this demo"), "the demo prints no password");

    survives_pg_dump(main_job::DATABASE);
}
