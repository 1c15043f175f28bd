//! Which indexes together make the slow statements cheapest, by the planner's own estimates.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use opdb_core::maintain::plan::{Key, Plan, Scan};
use pgrx::pg_sys;

use super::hypothetical::{Candidate, Hypopg, Made};
use super::statement::Statement;
use super::{Advice, Kind, catalogued};
use crate::pg::error::Result;
use crate::pg::spi;
use crate::pg::types::Regclass;

/// An index must save this share of a statement's cost.
const MIN_SAVING: f64 = 0.2;
/// Of what is saved, another column must add more than this share to be worth having.
const WORTH_OF_A_COLUMN: f64 = 0.05;
/// What was found until then has to do.
const TIME: Duration = Duration::from_secs(3);

/// An index that is worth it.
pub struct Chosen {
    pub candidate: Candidate,
    made: Made,
    pub bytes: Option<i64>,
    pub served: Vec<Served>,
}

/// A statement that uses it.
pub struct Served {
    query_id: i64,
    calls: i64,
    mean_ms: f64,
    total_ms: f64,
    before: f64,
    after: f64,
}

/// A statement with its plan as things are.
struct Planned<'statement> {
    statement: &'statement Statement,
    before: f64,
    /// With the indexes that were chosen so far.
    now: f64,
    tables: BTreeSet<u32>,
}

impl Served {
    fn saving(&self) -> f64 {
        1.0 - self.after / self.before
    }

    /// For a person. The text of the statement may be a secret of another role's.
    pub fn told(&self) -> String {
        format!(
            "statement {} ({} calls of {:.1} ms): cost {:.0} → {:.0}",
            self.query_id, self.calls, self.mean_ms, self.before, self.after
        )
    }
}

impl Chosen {
    /// The share of the statements' time that is saved, if time goes as cost does.
    pub fn gain(&self) -> f64 {
        let total: f64 = self.served.iter().map(|served| served.total_ms).sum();
        if total > 0.0 { self.saved_ms() / total } else { 0.0 }
    }

    pub fn saved_ms(&self) -> f64 {
        self.served.iter().map(|served| served.total_ms * served.saving()).sum()
    }
}

/// Tries candidates for the statements: first all at once, to see which the planner would take; then, among those, one
/// after the other, the one that saves most time next.
pub fn best(hypopg: &Hypopg, statements: &[Statement], advised: &[Advice]) -> Result<Vec<Chosen>> {
    let began = Instant::now();
    let (mut planned, mut candidates) = planned(statements)?;
    beside_foreign_keys(hypopg, advised, &mut planned, &mut candidates)?;
    let mut rest = wanted(hypopg, &planned, candidates)?;
    let mut chosen: Vec<Chosen> = Vec::new();
    while began.elapsed() < TIME {
        let Some(place) = most_saving(hypopg, &planned, &rest)? else { break };
        let candidate = rest.remove(place);
        let Some(made) = hypopg.make(&candidate)? else { continue };
        for one in planned.iter_mut().filter(|one| one.reads(&candidate)) {
            if let Some(plan) = one.statement.plan()? {
                one.now = plan.cost;
            }
        }
        let bytes = hypopg.bytes(&made)?;
        chosen.push(Chosen { candidate, made, bytes, served: Vec::new() });
    }
    serve(&planned, &mut chosen)?;
    // One chosen later may have taken all that an earlier one was good for.
    chosen.retain(|chosen| !chosen.served.is_empty());
    Ok(chosen)
}

impl Planned<'_> {
    fn reads(&self, candidate: &Candidate) -> bool {
        self.tables.contains(&candidate.table.0.to_u32())
    }
}

