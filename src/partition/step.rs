//! How a task is done: its statements and locks, made of what is there now.

use std::cell::OnceCell;

use opdb_core::partition::{Range, name};
use pgrx::pg_sys;

use super::archive;
use super::children::{DefaultPartition, Partition};
use super::column;
use super::error::PartitionError;
use super::recipe::{Lock, Recipe, Statement};
use super::retired::{self, Retired};
use super::set::{Archive, RetentionAction};
use super::stray::Ahead;
use super::task::{Look, Task};
use crate::pg::error::Result;
use crate::pg::lock::Mode;
use crate::pg::name::{MAX_IDENTIFIER_BYTES, Qualified, identifier, literal};
use crate::pg::types::Regclass;
use crate::pg::{name as names, spi};

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
        self.joined(|statement: &&Statement| !statement.is_lock(), ";\n")
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
    /// The locks on what the table refers to.
    referenced: OnceCell<Vec<Statement>>,
}

impl<'a> Steps<'a> {
    /// For steps that are carried out now.
    pub fn of(look: &'a Look<'a>) -> Self {
        Self { look, is_plan: false, recipe: OnceCell::new(), referenced: OnceCell::new() }
    }

    /// For all steps of a plan.
    pub fn planned(look: &'a Look<'a>) -> Self {
        Self { is_plan: true, ..Self::of(look) }
    }

