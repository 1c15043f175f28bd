//! The SQL that reads facts: one statement per kind of object, the same here and on every other server.

use std::collections::BTreeSet;

/// What of a database is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything but the system's schemas and opdb's own.
    Database,
    /// What stands in these schemas.
    Schemas(&'a [String]),
    /// These tables, by schema and name, with their columns, constraints and indexes.
    Tables(&'a [(String, String)]),
}

/// No relation is waited for: one that is locked is reported so, and one that was locked a moment ago is tried again.
/// Catalogs are read whole and joined by hashes; what the planner expects of them (one row) leads it astray, and
/// compiling expressions takes longer than reading.
pub const SETTINGS: [(&str, &str); 6] = [
    ("lock_timeout", "200ms"),
    ("enable_nestloop", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("work_mem", "4MB"),
    ("hash_mem_multiplier", "1"),
];

/// One statement, still without its scope.
pub struct Statement(&'static str);

const COMMON: &str = include_str!("../../../sql/schema/facts/common.sql");
const ACL: &str = include_str!("../../../sql/schema/facts/acl.sql");
const OPTIONS: &str = include_str!("../../../sql/schema/facts/options.sql");
const LABEL: &str = "CASE WHEN $name ~ '^[a-z_][a-z0-9_]*$' THEN $name::text
    ELSE '\"' || pg_catalog.replace($name::text, '\"', '\"\"') || '\"' END";

macro_rules! statement {
    ($file:literal) => {
        Statement(include_str!(concat!("../../../sql/schema/facts/", $file)))
    };
}

const OF_TABLES: [Statement; 4] = [
    statement!("relation.sql"),
    statement!("column.sql"),
    statement!("constraint.sql"),
    statement!("index.sql"),
];

const OF_SCHEMAS: [Statement; 13] = [
    statement!("schema.sql"),
    statement!("sequence.sql"),
    statement!("rule.sql"),
    statement!("trigger.sql"),
    statement!("policy.sql"),
    statement!("statistics.sql"),
    statement!("function.sql"),
    statement!("type.sql"),
    statement!("operator.sql"),
    statement!("text_search.sql"),
    statement!("collation.sql"),
    statement!("privileges.sql"),
    statement!("database.sql"),
];

const OF_DATABASE: [Statement; 2] = [statement!("foreign.sql"), statement!("publication.sql")];

impl Statement {
    /// With the common parts that it names, and without comments and short forms.
    fn whole(&self) -> String {
        let body = without_comments(self.0);
        let common = format!("{}\n", without_comments(COMMON));
        let parts: Vec<(&str, &str)> =
            common.split("\n)\n").filter_map(|part| Some((part.split_whitespace().next()?, part))).collect();
        let mut named: Vec<&str> = Vec::new();
        // A part names only parts before it, so going backwards finds all of them.
        for (name, part) in parts.iter().rev() {
            if names(&body, name) || named.iter().any(|later| names(later, name)) {
                named.insert(0, part);
            }
        }
        let parts: Vec<String> = named.iter().map(|part| format!("{part}\n)")).collect();
        let sql = format!("WITH RECURSIVE {}\n{body}", parts.join(",\n"));
        let sql = expanded(&sql, "acl(", &["$acl", "$kind", "$owner"], ACL);
        let sql = expanded(&sql, "options(", &["$options"], OPTIONS);
        expanded(&sql, "label(", &["$name"], LABEL)
    }
}

/// Whether a word occurs in `sql`.
fn names(sql: &str, word: &str) -> bool {
    sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|found| found == word)
}

impl<'a> Scope<'a> {
    /// These schemas, or the whole database.
    pub fn of(schemas: Option<&'a [String]>) -> Self {
        schemas.map_or(Scope::Database, Scope::Schemas)
    }

    pub fn statements(&self) -> Vec<&'static Statement> {
        let mut statements: Vec<&Statement> = OF_TABLES.iter().collect();
        if !matches!(self, Scope::Tables(_)) {
            statements.extend(&OF_SCHEMAS);
        }
        if matches!(self, Scope::Database) {
            statements.extend(&OF_DATABASE);
        }
        statements
    }

    /// `statement`, limited to this scope. `has_opdb` tells whether the server has environments that opdb made.
    pub fn sql(&self, statement: &Statement, has_opdb: bool) -> String {
        let (namespaces, relations) = self.conditions();
        let environments = match has_opdb {
            true => {
                "SELECT e.server::text FROM opdb.environment e
                 UNION ALL SELECT e.external_server::text FROM opdb.environment e WHERE e.external_server IS NOT NULL"
            }
            false => "SELECT NULL WHERE false",
        };
        // In one pass, from the last step: a name that looks like a mark is a name.
        let whole = statement.whole();
        let mut parts = whole.split("/*");
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (mark, rest) = part.split_once("*/").unwrap_or((part, ""));
            sql.push_str(match mark {
                "namespaces" => &namespaces,
                "relations" => &relations,
                "whole" if matches!(self, Scope::Database) => "true",
                "whole schemas" if !matches!(self, Scope::Tables(_)) => "true",
                "environments" => environments,
                _ => "false",
            });
            sql.push_str(rest);
        }
        sql
    }

    fn conditions(&self) -> (String, String) {
        let everything = "true".to_owned();
        match self {
            Scope::Database => {
                let condition = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'opdb', 'opdb_deploy')";
                (condition.to_owned(), everything)
            }
            Scope::Schemas(schemas) => (schema_is_one_of(*schemas), everything),
            Scope::Tables(tables) => {
                let schemas: BTreeSet<&String> = tables.iter().map(|(schema, _)| schema).collect();
                (
                    schema_is_one_of(schemas),
                    format!("(n.name, c.relname::pg_catalog.text) IN ({})", table_names(tables)),
                )
            }
        }
    }
}

