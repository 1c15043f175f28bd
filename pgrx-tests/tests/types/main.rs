//! The verdicts on pairs of types, and the conditions by which values are tried, against what a server does with values
//! of these types.

#![allow(clippy::unwrap_used, clippy::panic)]

mod catalogue;
mod server;

use std::fmt::Write;

use catalogue::{TEXTS, TYPES, generated};
use opdb_core::compat::Verdict;
use opdb_core::compat::evidence::{measure, misfit};
use opdb_core::compat::types::{ColumnType, verdict};
use server::{Outcomes, Server};

/// Pairs that are not what their values say, and why.
fn exception(from: &str, to: &str) -> Option<&'static str> {
    match (from, to) {
        ("date", "tsvector") => Some("a date is read as words, by accident"),
        ("int4multirange" | "int8multirange", "text[]" | "public.tags") => {
            Some("braces and commas are read as those of an array, by accident")
        }
        ("smallint" | "integer" | "bigint" | "public.quantity" | "public.dozen", "bytea") => {
            Some("there is a cast since 18; a verdict is the same on all servers")
        }
        ("jsonb", "numeric" | "boolean") => Some("null becomes NULL since 18, and is refused before"),
        ("regclass", "public.quantity") => {
            Some("0 is refused, and reading a text gives no regclass of that number")
        }
        _ => None,
    }
}

/// A zone in which a day is missing, an hour is missing and an hour comes twice. What depends on TimeZone is lossy by
/// what happens here.
const ODD_ZONE: &str = "Pacific/Apia";

/// What is wrong with a verdict, seen how values fared.
fn objection(verdict: Verdict, outcomes: Outcomes) -> Option<&'static str> {
    match (verdict, outcomes) {
        (Verdict::Identical | Verdict::Widening | Verdict::Narrowing, Outcomes { altered: 1.., .. }) => {
            Some("a value is altered")
        }
        (Verdict::Identical | Verdict::Widening, Outcomes { refused: 1.., .. }) => Some("a value is refused"),
        (Verdict::Narrowing, Outcomes { refused: 0, .. }) => Some("no value is refused"),
        (Verdict::Lossy, Outcomes { altered: 0, .. }) => Some("no value is altered"),
        (Verdict::Incompatible, Outcomes { altered: 0, refused: 0, .. }) => Some("every value fits"),
        _ => None,
    }
}

fn is_exception(server: &Server, from: usize, to: usize, verdict: Verdict, outcomes: Outcomes) -> bool {
    // What a CHECK leaves out cannot be known: perhaps all that would not fit.
    let is_checked = !server.column(from).checks.is_empty()
        && matches!(verdict, Verdict::Narrowing | Verdict::Lossy)
        && (outcomes.refused, outcomes.altered) == (0, 0);
    is_checked || exception(TYPES[from].0, TYPES[to].0).is_some()
}

fn judged(server: &mut Server, from: usize, to: usize) -> Result<(), String> {
    let verdict = verdict(server.column(from), server.column(to));
    let mut outcomes = server.convert(from, to);
    if verdict == Verdict::Lossy && outcomes.altered == 0 {
        outcomes = server.convert_in_zone(from, to, ODD_ZONE);
    }
    match objection(verdict, outcomes) {
        Some(objection) if !is_exception(server, from, to, verdict, outcomes) => Err(format!(
            "{} -> {}: {} but {objection}, {outcomes:?}; {}\n",
            TYPES[from].0,
            TYPES[to].0,
            verdict.as_str(),
            server.examples(from)
        )),
        _ => Ok(()),
    }
}

fn tried(server: &mut Server, from: usize, to: usize) -> Result<bool, String> {
    let (here, there) = (server.column(from).clone(), server.column(to).clone());
    let verdict = verdict(&here, &there);
    if verdict <= Verdict::Widening || verdict == Verdict::Incompatible {
        return Ok(false);
    }
    if let Some(measure) = measure("v", &here, &there) {
        server.measured(from, &measure.sql);
    }
    let Some(condition) = misfit("v", &here, &there) else { return Ok(false) };
    match server.misjudged(from, &condition) {
        wrong if wrong == "NULL" => Ok(true),
        wrong => Err(format!("{} -> {}: {wrong}; {condition}\n", TYPES[from].0, TYPES[to].0)),
    }
}

/// The least limit within which every value is said to fit as text.
fn limit(server: &Server, number: usize) -> Option<i64> {
    (1..=200).find(|limit| {
        let text = ColumnType { text: format!("character varying({limit})"), ..ColumnType::default() };
        verdict(server.column(number), &text) <= Verdict::Widening
    })
}

#[test]
fn verdicts_and_conditions_say_what_the_server_does() {
    let texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).chain(generated()).collect();
    let mut server = Server::start(&texts);
    let (mut wrong, mut conditions) = (String::new(), 0);
    // A server may be built without xml.
    let numbers: Vec<usize> = (0..TYPES.len()).filter(|number| server.has_values(*number)).collect();
    assert!(numbers.len() + 1 >= TYPES.len());
    for (&from, &to) in numbers.iter().flat_map(|from| numbers.iter().map(move |to| (from, to))) {
        judged(&mut server, from, to).unwrap_or_else(|objection| wrong.push_str(&objection));
        match tried(&mut server, from, to) {
            Ok(tried) => conditions += usize::from(tried),
            Err(objection) => write!(wrong, "condition: {objection}").unwrap(),
        }
    }
    for &number in &numbers {
        let (limit, longest) = (limit(&server, number), server.longest(number));
        if limit.is_some_and(|limit| limit < longest) {
            writeln!(wrong, "{} may have {longest} characters, not {limit:?}", TYPES[number].0).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} of {} pairs:\n{wrong}", wrong.lines().count(), numbers.len().pow(2));
    assert!(conditions >= 500, "only {conditions} conditions were tried");
}
