//! The plain table: what it is, what keeps it from being partitioned, and what a partitioned one is made of.

use super::error::ConvertError;
use super::options::ConvertOptions;
use crate::partition::manage::Wanted;
use crate::partition::parent::Parent;
use crate::partition::set::Set;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};
use crate::pg::types::Regclass;
use crate::pg::{session, spi};

const NO_KEY: &str = "it has neither a primary key nor a unique index of columns that are NOT NULL, with their types' own \
    equality";

/// A table on its way.
pub struct Source {
    /// As if it were partitioned by the column already.
    pub parent: Parent,
    /// The partitioned table that takes its place.
    pub target: Qualified,
    /// Where the keys of changed rows, and their places, are written down.
    pub changes: Qualified,
    /// The trigger function that does it.
    pub capture: Qualified,
    pub weaker_keys: bool,
}

/// A column of what is written down about a changed row.
pub struct KeyColumn {
    /// Quoted.
    pub name: String,
    pub definition: String,
    /// The operator that the key's index calls equal.
    pub equals: String,
}

/// The statements of convert_statements.sql.
pub struct Statements {
    pub create: Vec<String>,
    pub swap: Vec<String>,
}

/// A view or a function that is made again, so that it means the new table.
pub struct Dependent {
    pub owner: pgrx::pg_sys::Oid,
    /// None of a function.
    pub view: Option<Regclass>,
    pub statement: String,
}

impl Source {
    /// Errors: 42P01 if there is no such relation, 42703 if it has no such column.
    pub fn of(table: Regclass, column: &str, weaker_keys: bool) -> Result<Self> {
        let parent = Parent::to_be(table, column)?;
        let named = |what: &str| parent.name.sibling(format!("opdb_{what}_{}", table.0.to_u32()));
        Ok(Self {
            target: named("new"),
            changes: named("changes"),
            capture: named("capture"),
            parent,
            weaker_keys,
        })
    }

    pub fn get(table: Regclass, column: &str, options: &ConvertOptions) -> Result<Self> {
        Self::of(table, column, options.weaker_keys)
    }

    /// How it would be partitioned.
    pub fn set(&self, wanted: &Wanted) -> Result<Set> {
        let parent = Parent::to_be(self.parent.table, &self.parent.column.name)?;
        Set::wanted(parent, wanted)
    }

    /// Errors: 0A000 with every reason.
    pub fn check(&self) -> Result<()> {
        let sql = include_str!("../../../sql/partition/convert_obstacles.sql");
        let args =
            [self.parent.table.into(), self.parent.column.name.as_str().into(), self.weaker_keys.into()];
        let reasons = session::pinned(|| spi::read_now(sql, &args, |row| row.get::<String>(2)))?;
        let mut reasons: Vec<String> = reasons.into_iter().flatten().collect();
        if self.key()?.is_empty() {
            reasons.push(NO_KEY.into());
        }
        if reasons.is_empty() {
            return Ok(());
        }
        let (table, column) = (self.parent.name.sql(), self.parent.column.name.clone());
        Err(ConvertError::Obstacles { table, column, reasons }.into())
    }

    pub fn statements(&self) -> Result<Statements> {
        let sql = include_str!("../../../sql/partition/convert_statements.sql");
        let args =
            [self.parent.table.into(), self.parent.column.name.as_str().into(), self.weaker_keys.into()];
        let rows = session::pinned(|| {
            spi::read_now(sql, &args, |row| Ok(row.get::<String>(1)?.zip(row.get::<String>(2)?)))
        })?;
        let mut statements = Statements { create: Vec::new(), swap: Vec::new() };
        for (phase, text) in rows.into_iter().flatten() {
            if phase == "create" { &mut statements.create } else { &mut statements.swap }.push(text);
        }
        Ok(statements)
    }

