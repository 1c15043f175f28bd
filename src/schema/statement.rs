//! The SQL that reads facts: one statement per kind of object, the same here and on every other server.

use crate::pg::name::{Qualified, literal};

/// What of a database is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything but the system's schemas and opdb's own.
    Database,
    /// What stands in these schemas.
    Schemas(&'a [String]),
    /// These tables with their columns, constraints and indexes.
    Tables(&'a [Qualified]),
}

pub struct Statement {
    body: &'static str,
    /// The server's functions lock what a query reads, and keep the lock.
    pub keeps_locks: bool,
}

const COMMON: &str = include_str!("../../sql/schema/facts/common.sql");
const ACL: &str = include_str!("../../sql/schema/facts/acl.sql");
const OPTIONS: &str = include_str!("../../sql/schema/facts/options.sql");
const LABEL: &str = "CASE WHEN $name ~ '^[a-z_][a-z0-9_]*$' THEN $name::text
    ELSE '\"' || pg_catalog.replace($name::text, '\"', '\"\"') || '\"' END";

macro_rules! statement {
    ($file:literal) => {
        Statement { body: include_str!(concat!("../../sql/schema/facts/", $file)), keeps_locks: false }
    };
    ($file:literal keeps locks) => {
        Statement { keeps_locks: true, ..statement!($file) }
    };
}

const OF_TABLES: [Statement; 4] = [
    statement!("relation.sql" keeps locks),
    statement!("column.sql"),
    statement!("constraint.sql"),
    statement!("index.sql"),
];

const OF_SCHEMAS: [Statement; 12] = [
    statement!("schema.sql"),
    statement!("sequence.sql"),
    statement!("rule.sql" keeps locks),
    statement!("trigger.sql"),
    statement!("policy.sql"),
    statement!("statistics.sql"),
    statement!("function.sql" keeps locks),
    statement!("type.sql"),
    statement!("operator.sql"),
    statement!("text_search.sql"),
    statement!("collation.sql"),
    statement!("privileges.sql"),
];

const OF_DATABASE: [Statement; 3] =
    [statement!("database.sql"), statement!("foreign.sql"), statement!("publication.sql")];

impl Scope<'_> {
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
        let whole = matches!(self, Scope::Database).to_string();
        let whole_schemas = (!matches!(self, Scope::Tables(_))).to_string();
        let environments = if has_opdb {
            "SELECT e.server::text FROM opdb.environment e"
        } else {
            "SELECT NULL WHERE false"
        };
        let sql = without_comments(&format!("{COMMON}{}", statement.body))
            .replace("/*namespaces*/", &namespaces)
            .replace("/*relations*/", &relations)
            .replace("/*whole schemas*/", &whole_schemas)
            .replace("/*whole*/", &whole)
            .replace("/*environments*/", environments);
        let sql = expanded(&sql, "acl(", &["$acl", "$kind", "$owner"], ACL);
        let sql = expanded(&sql, "options(", &["$options"], OPTIONS);
        expanded(&sql, "label(", &["$name"], LABEL)
    }

    fn conditions(&self) -> (String, String) {
        let everything = "true".to_owned();
        match self {
            Scope::Database => {
                let condition =
                    "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'opdb')";
                (condition.to_owned(), everything)
            }
            Scope::Schemas(schemas) => (format!("n.nspname IN ({})", literals(*schemas)), everything),
            Scope::Tables(tables) => {
                let pairs: Vec<String> = tables
                    .iter()
                    .map(|table| format!("({}, {})", literal(&table.schema), literal(&table.name)))
                    .collect();
                let schemas = tables.iter().map(|table| &table.schema);
                (
                    format!("n.nspname IN ({})", literals(schemas)),
                    format!("(n.name, c.relname) IN ({})", pairs.join(", ")),
                )
            }
        }
    }
}

fn literals<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(literal).collect::<Vec<_>>().join(", ")
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