/// The statements that can be planned, as things are, and the candidates for them.
fn planned(statements: &[Statement]) -> Result<(Vec<Planned<'_>>, Vec<Candidate>)> {
    let mut planned = Vec::new();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut skipped = Vec::new();
    for statement in statements {
        let Some(plan) = statement.plan()? else {
            skipped.push(statement.query_id.to_string());
            continue;
        };
        let tables = catalogued(|| tables(&plan.scans))?;
        for candidate in tables.iter().flat_map(|table| table.candidates(&plan)) {
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        let tables = tables.iter().map(|table| table.oid.to_u32()).collect();
        planned.push(Planned { statement, before: plan.cost, now: plan.cost, tables });
    }
    if !skipped.is_empty() {
        pgrx::notice!(
            "no index was tried for {} slow statements that cannot be planned here: {}",
            skipped.len(),
            skipped.join(", ")
        );
    }
    Ok((planned, candidates))
}

/// Puts the indexes that are advised for foreign keys in place: what they do is not advised again.
fn beside_foreign_keys(
    hypopg: &Hypopg,
    advised: &[Advice],
    planned: &mut [Planned],
    candidates: &mut Vec<Candidate>,
) -> Result<()> {
    for advice in advised.iter().filter(|advice| advice.kind == Kind::UnindexedForeignKey) {
        let candidate = of_foreign_key(advice)?;
        if !planned.iter().any(|one| one.reads(&candidate)) || hypopg.make(&candidate)?.is_none() {
            continue;
        }
        candidates
            .retain(|other| other.table != candidate.table || !begins_with(&candidate.columns(), other));
        for one in planned.iter_mut().filter(|one| one.reads(&candidate)) {
            if let Some(plan) = one.statement.plan()? {
                (one.before, one.now) = (plan.cost, plan.cost);
            }
        }
    }
    Ok(())
}

fn of_foreign_key(advice: &Advice) -> Result<Candidate> {
    let name = crate::pg::name::of(advice.table)?;
    let key = |column: &String| Key { column: column.clone(), order: String::new() };
    let keys = advice.columns.iter().map(key).collect();
    Ok(Candidate { table: advice.table, table_name: name.sql(), keys })
}

/// Whether an index with these columns is read as the candidate would be.
fn begins_with(columns: &[String], candidate: &Candidate) -> bool {
    let is_sorted = candidate.keys.len() == 1 || candidate.keys.iter().all(|key| key.order.is_empty());
    is_sorted && columns.starts_with(&candidate.columns())
}

/// Those that the planner takes for some statement when it has them all, and the shorter ones that they stand for.
fn wanted(hypopg: &Hypopg, planned: &[Planned], candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
    let mut made = Vec::new();
    for candidate in candidates {
        if let Some(index) = hypopg.make(&candidate)? {
            made.push((candidate, index));
        }
    }
    let mut used = BTreeSet::new();
    for one in planned {
        used.extend(one.statement.plan()?.map(|plan| plan.indexes).unwrap_or_default());
    }
    for (_, index) in &made {
        hypopg.drop(index)?;
    }
    let taken: Vec<&Candidate> =
        made.iter().filter(|(_, index)| used.contains(&index.name)).map(|(candidate, _)| candidate).collect();
    let is_wanted = |candidate: &Candidate| taken.iter().any(|taken| candidate.is_part_of(taken));
    Ok(made
        .iter()
        .map(|(candidate, _)| candidate)
        .filter(|candidate| is_wanted(candidate))
        .cloned()
        .collect())
}

/// The candidate that saves most of the time that is left. Of two that save about the same it is the shorter one: the
/// planner often takes a little less for the longer.
#[allow(clippy::cast_precision_loss)]
fn most_saving(hypopg: &Hypopg, planned: &[Planned], candidates: &[Candidate]) -> Result<Option<usize>> {
    let mut best: Option<(usize, f64)> = None;
    for (place, candidate) in candidates.iter().enumerate() {
        let Some(made) = hypopg.make(candidate)? else { continue };
        let mut saved_ms = 0.0;
        for one in planned.iter().filter(|one| one.reads(candidate)) {
            let plan = one.statement.plan()?.filter(|plan| plan.indexes.contains(&made.name));
            let saving = plan.map_or(0.0, |plan| (one.now - plan.cost) / one.before);
            if saving >= MIN_SAVING {
                saved_ms += one.statement.total_ms * saving;
            }
        }
        hypopg.drop(&made)?;
        saved_ms /= 1.0 + WORTH_OF_A_COLUMN * (candidate.keys.len() as f64 - 1.0);
        if saved_ms > best.map_or(0.0, |(_, best)| best) {
            best = Some((place, saved_ms));
        }
    }
    Ok(best.map(|(place, _)| place))
}

/// Tells each index the statements that use it in the end.
fn serve(planned: &[Planned], chosen: &mut [Chosen]) -> Result<()> {
    for one in planned {
        let Some(plan) = one.statement.plan()? else { continue };
        for chosen in chosen.iter_mut().filter(|chosen| plan.indexes.contains(&chosen.made.name)) {
            let served = Served {
                query_id: one.statement.query_id,
                calls: one.statement.calls,
                mean_ms: one.statement.mean_ms,
                total_ms: one.statement.total_ms,
                before: one.before,
                after: plan.cost,
            };
            if served.saving() >= MIN_SAVING {
                chosen.served.push(served);
            }
        }
    }
    Ok(())
}

/// A table that a plan reads, with the names that the plan has for it.
struct Table {
    oid: pg_sys::Oid,
    name: String,
    aliases: Vec<String>,
    /// The columns of its indexes.
    indexed: Vec<Vec<String>>,
}

impl Table {
    fn candidates(&self, plan: &Plan) -> Vec<Candidate> {
        let aliases: BTreeSet<&str> = self.aliases.iter().map(String::as_str).collect();
        let candidate = |keys| Candidate { table: Regclass(self.oid), table_name: self.name.clone(), keys };
        let is_new =
            |candidate: &Candidate| !self.indexed.iter().any(|columns| begins_with(columns, candidate));
        plan.candidates(&aliases).into_iter().map(candidate).filter(is_new).collect()
    }
}

/// The users' tables among those that are scanned; of a partition, the table that it belongs to.
fn tables(scans: &[Scan]) -> Result<Vec<Table>> {
    let column = |of: fn(&Scan) -> &String| scans.iter().map(|scan| of(scan).clone()).collect::<Vec<_>>();
    let rows = spi::read(
        include_str!("../../../sql/maintain/index_scanned_tables.sql"),
        &[
            column(|scan| &scan.schema).into(),
            column(|scan| &scan.relation).into(),
            column(|scan| &scan.alias).into(),
        ],
        |row| {
            let lists = row.get::<pgrx::JsonB>(4)?.and_then(|lists| serde_json::from_value(lists.0).ok());
            Ok(row.get::<pg_sys::Oid>(1)?.map(|oid| {
                (
                    oid,
                    Table {
                        oid,
                        name: row.get(2).ok().flatten().unwrap_or_default(),
                        aliases: row.get(3).ok().flatten().unwrap_or_default(),
                        indexed: lists.unwrap_or_default(),
                    },
                )
            }))
        },
    )?;
    Ok(rows.into_iter().flatten().collect::<HashMap<_, _>>().into_values().collect())
}