    /// All that the new table was made of: it must be the same when it takes the old one's place.
    pub fn definition(&self) -> Result<String> {
        let columns = session::pinned(|| {
            spi::read_one_now(
                "SELECT pg_catalog.concat_ws(E'\\n',
                     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                          a.attcollation, a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression, a.attoptions,
                          a.attacl, pg_catalog.pg_get_expr(d.adbin, d.adrelid)), E'\\n' ORDER BY a.attnum)
                      FROM pg_catalog.pg_attribute a
                      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                     (SELECT pg_catalog.string_agg(k.conname || ' ' || pg_catalog.pg_get_constraintdef(k.oid), E'\\n' ORDER BY k.conname)
                      FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'),
                     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles,
                          pg_catalog.pg_get_expr(p.polqual, c.oid), pg_catalog.pg_get_expr(p.polwithcheck, c.oid)), E'\\n' ORDER BY p.polname)
                      FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
                     c.relacl, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.reloptions)
                 FROM pg_catalog.pg_class c WHERE c.oid = $1",
                &[self.parent.table.into()],
                |row| row.get::<String>(1),
            )
        })?;
        let statements = self.statements()?.create.join("\n");
        Ok(format!("{}\n{statements}", columns.flatten().unwrap_or_default()))
    }

    /// The columns that identify a row: of the primary key, or of the shortest unique index without NULLs. Two values that
    /// the index calls equal are equal for everybody.
    pub fn key(&self) -> Result<Vec<KeyColumn>> {
        spi::read_now(
            "SELECT pg_catalog.quote_ident(a.attname),
                    pg_catalog.format_type(a.atttypid, a.atttypmod)
                        || coalesce((SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_catalog.pg_collation l
                                     JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation), ''),
                    pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
             FROM (SELECT i.* FROM pg_catalog.pg_index i
                   WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indexprs IS NULL
                     AND i.indpred IS NULL AND NOT EXISTS (
                         SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND NOT a.attnotnull
                            AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
                     AND NOT EXISTS (
                         SELECT FROM pg_catalog.unnest(i.indclass::oid[]) k (class)
                         JOIN pg_catalog.pg_opclass c ON c.oid = k.class
                         JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
                              AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
                         WHERE NOT EXISTS (
                             SELECT FROM pg_catalog.pg_opclass d JOIN pg_catalog.pg_amop q ON q.amopfamily = d.opcfamily
                             WHERE d.opcdefault AND d.opcmethod = c.opcmethod AND d.opcintype = c.opcintype
                               AND q.amopstrategy = 3 AND q.amopopr = p.amopopr))
                   -- REINDEX CONCURRENTLY gives an index another OID.
                   ORDER BY i.indisprimary DESC, i.indnkeyatts,
                       (SELECT x.relname FROM pg_catalog.pg_class x WHERE x.oid = i.indexrelid) LIMIT 1) i
             CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY k (attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attnum = k.attnum
             JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[k.place - 1]
             JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
                  AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
             JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
             JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
             WHERE k.place <= i.indnkeyatts ORDER BY k.place",
            &[self.parent.table.into()],
            |row| {
                Ok(KeyColumn {
                    name: spi::known(&row, 1)?,
                    definition: spi::known(&row, 2)?,
                    equals: spi::known(&row, 3)?,
                })
            },
        )
    }

    /// The column that the new table is partitioned by, unless it is one of the key's: it tells in which partition a
    /// row is to be looked for.
    pub fn place(&self, key: &[KeyColumn]) -> Option<KeyColumn> {
        let name = identifier(&self.parent.column.name);
        let is_of_key = key.iter().any(|column| column.name == name);
        let (definition, equals) = (self.parent.column.type_name.clone(), "OPERATOR(pg_catalog.=)".into());
        (!is_of_key).then_some(KeyColumn { name, definition, equals })
    }

    /// All that is written down about a changed row.
    pub fn written_down(&self) -> Result<Vec<KeyColumn>> {
        let mut columns = self.key()?;
        columns.extend(self.place(&columns));
        Ok(columns)
    }

    /// Views and SQL functions that name the table.
    pub fn dependents(&self) -> Result<Vec<Dependent>> {
        let dependents = session::pinned(|| {
            spi::read_now(
                "SELECT v.relowner, v.oid::pg_catalog.regclass, pg_catalog.format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::pg_catalog.regclass,
                        (SELECT ' WITH (' || pg_catalog.string_agg(o, ', ') || ')' FROM pg_catalog.unnest(v.reloptions) o),
                        pg_catalog.rtrim(pg_catalog.pg_get_viewdef(v.oid), ';')), v.oid
                 FROM pg_catalog.pg_class v WHERE v.relkind = 'v' AND v.oid IN (
                     SELECT w.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
                     WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1)
                 UNION ALL
                 SELECT f.proowner, NULL, pg_catalog.pg_get_functiondef(f.oid), f.oid
                 FROM pg_catalog.pg_proc f WHERE f.prosqlbody IS NOT NULL AND f.oid IN (
                     SELECT d.objid FROM pg_catalog.pg_depend d
                     WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1)
                 ORDER BY 4",
                &[self.parent.table.into()],
                |row| {
                    let view = row.get::<Regclass>(2)?;
                    Ok(row.get::<pgrx::pg_sys::Oid>(1)?.zip(row.get::<String>(3)?).map(|(owner, statement)| {
                        Dependent { owner, view, statement }
                    }))
                },
            )
        })?;
        Ok(dependents.into_iter().flatten().collect())
    }

    /// The names of columns, as SQL lists them.
    pub fn listed(columns: &[KeyColumn]) -> String {
        columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Where the old table will be.
    pub fn old(&self) -> Qualified {
        let name = &self.parent.name.name;
        let kept = match name.len() {
            ..=49 => format!("{name}_unpartitioned"),
            _ => format!("opdb_old_{}", self.parent.table.0.to_u32()),
        };
        self.parent.name.sibling(kept)
    }
}
