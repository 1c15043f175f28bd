//! What a default partition is exchanged for: partitions for its strays and a new default partition, which belong to a
//! table of their own until all rows are in them.

use opdb_core::partition::Range;

use super::source::Source;
use crate::partition::children::{Children, DefaultPartition};
use crate::partition::column;
use crate::partition::manage::{self, Wanted};
use crate::partition::parent::Parent;
use crate::partition::recipe::{Recipe, Statement};
use crate::partition::set::Set;
use crate::partition::step::Steps;
use crate::partition::task::Look;
use crate::pg::error::Result;
use crate::pg::name::{self, Qualified, identifier, literal};
use crate::pg::spi;
use crate::pg::types::Regclass;

/// What spares a partition of strays being scanned when it is attached.
const WITHIN: &str = "opdb_within";
/// And the new default partition.
const REST: &str = "opdb_rest";

/// The statements that make it, empty.
///
/// Errors: 42P07 if a partition's name is taken.
pub fn make(look: &Look<'_>, source: &Source, ranges: &[Range], wanted: &Wanted) -> Result<Vec<Statement>> {
    let parent = &look.set.parent;
    let steps = Steps::of(look);
    let staging = source.target.sql();
    let mut statements = vec![Statement::Sql(format!(
        "CREATE TABLE {staging} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY) PARTITION BY {}",
        parent.name.sql(),
        key_of(parent.table)?
    ))];
    statements.extend(steps.recipe()?.revoke(&source.target));
    for range in ranges {
        let (partition, (lower, upper)) = steps.new_partition(*range)?;
        statements.extend(steps.recipe()?.create(&partition));
        let partition = partition.sql();
        statements.push(Statement::Sql(format!(
            "ALTER TABLE {partition} ADD CONSTRAINT {WITHIN} CHECK ({} IS NOT NULL AND {})",
            identifier(&parent.column.name),
            column::within(parent, &lower, &upper)
        )));
        statements.push(Statement::Sql(format!(
            "ALTER TABLE {staging} ATTACH PARTITION {partition} FOR VALUES FROM ({}) TO ({})",
            literal(&lower),
            literal(&upper)
        )));
    }
    let default = default_name(source);
    let storage = manage::storage_of(wanted, Some(source.parent.table.0))?;
    let like = Parent::to_be(source.parent.table, &source.parent.column.name)?;
    statements.extend(Recipe::after(&like, None, &storage)?.create(&default));
    statements
        .push(Statement::Sql(format!("ALTER TABLE {staging} ATTACH PARTITION {} DEFAULT", default.sql())));
    Ok(statements)
}

fn default_name(source: &Source) -> Qualified {
    source.parent.name.sibling(format!("opdb_default_{}", source.parent.table.0.to_u32()))
}

fn key_of(table: Regclass) -> Result<String> {
    let sql = "SELECT pg_catalog.pg_get_partkeydef($1)";
    Ok(spi::read_one_now(sql, &[table.into()], |row| row.get::<String>(1))?.flatten().unwrap_or_default())
}

/// What has been made.
pub struct Staged {
    pub children: Children,
    pub default: Qualified,
}

impl Staged {
    pub fn of(set: &Set, source: &Source, target: Regclass) -> Result<Self> {
        let children = Children::of(&Parent::get(target)?, set.key)?;
        Ok(Self { children, default: default_name(source) })
    }

    /// The statements that let the new default partition prove that no row of it belongs elsewhere. Empty if it does
    /// already. Which partitions the table has may have changed since.
    pub fn prove_rest(&self, set: &Set, children: &Children) -> Result<Vec<String>> {
        let check = self.rest_check(set, children);
        let wanted = format!("{REST}_{:016x}", digest(&check));
        let there = self.checks()?;
        if there.contains(&wanted) {
            return Ok(Vec::new());
        }
        let default = self.default.sql();
        let mut statements = self.without(&there);
        statements.push(format!("ALTER TABLE {default} ADD CONSTRAINT {wanted} CHECK ({check})"));
        Ok(statements)
    }

    /// As the server itself writes the bound of a default partition: other forms it does not see through.
    fn rest_check(&self, set: &Set, children: &Children) -> String {
        let column = identifier(&set.parent.column.name);
        let mut all: Vec<_> = children.partitions.iter().chain(&self.children.partitions).collect();
        all.sort_by_key(|partition| partition.range);
        let within = |lower: &str, upper: &str| {
            let side = |operator: &str, end: &str, endless: &str| match end {
                end if end == endless => None,
                end => Some(format!("{column} {operator} {}", column::value(&set.parent, end))),
            };
            let sides = side(">=", lower, "MINVALUE").into_iter().chain(side("<", upper, "MAXVALUE"));
            sides.collect::<Vec<_>>().join(" AND ")
        };
        let ranges: Vec<String> =
            all.iter().map(|it| format!("({})", within(&it.lower, &it.upper))).collect();
        format!("NOT ({column} IS NOT NULL AND ({}))", ranges.join(" OR "))
    }

