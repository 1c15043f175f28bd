//! How each set of partitions stands.

use opdb_core::partition::{Range, Runway, fits, gaps, runway};
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::{Value, json};

use super::children::Children;
use super::plan;
use super::set::Set;
use super::stray::{self, Ahead, Strays};
use super::task::Look;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{name, session, subtransaction, time};

/// So many gaps, misfits and days of strays are listed.
const MOST_LISTED: usize = 100;

#[derive(Default)]
pub struct Overview {
    pub partitions: Option<i64>,
    pub premade_until: Option<TimestampWithTimeZone>,
    pub premade_until_value: Option<String>,
    pub is_endless: bool,
    pub default_rows: Option<i64>,
    pub stray_rows: Option<JsonB>,
    pub gaps: Vec<String>,
    pub misaligned: Vec<String>,
    pub expired: Option<i64>,
    /// Why something is not known.
    pub note: Option<String>,
}

/// All managed tables. What cannot be looked at is told, and does not hide the others.
pub fn all() -> Result<Vec<(Regclass, Overview)>> {
    plan::managed()?.into_iter().map(|parent| Ok((parent, overview(parent)?))).collect()
}

fn overview(parent: Regclass) -> Result<Overview> {
    let looked = subtransaction::discarded(|| session::pinned(|| look(parent)));
    match looked {
        Ok(overview) => Ok(overview),
        Err(failure) if failure.is_interrupt => Err(failure),
        Err(failure) => Ok(Overview { note: Some(failure.message), ..Overview::default() }),
    }
}

fn look(parent: Regclass) -> Result<Overview> {
    let set = Set::get(parent, None)?;
    let children = set.children()?;
    let ranges = children.ranges();
    let look = Look::without_strays(&set, &children)?;
    let mut overview = Overview {
        partitions: i64::try_from(ranges.len()).ok(),
        gaps: listed(gaps(&ranges).into_iter().map(|gap| shown(&set, &children, gap))),
        misaligned: listed(misaligned(&set, &children)),
        ..Overview::default()
    };
    match runway(&ranges, look.now) {
        Runway::None => {}
        Runway::Endless => overview.is_endless = true,
        Runway::Until(until) => {
            overview.premade_until =
                Some(until).filter(|_| set.key.is_time()).and_then(|it| time::to_sql(set.instant_of(it)));
            overview.premade_until_value = set.key.value(until, set.grid.zone(), children.uuid_rest);
        }
    }
    overview.expired = i64::try_from(look.expired()?.len()).ok();
    match subtransaction::discarded(|| stray::find(&set, &children)) {
        Ok(strays) => add_strays(&mut overview, &set, &children, strays),
        Err(failure) => overview.note = Some(failure.message),
    }
    overview.note = refused(&set, &children)?.or(overview.note);
    Ok(overview)
}

/// What a CHECK that a run has left keeps out.
fn refused(set: &Set, children: &Children) -> Result<Option<String>> {
    let Some(default) = &children.default else { return Ok(None) };
    let refused = Ahead::all(default)?.into_iter().filter_map(|ahead| ahead.range).map(|range| {
        let check = name::identifier(Ahead::name_for(range));
        format!(
            "rows from {} are refused: a run has left CHECK {check} on {}, which the next one drops",
            shown(set, children, range),
            default.name.sql()
        )
    });
    Ok(refused.reduce(|one, other| format!("{one}; {other}")))
}

fn add_strays(overview: &mut Overview, set: &Set, children: &Children, strays: Option<Strays>) {
    let Some(strays) = strays else {
        overview.note =
            children.default.as_ref().map(|it| format!("the rows of {} are not counted", it.name.sql()));
        return;
    };
    overview.default_rows = Some(strays.count());
    let by_range =
        strays.rows.iter().filter(|(_, rows)| **rows > 0).take(MOST_LISTED).map(|(range, rows)| {
            let (lower, upper) = set.bounds(*range, children.uuid_rest).unzip();
            json!({"lower_bound": lower, "upper_bound": upper, "rows": rows})
        });
    let mut listed: Vec<Value> = by_range.collect();
    if strays.unplaced > 0 {
        listed.push(json!({"lower_bound": null, "upper_bound": null, "rows": strays.unplaced}));
    }
    overview.stray_rows = Some(JsonB(Value::Array(listed)));
}

/// Partitions that begin or end amid a range, so that ranges cannot be made beside them.
fn misaligned<'a>(set: &'a Set, children: &'a Children) -> impl Iterator<Item = String> + 'a {
    let misfits = children.partitions.iter().filter(|it| !fits(&set.grid, it.range));
    misfits.map(|it| format!("{}: {} to {}", it.name.sql(), it.lower, it.upper))
}

fn shown(set: &Set, children: &Children, range: Range) -> String {
    let value = |place| set.key.value(place, set.grid.zone(), children.uuid_rest).unwrap_or_default();
    format!("{} to {}", value(range.lower), value(range.upper))
}

fn listed(texts: impl Iterator<Item = String>) -> Vec<String> {
    texts.take(MOST_LISTED).collect()
}