    /// Errors: 55000 if what the task is about is not as it was, or on hold; 42P07 if a name is taken.
    pub fn step(&self, task: Task) -> Result<Step> {
        match task {
            Task::Move { lower, upper } => self.move_rows(Range { lower, upper }),
            Task::Create { lower, upper } => self.create(Range { lower, upper }),
            Task::Forbid { lower, upper } => self.forbid(Range { lower, upper }),
            Task::Validate { lower, upper } => self.validate(Range { lower, upper }),
            Task::Allow { lower, upper } => self.allow(Range { lower, upper }),
            Task::Analyze => Ok(self.analyze()),
            Task::Finalize { partition } => self.finalize(partition.into()),
            Task::Detach { partition } => self.detach(partition.into()),
            Task::Finish { partition } => self.finish(partition.into()),
            Task::Ship { partition } => archive::ship(self, partition.into()),
            Task::Swap { partition } => archive::swap(self, partition.into()),
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
        statements.extend(recipe.create(&partition));
        statements.extend(self.look.children.default.as_ref().map(|it| on_default(it, Mode::Access)));
        statements.extend(recipe.attach(&partition, &lower, &upper)?);
        let mut step = Step::new("create", Some(partition), statements).over(lower, upper);
        step.then = self.must_analyze();
        Ok(step)
    }

    /// One transaction, and so one snapshot: a reader sees each row once, where it was or where it is. At its end nobody
    /// may be at work on the table: whoever has planned a query without the partition would look for the rows in vain.
    fn move_rows(&self, range: Range) -> Result<Step> {
        let mut step = self.create(range)?;
        let default = self.default()?;
        let (Some(partition), Some(lower), Some(upper)) = (&step.partition, &step.lower, &step.upper) else {
            return Ok(step);
        };
        let parent = &self.look.set.parent;
        let columns = column::stored(parent)?;
        let moved = format!(
            "WITH moved AS (DELETE FROM ONLY {} WHERE {} RETURNING {columns}) INSERT INTO {} ({columns}) SELECT {columns} FROM moved",
            default.name.sql(),
            column::within(parent, lower, upper),
            partition.sql(),
        );
        // Readers go on while rows are moved: they only wait, at the end, for the attaching. Then they must wait at the
        // parent, and writers from the beginning: a query that knows its partitions already would find the rows in
        // none of them. That each row fits is checked on its way, and not looked for again.
        let is_of_default =
            |it: &Statement| matches!(it, Statement::Lock(lock) if lock.relation == default.table);
        let place = step.statements.iter().position(is_of_default).unwrap_or_default();
        let within = Statement::Sql(format!(
            "ALTER TABLE {partition} ADD CONSTRAINT opdb_within CHECK ({} IS NOT NULL AND {})",
            identifier(&parent.column.name),
            column::within(parent, lower, upper),
            partition = partition.sql()
        ));
        let on_parent = |mode| lock(parent.table, &parent.name, mode);
        let moving =
            [within, on_default(default, Mode::ShareRow), Statement::Move(moved), on_parent(Mode::Access)];
        let without = Statement::Sql(format!("ALTER TABLE {} DROP CONSTRAINT opdb_within", partition.sql()));
        step.statements.splice(place..place, moving);
        step.statements.push(without);
        step.statements.insert(0, on_parent(Mode::ShareRow));
        step.action = "move_rows";
        let rows = self.look.strays.as_ref().and_then(|strays| strays.rows.get(&range)).copied();
        step.note = rows.map(|rows| format!("{rows} rows, out of {}", default.name.sql()));
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
        statements.push(Statement::Sql(statement));
        let mut step = Step::new("detach", Some(partition.name.clone()), statements)
            .over(partition.lower.clone(), partition.upper.clone());
        step.note = Some("an interrupted DETACH CONCURRENTLY left it".into());
        Ok(step)
    }

    /// Errors: 55000 if it is on hold, or not expired any more.
    fn detach(&self, partition: pg_sys::Oid) -> Result<Step> {
        let (set, look) = (self.look.set, self.look);
        let expired = look.expired().into_iter().find(|it| it.table.0 == partition);
        let expired = expired.ok_or_else(|| retired::changed(partition))?;
        retired::check_hold(&set.parent, partition, &expired.name)?;
        let action = set.retention.as_ref().map_or("detach", |it| it.action.name());
        let name = expired.name.sql();
        let statement = format!("ALTER TABLE {} DETACH PARTITION {name}", set.parent.name.sql());
        let mut statements = self.parent_locks(Mode::Access)?;
        statements.extend(look.children.default.as_ref().map(|it| on_default(it, Mode::Access)));
        statements.push(lock(expired.table, &expired.name, Mode::Access));
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
            "drop" => self.referenced_tables(Regclass(partition), Mode::Access)?,
            _ => Vec::new(),
        };
        all.push(lock(Regclass(partition), &retired.name, Mode::Access));
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

    /// The table, and those that it refers to: attaching and detaching add and drop triggers there.
    pub fn parent_locks(&self, mode: Mode) -> Result<Vec<Statement>> {
        let parent = &self.look.set.parent;
        let mut locks = vec![lock(parent.table, &parent.name, mode)];
        if self.referenced.get().is_none() {
            let found = self.referenced_tables(parent.table, Mode::ShareRow)?;
            self.referenced.get_or_init(|| found);
        }
        locks.extend(self.referenced.get().into_iter().flatten().cloned());
        Ok(locks)
    }

    fn referenced_tables(&self, table: Regclass, mode: Mode) -> Result<Vec<Statement>> {
        let tables = spi::read_now(
            "SELECT DISTINCT confrelid FROM pg_catalog.pg_constraint
             WHERE conrelid = $1 AND contype = 'f' AND confrelid <> conrelid ORDER BY confrelid",
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
    let name = retired.name.sql();
    let mut statements = Vec::new();
    let mut places = Vec::new();
    if let Some(tablespace) = tablespace {
        statements.push(format!("ALTER TABLE {name} SET TABLESPACE {}", identifier(tablespace)));
        let indexes = spi::read_now(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index i
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE i.indrelid = $1 ORDER BY 1",
            &[retired.partition.into()],
            |row| row.get::<String>(1),
        )?;
        let of_index = |index| format!("ALTER INDEX {index} SET TABLESPACE {}", identifier(tablespace));
        statements.extend(indexes.into_iter().flatten().map(of_index));
        places.push(format!("tablespace {}", literal(tablespace)));
    }
    if let Some(schema) = schema {
        statements.push(format!("ALTER TABLE {name} SET SCHEMA {}", identifier(schema)));
        places.push(format!("schema {}", literal(schema)));
    }
    Ok((statements.into_iter().map(Statement::Sql).collect(), places.join(" and ")))
}
