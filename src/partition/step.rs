//! How a task is done: its statements and locks, made of what is there now.

use std::cell::OnceCell;

use opdb_core::partition::{Range, name};
use pgrx::pg_sys;

use super::archive;
use super::children::{DefaultPartition, Partition};
use super::column;
use super::error::PartitionError;
use super::moving::Move;
use super::recipe::{Lock, Recipe, Statement};
use super::retired::{self, Retired, Still};
use super::set::{Archive, RetentionAction};
use super::stray::Ahead;
use super::task::{Look, Task};
use crate::pg::error::Result;
use crate::pg::lock::Mode;
use crate::pg::name::{MAX_IDENTIFIER_BYTES, Qualified, identifier, literal};
use crate::pg::types::Regclass;
use crate::pg::{name as names, spi};

/// A CHECK that a new partition has while rows come in.
const WITHIN: &str = "opdb_within_its_bounds";

pub struct Step {
    pub action: &'static str,
    pub partition: Option<Qualified>,
    pub lower: Option<String>,
    pub upper: Option<String>,
    pub statements: Vec<Statement>,
    pub note: Option<String>,
    pub then: Then,
}

/// What opdb writes down in the same transaction.
pub enum Then {
    Nothing,
    /// The table has partitions that ANALYZE has not seen.
    MustAnalyze,
    Analyzed,
    Retired {
        partition: Partition,
        action: &'static str,
    },
    Finished {
        retired: Retired,
        detail: String,
    },
    /// Its rows are on another server, too.
    Shipped(Partition),
    Archived {
        partition: Partition,
        detail: String,
    },
}

impl Step {
    pub fn new(action: &'static str, partition: Option<Qualified>, statements: Vec<Statement>) -> Self {
        Self { action, partition, lower: None, upper: None, statements, note: None, then: Then::Nothing }
    }

    pub fn over(mut self, lower: String, upper: String) -> Self {
        (self.lower, self.upper) = (Some(lower), Some(upper));
        self
    }

    /// The statements as they would be typed.
    pub fn ddl(&self) -> String {
        self.joined(|statement: &&Statement| statement.is_sql(), ";\n")
    }

    /// The locks that are waited for, in the order in which they are taken.
    pub fn lock(&self) -> String {
        self.joined(|statement: &&Statement| statement.is_lock(), "; ")
    }

    fn joined(&self, chosen: impl Fn(&&Statement) -> bool, separator: &str) -> String {
        self.statements.iter().filter(chosen).map(ToString::to_string).collect::<Vec<_>>().join(separator)
    }
}

/// Makes steps of tasks; what is the same for all of them is looked up once.
pub struct Steps<'a> {
    pub look: &'a Look<'a>,
    /// Whether what earlier steps will have done counts as done.
    pub is_plan: bool,
    recipe: OnceCell<Recipe>,
    /// The locks on tables that foreign keys connect with this one.
    connected: OnceCell<Vec<Statement>>,
}

impl<'a> Steps<'a> {
    /// For steps that are carried out now.
    pub fn of(look: &'a Look<'a>) -> Self {
        Self { look, is_plan: false, recipe: OnceCell::new(), connected: OnceCell::new() }
    }

    /// For all steps of a plan.
    pub fn planned(look: &'a Look<'a>) -> Self {
        Self { is_plan: true, ..Self::of(look) }
    }

    /// Errors: 55000 if what the task is about is not as it was, or on hold; 42P07 if a name is taken.
    pub fn step(&self, task: Task) -> Result<Step> {
        match task {
            Task::Move(range) => self.move_rows(range),
            Task::Create(range) => self.create(range),
            Task::Forbid(range) => self.forbid(range),
            Task::Validate(range) => self.validate(range),
            Task::Allow(range) => self.allow(range),
            Task::Analyze => Ok(self.analyze()),
            Task::Finalize(partition) => self.finalize(partition.into()),
            Task::Detach(partition) => self.detach(partition.into()),
            Task::Finish(partition) => self.finish(partition.into()),
            Task::Ship(partition) => archive::ship(self, partition.into()),
            Task::Swap(partition) => archive::swap(self, partition.into()),
        }
    }

    pub fn recipe(&self) -> Result<&Recipe> {
        if let Some(recipe) = self.recipe.get() {
            return Ok(recipe);
        }
        let set = self.look.set;
        let recipe = Recipe::of(&set.parent, self.look.children, &set.storage)?;
        Ok(self.recipe.get_or_init(|| recipe))
    }

    fn create(&self, range: Range) -> Result<Step> {
        let (partition, (lower, upper)) = self.new_partition(range)?;
        let recipe = self.recipe()?;
        let mut statements = self.parent_locks(Mode::ShareUpdate)?;
        statements.extend(self.look.children.default.as_ref().map(|it| on_default(it, Mode::Access)));
        statements.extend(recipe.create(&partition));
        statements.extend(recipe.attach(&partition, &lower, &upper));
        let mut step = Step::new("create", Some(partition), statements).over(lower, upper);
        step.then = self.must_analyze();
        Ok(step)
    }