/// Of a schema, n; a list of none is no SQL.
fn schema_is_one_of<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    match literals(names) {
        none if none.is_empty() => "false".to_owned(),
        names => format!("n.nspname IN ({names})"),
    }
}

/// A query for schemas and names; a list of values would be compared one by one with every relation.
pub fn table_names(tables: &[(String, String)]) -> String {
    let array = |part: fn(&(String, String)) -> &String| {
        format!("pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[])", literals(tables.iter().map(part)))
    };
    format!(
        "SELECT w.schema, w.name FROM ROWS FROM ({}, {}) w (schema, name)",
        array(|t| &t.0),
        array(|t| &t.1)
    )
}

/// As the server's own quote_literal.
fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

fn literals<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

fn without_comments(sql: &str) -> String {
    sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n")
}

/// Replaces every `call`…`)` of `sql` by `template`, with its arguments in place of `names`. Arguments hold neither
/// commas nor parentheses.
fn expanded(sql: &str, call: &str, names: &[&str], template: &str) -> String {
    let (template, call) = (without_comments(template), format!(" {call}"));
    let mut parts = sql.split(&call);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (arguments, rest) = part.split_once(')').unwrap_or((part, ""));
        let call = names
            .iter()
            .zip(arguments.split(", "))
            .fold(template.clone(), |call, (name, argument)| call.replace(name, argument));
        text.push(' ');
        text.push_str(&call);
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_filled_in() {
        let names = ["it's \\".to_owned()];
        let tables = [("s".to_owned(), "t".to_owned())];
        for scope in [Scope::Database, Scope::Schemas(&names), Scope::Tables(&tables)] {
            for statement in scope.statements() {
                let sql = scope.sql(statement, true);
                for mark in ["/*", "--", " acl(", " options(", " label(", "$name", "$acl", "$options"] {
                    assert!(!sql.contains(mark), "{mark} in {sql}");
                }
                assert_eq!(sql.matches('(').count(), sql.matches(')').count(), "{sql}");
            }
        }
    }

    #[test]
    fn a_statement_takes_along_the_parts_that_it_names() {
        let sql = |statement: &Statement| Scope::Database.sql(statement, false);
        let collation = sql(&OF_SCHEMAS[10]);
        assert!(collation.contains("namespace AS (") && collation.contains("remark AS MATERIALIZED ("));
        assert!(!collation.contains("locked AS") && !collation.contains("relation AS"), "{collation}");
        let columns = sql(&OF_TABLES[1]);
        for part in ["namespace", "member", "remark", "routine", "locked", "relation"] {
            assert!(columns.contains(&format!("{part} ")), "{part}");
        }
    }

    #[test]
    fn a_name_that_looks_like_a_mark_is_a_name() {
        let names = ["/*relations*/ acl(a, b, c)".to_owned()];
        let scope = Scope::Schemas(&names);
        let sql = scope.sql(scope.statements()[0], false);
        assert!(sql.contains("n.nspname IN ('/*relations*/ acl(a, b, c)')"), "{sql}");
    }

    #[test]
    fn names_are_quoted() {
        let names = ["it's \\".to_owned(), "b".to_owned()];
        let scope = Scope::Schemas(&names);
        assert!(scope.sql(scope.statements()[0], false).contains(r"n.nspname IN (E'it''s \\', 'b')"));
    }
}