    fn checks(&self) -> Result<Vec<String>> {
        let found = spi::read_now(
            "SELECT conname::text FROM pg_catalog.pg_constraint
             WHERE conrelid = $1 AND contype = 'c' AND pg_catalog.starts_with(conname::text, $2)",
            &[name::find(&self.default.sql())?.into(), REST.into()],
            |row| row.get::<String>(1),
        )?;
        Ok(found.into_iter().flatten().collect())
    }

    fn without(&self, checks: &[String]) -> Vec<String> {
        let default = self.default.sql();
        let drop = |check: &String| format!("ALTER TABLE {default} DROP CONSTRAINT {}", identifier(check));
        checks.iter().map(drop).collect()
    }

    /// The statements that put it in the place of the default partition, which is dropped.
    pub fn take_place(
        &self,
        set: &Set,
        old: &DefaultPartition,
        staging: &Qualified,
        recipe: &Recipe,
    ) -> Result<Vec<Statement>> {
        let (parent, new) = (set.parent.name.sql(), self.default.sql());
        let sql = |text: String| Statement::Sql(text);
        let leaves = self.children.partitions.iter().map(|it| it.name.sql());
        let detach = |it: String| sql(format!("ALTER TABLE {} DETACH PARTITION {it}", staging.sql()));
        let mut statements: Vec<Statement> = leaves.chain([new.clone()]).map(detach).collect();
        statements.push(sql(format!("ALTER TABLE {parent} DETACH PARTITION {}", old.name.sql())));
        statements.push(sql(format!("DROP TABLE {}", old.name.sql())));
        statements.push(sql(format!("DROP TABLE {}", staging.sql())));
        for leaf in &self.children.partitions {
            statements.extend(recipe.attach(&leaf.name, &leaf.lower, &leaf.upper)?);
            statements.push(sql(format!("ALTER TABLE {} DROP CONSTRAINT {WITHIN}", leaf.name.sql())));
        }
        let checks = self.without(&self.checks()?);
        // Last: while there is a default partition, each attaching would look through it.
        statements.push(sql(format!("ALTER TABLE {parent} ATTACH PARTITION {new} DEFAULT")));
        statements.extend(checks.into_iter().map(sql));
        statements.push(sql(format!("ALTER TABLE {new} RENAME TO {}", identifier(&old.name.name))));
        statements.extend(same_indexes(old)?);
        Ok(statements)
    }
}

/// The statements that give the new default partition's indexes the names that the old one's have, and make the one of
/// them its replica identity that was. Which is which shows when it is attached, or by what it is of.
fn same_indexes(old: &DefaultPartition) -> Result<Vec<Statement>> {
    let indexes = spi::read_now(
        "SELECT h.inhparent::pg_catalog.regclass, c.relname::text, i.indisreplident AND t.relreplident = 'i',
                pg_catalog.substr(d.text, pg_catalog.strpos(d.text, ' USING '))
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
         LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid,
              LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid)) d (text)
         WHERE i.indrelid = $1 ORDER BY c.relname",
        &[old.table.into()],
        |row| {
            let rest = row.get::<bool>(3)?.zip(row.get::<String>(4)?);
            Ok((row.get::<Regclass>(1)?, row.get::<String>(2)?.zip(rest)))
        },
    )?;
    let mut statements = Vec::new();
    for (of, index) in indexes {
        let Some((index, (is_identity, definition))) = index else { continue };
        let part = match of {
            Some(of) => format!("h.inhparent = {}::pg_catalog.regclass", literal(name::of(of)?.sql())),
            None => format!(
                "h.inhparent IS NULL AND pg_catalog.right(d.text, {}) = {}",
                definition.chars().count(),
                literal(&definition)
            ),
        };
        statements.push(rename(&old.name, &part, &index));
        let identify =
            || format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", old.name.sql(), identifier(&index));
        statements.extend(is_identity.then(|| Statement::Sql(identify())));
    }
    Ok(statements)
}

fn rename(table: &Qualified, which: &str, name: &str) -> Statement {
    Statement::Sql(format!(
        "DO $opdb$BEGIN EXECUTE coalesce((
    SELECT pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', n.nspname, c.relname, {})
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid,
         LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid)) d (text)
    WHERE i.indrelid = {}::pg_catalog.regclass AND pg_catalog.starts_with(c.relname::text, 'opdb_default_') AND {which}
    ORDER BY c.relname LIMIT 1), 'SELECT'); END$opdb$",
        literal(name),
        literal(table.sql())
    ))
}

/// Tells two checks apart.
fn digest(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
