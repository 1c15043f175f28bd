//! Rows change their place: no trigger of the default partition sees it, and no foreign key acts.

use super::children::DefaultPartition;
use super::error::PartitionError;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{own, spi};

#[derive(Debug, Clone)]
pub struct Move {
    default: Regclass,
    name: Qualified,
    put: String,
    take: String,
    /// What stays, as a number that is another one if any row of it is inserted, updated or deleted.
    rest: String,
    /// The triggers as they were when it was planned, for showing.
    shown: Vec<String>,
}

impl Move {
    /// The rows of `default` for which `within` holds, into `partition`.
    ///
    /// Errors: 0A000 if subscribers would lose them.
    pub fn of(
        default: &DefaultPartition,
        partition: &Qualified,
        columns: &str,
        within: &str,
    ) -> Result<Self> {
        check_publications(default)?;
        let (from, to) = (default.name.sql(), partition.sql());
        let put = format!("INSERT INTO {to} ({columns}) SELECT {columns} FROM ONLY {from} WHERE {within}");
        let take = format!("DELETE FROM ONLY {from} WHERE {within}");
        let rest = format!(
            "SELECT pg_catalog.concat_ws(' ', count(*), sum(pg_catalog.hashtid(ctid))) FROM ONLY {from} WHERE ({within}) IS NOT TRUE"
        );
        let (table, name) = (default.table, default.name.clone());
        let mut planned = Self { default: table, name, put, take, rest, shown: Vec::new() };
        let (off, on) = planned.switches()?;
        let moved = [planned.put.clone(), planned.take.clone()];
        planned.shown = off.into_iter().chain(moved).chain(on).collect();
        Ok(planned)
    }

    /// In order, as it would be typed by a superuser.
    pub fn shown(&self) -> String {
        self.shown.join(";\n")
    }

    /// The caller keeps others from writing to the default partition, so that both statements find the same rows.
    ///
    /// Errors: 0A000 if code of the owner's would run, or has run, while foreign keys are not looked after; 22023 if not
    /// all rows that were taken came to their new place.
    pub fn run(&self) -> Result<()> {
        let (off, on) = self.switches()?;
        let is_guarded = !off.is_empty() && self.has_foreign_keys()?;
        if is_guarded {
            self.check_code()?;
        }
        let rest = || match is_guarded {
            true => spi::read_one_now(&self.rest, &[], |row| row.get::<String>(1)),
            false => Ok(None),
        };
        let before = rest()?;
        // For the triggers of foreign keys this takes a superuser. ALTER TABLE itself runs nobody's code.
        let switch = |statements: Vec<String>| {
            own::read_as_owner(|| statements.iter().try_for_each(|sql| spi::write(sql, &[]).map(drop)))
        };
        switch(off)?;
        let (put, taken) = (spi::write(&self.put, &[])?, spi::write(&self.take, &[])?);
        switch(on)?;
        // A built-in function, too, may run what the owner wrote.
        if rest()? != before {
            let what = "something that was evaluated meanwhile".to_owned();
            return Err(PartitionError::OwnCode { default: self.name.sql(), what }.into());
        }
        match put == taken {
            true => Ok(()),
            false => Err(PartitionError::NotAllMoved { taken, put }.into()),
        }
    }

    /// What switches the triggers off, and back on as they are now.
    fn switches(&self) -> Result<(Vec<String>, Vec<String>)> {
        let sql = "SELECT pg_catalog.format(CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS'
                                                             WHEN 'R' THEN 'ENABLE REPLICA' END || ' TRIGGER %I', t.tgname)
                   FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1 ORDER BY t.tgname";
        let odd = spi::read_now(sql, &[self.default.into()], |row| row.get::<String>(1))?;
        if odd.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let alter = |what: String| format!("ALTER TABLE {} {what}", self.name.sql());
        let on = ["ENABLE TRIGGER ALL".to_owned()]
            .into_iter()
            .chain(odd.into_iter().flatten())
            .map(alter)
            .collect();
        Ok((vec![alter("DISABLE TRIGGER ALL".to_owned())], on))
    }

    fn has_foreign_keys(&self) -> Result<bool> {
        let sql =
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1 AND t.tgisinternal)";
        let found = spi::read_one_now(sql, &[self.default.into()], |row| row.get::<bool>(1))?;
        Ok(found.flatten() == Some(true))
    }

    /// With foreign keys off, a rule, or a CHECK, an index or a generated column that calls a function, could change rows
    /// that others refer to.
    fn check_code(&self) -> Result<()> {
        let what = spi::read_one_now(
            "WITH code (what) AS (
                 SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
                 FROM pg_catalog.pg_depend d
                 WHERE (d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_operator'::regclass)
                        AND d.refobjid >= 16384
                        OR d.refclassid = 'pg_catalog.pg_type'::regclass
                        AND d.refobjid IN (SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typtype = 'd' AND t.oid >= 16384))
                   AND (d.classid = 'pg_catalog.pg_constraint'::regclass
                        AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1)
                     OR d.classid = 'pg_catalog.pg_attrdef'::regclass
                        AND d.objid IN (SELECT f.oid FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute a
                                        ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' WHERE f.adrelid = $1)
                     OR d.classid = 'pg_catalog.pg_class'::regclass
                        AND d.objid IN (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = $1))
                 UNION ALL
                 SELECT 'column ' || pg_catalog.quote_ident(a.attname) || ' of a domain'
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd'
                 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
                 UNION ALL
                 SELECT 'rule ' || pg_catalog.quote_ident(w.rulename) FROM pg_catalog.pg_rewrite w WHERE w.ev_class = $1)
             SELECT c.what FROM code c LIMIT 1",
            &[self.default.into()],
            |row| row.get::<String>(1),
        )?;
        match what.flatten() {
            Some(what) => Err(PartitionError::OwnCode { default: self.name.sql(), what }.into()),
            None => Ok(()),
        }
    }
}

/// The new partition is in no publication before it is attached, so that only rows that leave the old place would be told
/// of; or in one of all tables, which would tell of them a second time.
fn check_publications(default: &DefaultPartition) -> Result<()> {
    let publication = spi::read_one_now(
        "SELECT pg_catalog.quote_ident(p.pubname)
         FROM pg_catalog.pg_partition_ancestors($1) a JOIN pg_catalog.pg_class c ON c.oid = a.relid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename = c.relname
         JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname
         WHERE pg_catalog.current_setting('wal_level') = 'logical'
           AND (p.pubdelete OR p.pubinsert AND (p.puballtables OR EXISTS (
                   SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)))
         ORDER BY 1 LIMIT 1",
        &[default.table.into()],
        |row| row.get::<String>(1),
    )?;
    match publication.flatten() {
        Some(publication) => {
            Err(PartitionError::Published { default: default.name.sql(), publication }.into())
        }
        None => Ok(()),
    }
}