    /// One transaction, and so one snapshot: a reader sees each row once, where it was or where it is.
    ///
    /// Readers go on while rows are moved: they only wait, at the end, for the attaching. Then they must wait at the parent,
    /// and writers from the beginning: a query that knows its partitions already would find the rows in none of them.
    fn move_rows(&self, range: Range) -> Result<Step> {
        let (partition, (lower, upper)) = self.new_partition(range)?;
        let (set, default) = (self.look.set, self.default()?);
        let (parent, recipe) =
            (&set.parent, Recipe::for_rows(&set.parent, self.look.children, &set.storage)?);
        // Elsewhere they would not be on hold.
        retired::check_hold(parent, default.table.0, &default.name)?;
        let on_parent = |mode| lock(parent.table, &parent.name, mode);
        let alter = |what: &str| Statement::Sql(format!("ALTER TABLE {} {what}", partition.sql()));
        let column = identifier(&parent.column.name);
        let within = column::within(parent, &lower, &upper);
        // Nobody holds a lock on a row that moves, which would have to be waited for.
        let mut statements = self.parent_locks(Mode::Exclusive)?;
        statements.push(on_default(default, Mode::Exclusive));
        statements.extend(recipe.before_rows(&partition));
        // That each row fits is checked on its way, and not looked for again when it is attached.
        statements.push(alter(&format!("ADD CONSTRAINT {WITHIN} CHECK ({column} IS NOT NULL AND {within})")));
        let moved = Move::of(default, &partition, &column::stored(parent)?, &within)?;
        statements.push(Statement::Move(moved));
        statements.extend(recipe.after_rows(&partition));
        // Whoever waits for a row that was moved may hold these: waiting for him would be a deadlock of his.
        statements
            .extend([on_parent(Mode::Access), on_default(default, Mode::Access)].map(Statement::unqueued));
        statements.extend(recipe.attach(&partition, &lower, &upper));
        statements.push(alter(&format!("DROP CONSTRAINT {WITHIN}")));
        let mut step = Step::new("move_rows", Some(partition), statements).over(lower, upper);
        let rows = self.look.strays.as_ref().and_then(|strays| strays.rows.get(&range)).copied();
        step.note = rows.map(|rows| format!("{rows} rows, out of {}", default.name.sql()));
        step.then = self.must_analyze();
        Ok(step)
    }

    /// What a partition for `range` would be called and bounded by.
    ///
    /// Errors: 55000 if one is there meanwhile, 42P07 if its name is taken.
    fn new_partition(&self, range: Range) -> Result<(Qualified, (String, String))> {
        let (set, children) = (self.look.set, self.look.children);
        let parent = &set.parent.name;
        let partition = parent.sibling(name(&parent.name, &set.grid, range, MAX_IDENTIFIER_BYTES));
        if children.partitions.iter().any(|it| it.range.meets(range)) {
            return Err(PartitionError::Changed(partition.sql()).into());
        }
        let bounds = set.bounds(range, children.uuid_rest);
        let (lower, upper) = bounds.ok_or_else(|| PartitionError::Changed(partition.sql()))?;
        let is_taken =
            spi::read_one_now("SELECT pg_catalog.to_regclass($1)", &[partition.sql().into()], |row| {
                row.get::<Regclass>(1)
            })?;
        if is_taken.flatten().is_some() {
            return Err(PartitionError::NameTaken { name: partition.sql(), lower, upper }.into());
        }
        Ok((partition, (lower, upper)))
    }

    fn default(&self) -> Result<&DefaultPartition> {
        let default = self.look.children.default.as_ref();
        Ok(default.ok_or_else(|| PartitionError::Changed(self.look.set.parent.name.sql()))?)
    }

    fn forbid(&self, range: Range) -> Result<Step> {
        let (set, default) = (self.look.set, self.default()?);
        let (lower, upper) = set.bounds(range, self.look.children.uuid_rest).unwrap_or_default();
        let column = identifier(&set.parent.column.name);
        let value = |end: &str| column::value(&set.parent, end);
        let statement = format!(
            "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({column} IS NULL OR {column} < {} OR {column} >= {}) NOT VALID",
            default.name.sql(),
            identifier(Ahead::name_for(range)),
            value(&lower),
            value(&upper)
        );
        let statements = vec![on_default(default, Mode::Access), Statement::Sql(statement)];
        let mut step = Step::new("check", Some(default.name.clone()), statements).over(lower, upper);
        step.note = Some("until the partitions are attached, rows of this range are refused".into());
        Ok(step)
    }

