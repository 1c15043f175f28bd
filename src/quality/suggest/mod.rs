//! Rules that a table seems to keep, proposed from a sample of its rows.

mod candidate;
mod completeness;
mod dependency;
mod error;
mod format;
mod json;
mod key;
mod number;
mod options;
mod profile;
mod relation;
mod sample;
mod text;
mod time;

use opdb_core::suggest::four_decimals;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AnyNumeric, JsonB};

use crate::pg::error::{Result, required};
use crate::pg::types::Regclass;
use crate::pg::{session, spi};
use candidate::{Candidate, Proposal};
use format::Formats;
use options::Options;
use profile::Profile;
use relation::{Class, Relation};
use sample::Sample;
use text::Context;

/// Statements on a sample are many and short. The first rows of a view are the same in every call, wherever another
/// session's scan of its tables has got to.
const SETTINGS: [(&str, &str); 2] = [("jit", "off"), ("synchronize_seqscans", "off")];

/// Proposes rules for a table, a view, a materialized view or a foreign table, from what its rows look like.
///
/// `options`: sample_rows (default 100000, fewer for more than 50 columns): more rows than that are not read, but
/// sampled by blocks, the same in every call; of a view or a foreign table the first ones are. min_rows (30): with fewer
/// values nothing is said. min_ratio (0.95): the share of the values that must pass.
/// One row per proposal: dimension, rule, columns and args as add_quality_rule takes them; confidence, 0 to 1: what the
/// share of passing values is at least, at 95 % (lower bound of the Wilson score interval); why. Dimension by
/// dimension, the most certain first. What constraints prove already is not proposed.
/// Changes nothing, and runs on a standby. Reads with the caller's rights and row security.
/// Errors: 22004 for NULL, 22023 for an unknown option, 42501 without SELECT on the table, 42809 for what has no rows.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn suggest_quality_rules(
    table: Option<Regclass>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(dimension, String),
            name!(rule, String),
            name!(columns, Vec<String>),
            name!(args, JsonB),
            name!(confidence, Option<AnyNumeric>),
            name!(why, String),
        ),
    >,
    ErrorReport,
> {
    let table = required("table", table)?;
    let options = Options::read(&required("options", options)?.0)?;
    let relation = Relation::read(table)?;
    let proposals = session::pinned_with(&SETTINGS, || suggest(&relation, &options))?;
    Ok(TableIterator::new(proposals.into_iter().map(|proposal| {
        (
            proposal.dimension.as_str().to_owned(),
            proposal.rule.to_owned(),
            proposal.columns,
            JsonB(proposal.args),
            AnyNumeric::try_from(four_decimals(proposal.confidence).as_str()).ok(),
            proposal.why,
        )
    })))
}

fn suggest(relation: &Relation, options: &Options) -> Result<Vec<Proposal>> {
    if relation.columns.is_empty() {
        return Ok(Vec::new());
    }
    let sample = Sample::take(relation, options)?;
    if sample.rows.count() < options.min_rows {
        return Ok(Vec::new());
    }
    let profiles = profile::profiles(relation, &sample)?;
    let mut candidates = of_columns(relation, &profiles, &sample, options)?;
    candidates.extend(time::orders(&profiles, &sample, options.min_ratio)?);
    candidates.extend(dependency::candidates(&profiles, &sample)?);
    let mut proposals = candidate::proposals(candidates, &sample, options)?;
    leave_out_what_follows(&mut proposals);
    proposals.sort_by(|one, other| {
        let by_confidence = other.confidence.total_cmp(&one.confidence);
        one.dimension.cmp(&other.dimension).then(by_confidence).then_with(|| one.columns.cmp(&other.columns))
    });
    Ok(proposals)
}

fn of_columns(
    relation: &Relation,
    profiles: &[Profile],
    sample: &Sample,
    options: &Options,
) -> Result<Vec<Candidate>> {
    let formats = Formats::read()?;
    let references = key::references(relation)?;
    let now =
        spi::read_value::<f64>("SELECT EXTRACT(epoch FROM pg_catalog.now())::float8", &[])?.unwrap_or(0.0);
    let context = Context { sample, options, formats: &formats };
    let mut candidates = Vec::new();
    for profile in profiles {
        let column = profile.column;
        let reference = references.get(&column.name);
        candidates.extend(completeness::candidates(profile));
        candidates.extend(reference.map(|reference| key::foreign_key(profile, reference)));
        let unique = key::unique(profile, relation, options);
        let names_rows =
            reference.is_some() || column.is_reference || column.is_unique || column.is_identifier();
        match column.class {
            Class::Text => candidates.extend(text::candidates(profile, &context)?),
            // What only names rows is of no size.
            class if class.is_number() && !names_rows && unique.is_none() => {
                candidates.extend(of_number(profile));
            }
            Class::Time => candidates.extend(time::candidates(profile, now)),
            Class::Json => candidates.extend(json::candidate(profile)),
            _ => {}
        }
        candidates.extend(unique);
    }
    Ok(candidates)
}

fn of_number(profile: &Profile) -> Option<Candidate> {
    let listed = (profile.column.class == Class::Integer && profile.distinct > 1)
        .then(|| text::accepted_values(profile))
        .flatten();
    listed.or_else(|| number::candidate(profile))
}

/// What is not blank is not NULL.
fn leave_out_what_follows(proposals: &mut Vec<Proposal>) {
    let filled: Vec<Vec<String>> = proposals
        .iter()
        .filter(|proposal| proposal.rule == "not_blank")
        .map(|proposal| proposal.columns.clone())
        .collect();
    proposals.retain(|proposal| proposal.rule != "not_null" || !filled.contains(&proposal.columns));
}