    fn validate(&self, range: Range) -> Result<Step> {
        let mut step = self.on_ahead(range, "VALIDATE CONSTRAINT", Mode::ShareUpdate)?;
        step.note = Some("so that attaching need not scan the default partition".into());
        Ok(step)
    }

    fn allow(&self, range: Range) -> Result<Step> {
        self.on_ahead(range, "DROP CONSTRAINT IF EXISTS", Mode::Access)
    }

    fn on_ahead(&self, range: Range, command: &str, mode: Mode) -> Result<Step> {
        let default = self.default()?;
        let constraint = identifier(Ahead::name_for(range));
        let statement = format!("ALTER TABLE {} {command} {constraint}", default.name.sql());
        let (lower, upper) = self.look.set.bounds(range, self.look.children.uuid_rest).unwrap_or_default();
        let statements = vec![on_default(default, mode), Statement::Sql(statement)];
        Ok(Step::new("check", Some(default.name.clone()), statements).over(lower, upper))
    }

    fn must_analyze(&self) -> Then {
        if self.look.set.analyze { Then::MustAnalyze } else { Then::Nothing }
    }

    fn analyze(&self) -> Step {
        let parent = &self.look.set.parent.name;
        let mut step = Step::new("analyze", None, vec![Statement::Sql(format!("ANALYZE {}", parent.sql()))]);
        step.then = Then::Analyzed;
        step
    }

    fn finalize(&self, partition: pg_sys::Oid) -> Result<Step> {
        let found = self.look.children.half_detached.iter().find(|it| it.table.0 == partition);
        let partition = found.ok_or_else(|| retired::changed(partition))?;
        let parent = &self.look.set.parent.name;
        let name = partition.name.sql();
        let statement = format!("ALTER TABLE {} DETACH PARTITION {name} FINALIZE", parent.sql());
        let mut statements = self.parent_locks(Mode::ShareUpdate)?;
        statements.push(lock(partition.table, &partition.name, Mode::Access));
        statements.push(Statement::Sql(statement));
        let mut step = Step::new("detach", Some(partition.name.clone()), statements)
            .over(partition.lower.clone(), partition.upper.clone());
        step.note = Some("an interrupted DETACH CONCURRENTLY left it".into());
        Ok(step)
    }

    /// Errors: 55000 if it is on hold, or not expired any more.
    fn detach(&self, partition: pg_sys::Oid) -> Result<Step> {
        let (set, look) = (self.look.set, self.look);
        let expired = look.expired()?.into_iter().find(|it| it.table.0 == partition);
        let expired = expired.ok_or_else(|| retired::changed(partition))?;
        retired::check_hold(&set.parent, partition, &expired.name)?;
        let action = set.retention.as_ref().map_or("detach", |it| it.action.name());
        retired::check_finish(&set.parent, expired, set.retention.as_ref().map(|it| &it.action))?;
        let name = expired.name.sql();
        let statement = format!("ALTER TABLE {} DETACH PARTITION {name}", set.parent.name.sql());
        let mut statements = self.parent_locks(Mode::Access)?;
        statements.extend(look.children.default.as_ref().map(|it| on_default(it, Mode::Access)));
        statements.push(lock(expired.table, &expired.name, Mode::Access));
        statements.push(Statement::Still(Still::partition(&set.parent, expired)));
        statements.push(Statement::Sql(statement));
        let mut step = Step::new("detach", Some(expired.name.clone()), statements)
            .over(expired.lower.clone(), expired.upper.clone());
        step.note = self.referenced()?;
        step.then = Then::Retired { partition: expired.clone(), action };
        Ok(step)
    }

    /// Who refers to the table: its rows are looked for, and found ones keep a partition.
    fn referenced(&self) -> Result<Option<String>> {
        let by = spi::read_one_now(
            "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%s (%I)', conrelid::pg_catalog.regclass, conname), ', ')
             FROM pg_catalog.pg_constraint WHERE confrelid = $1 AND contype = 'f' AND conparentid = 0",
            &[self.look.set.parent.table.into()],
            |row| row.get::<String>(1),
        )?;
        Ok(by.flatten().map(|by| format!("refused while rows of it are referenced by {by}")))
    }

    fn finish(&self, partition: pg_sys::Oid) -> Result<Step> {
        let set = self.look.set;
        let retired = self.retired(partition)?;
        if !retired.is_expired(set.key, self.look.cutoff()?) {
            return Err(retired::changed(partition));
        }
        retired::check_hold(&set.parent, partition, &retired.name)?;
        let name = retired.name.sql();
        let sql = |text: String| Statement::Sql(text);
        let (action, statements, detail) = match set.retention.as_ref().map(|it| &it.action) {
            Some(RetentionAction::Drop) => {
                ("drop", vec![sql(format!("DROP TABLE {name}"))], "dropped".to_owned())
            }
            Some(RetentionAction::Archive(Archive::Here { schema, tablespace })) => {
                let (statements, place) = archive_here(&retired, schema.as_deref(), tablespace.as_deref())?;
                ("archive", statements, format!("archived in {place}"))
            }
            _ => return Err(retired::changed(partition)),
        };
        let (lower, upper) = (retired.lower.clone(), retired.upper.clone());
        let mut all = match action {
            "drop" => self.connected_tables(Regclass(partition), Mode::Access)?,
            _ => Vec::new(),
        };
        all.push(lock(Regclass(partition), &retired.name, Mode::Access));
        all.push(Statement::Still(Still::retired(&set.parent, &retired)));
        all.extend(statements);
        let mut step = Step::new(action, Some(retired.name.clone()), all).over(lower, upper);
        step.then = Then::Finished { retired, detail };
        Ok(step)
    }

    /// Errors: 55000 if it is a partition still, or again.
    fn retired(&self, partition: pg_sys::Oid) -> Result<Retired> {
        let planned = self.look.children.partitions.iter().find(|it| self.is_plan && it.table.0 == partition);
        match planned {
            Some(it) => Ok(Retired::of(it)),
            None => Retired::get(&self.look.set.parent, partition),
        }
    }

    /// Tables that foreign keys connect with this one, whose triggers come and go with a partition; then the table itself,
    /// which is in use most.
    pub fn parent_locks(&self, mode: Mode) -> Result<Vec<Statement>> {
        let parent = &self.look.set.parent;
        if self.connected.get().is_none() {
            let found = self.connected_tables(parent.table, Mode::ShareRow)?;
            self.connected.get_or_init(|| found);
        }
        let mut locks = self.connected.get().cloned().unwrap_or_default();
        locks.push(lock(parent.table, &parent.name, mode));
        Ok(locks)
    }

    /// A foreign key of a partitioned table, or to one, stands there once more for each partition of it.
    fn connected_tables(&self, table: Regclass, mode: Mode) -> Result<Vec<Statement>> {
        let tables = spi::read_now(
            "SELECT DISTINCT CASE k.conrelid WHEN $1 THEN k.confrelid ELSE k.conrelid END AS other
             FROM pg_catalog.pg_constraint k
             WHERE $1 IN (k.conrelid, k.confrelid) AND k.contype = 'f' AND k.confrelid <> k.conrelid AND NOT EXISTS (
                 SELECT FROM pg_catalog.pg_constraint w
                 WHERE w.oid = k.conparentid AND (w.conrelid = k.conrelid OR w.confrelid = k.confrelid))
             ORDER BY other",
            &[table.into()],
            |row| row.get::<pg_sys::Oid>(1),
        )?;
        let lock = |oid| Ok(lock(Regclass(oid), &names::of(Regclass(oid))?, mode));
        tables.into_iter().flatten().map(lock).collect()
    }
}

pub fn lock(relation: Regclass, name: &Qualified, mode: Mode) -> Statement {
    Statement::Lock(Lock { relation, name: name.clone(), mode })
}

pub fn on_default(default: &DefaultPartition, mode: Mode) -> Statement {
    lock(default.table, &default.name, mode)
}

fn archive_here(
    retired: &Retired,
    schema: Option<&str>,
    tablespace: Option<&str>,
) -> Result<(Vec<Statement>, String)> {
    // A partition that is partitioned itself goes with all that belongs to it.
    let tables = spi::read_now(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
                ARRAY(SELECT pg_catalog.format('%I.%I', m.nspname, x.relname) FROM pg_catalog.pg_index i
                      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace
                      WHERE i.indrelid = c.oid ORDER BY 1)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = $1 OR c.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) t)
         ORDER BY c.oid = $1 DESC, c.oid",
        &[retired.partition.into()],
        |row| Ok(row.get::<String>(1)?.zip(row.get::<Vec<String>>(2)?)),
    )?;
    let mut statements = Vec::new();
    for (table, indexes) in tables.into_iter().flatten() {
        if let Some(tablespace) = tablespace.map(identifier) {
            statements.push(format!("ALTER TABLE {table} SET TABLESPACE {tablespace}"));
            let of_index = |index| format!("ALTER INDEX {index} SET TABLESPACE {tablespace}");
            statements.extend(indexes.into_iter().map(of_index));
        }
        statements
            .extend(schema.map(|schema| format!("ALTER TABLE {table} SET SCHEMA {}", identifier(schema))));
    }
    let places = [
        tablespace.map(|it| format!("tablespace {}", literal(it))),
        schema.map(|it| format!("schema {}", literal(it))),
    ];
    let place = places.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    Ok((statements.into_iter().map(Statement::Sql).collect(), place))
}
