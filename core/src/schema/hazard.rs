//! What a difference may do to those who rely on the schema being as expected.

use serde::Serialize;
use serde_json::Value;

use super::difference::Change;
use super::fact::Facets;
use super::kind::Kind;

/// From the least to the most severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Hazard {
    /// Nobody but a reader of the catalogs will notice.
    Cosmetic,
    /// The same results, at another price.
    Performance,
    /// An index that queries or constraints count on is missing, invalid or another one.
    IndexMissing,
    /// The same statements do something else.
    Behavior,
    /// Rows that were refused are let in.
    Integrity,
    /// Who may do what is not as expected.
    Security,
    /// Statements that worked fail, or return another shape.
    BreaksClients,
    /// What should hold data is not there, or does not keep it.
    DataLoss,
    /// Nothing is known about it.
    Unknown,
}

/// The most severe of what changed; of an object that is missing or unexpected, what it is.
pub(super) fn hazard(kind: Kind, change: Change, expected: &Facets, actual: &Facets) -> Hazard {
    match change {
        Change::Unknown => Hazard::Unknown,
        Change::Missing => missing(kind, expected),
        Change::Unexpected => unexpected(kind, actual),
        Change::Changed => {
            let names = expected.keys();
            let null = Value::Null;
            let value = |facets: &Facets, name| facets.get(name).unwrap_or(&null).clone();
            names
                .map(|name| changed(kind, name, &value(expected, name), &value(actual, name)))
                .max()
                .unwrap_or(Hazard::Cosmetic)
        }
    }
}

fn missing(kind: Kind, facets: &Facets) -> Hazard {
    use Kind::*;
    match kind {
        Table => Hazard::DataLoss,
        Column if holds_data(facets) => Hazard::DataLoss,
        Index => Hazard::IndexMissing,
        Constraint => Hazard::Integrity,
        Trigger | Rule | EventTrigger | Publication | PublishedTable | PublishedSchema | Subscription => {
            Hazard::Behavior
        }
        Policy | DefaultPrivileges | SystemFunction | SystemRelation => Hazard::Security,
        Statistics => Hazard::Performance,
        _ => Hazard::BreaksClients,
    }
}

/// A column of a table or materialized view, and not of a view or a type.
fn holds_data(facets: &Facets) -> bool {
    !matches!(facets.get("of").and_then(Value::as_str), Some("v" | "c" | "f"))
}

fn unexpected(kind: Kind, facets: &Facets) -> Hazard {
    use Kind::*;
    let flag = |name: &str| facets.get(name) == Some(&Value::Bool(true));
    match kind {
        // Privileges on what the server has from the start.
        Schema | BaseType if facets.contains_key("acl") && facets.len() == 1 => Hazard::Security,
        // Of partitions that come and go, only what deviates from the parent is there at all.
        Table if facets.contains_key("partition_of") && facets.contains_key("acl") => Hazard::Security,
        Constraint => Hazard::BreaksClients,
        Index if flag("unique") => Hazard::BreaksClients,
        Index | Statistics => Hazard::Performance,
        // Whoever inserts does not know it.
        Column if flag("not_null") && !is_filled(facets) => Hazard::BreaksClients,
        Trigger | Rule | EventTrigger | Publication | PublishedTable | PublishedSchema | Subscription
        | Cast => Hazard::Behavior,
        Policy | DefaultPrivileges | SystemFunction | SystemRelation | UserMapping => Hazard::Security,
        Function | Procedure if flag("security_definer") => Hazard::Security,
        _ => Hazard::Cosmetic,
    }
}

/// Whether the server gives a column its value.
fn is_filled(facets: &Facets) -> bool {
    let is_set = |name| facets.get(name).and_then(Value::as_str).is_some_and(|value| !value.is_empty());
    ["default", "generated", "identity"].into_iter().any(is_set)
}

fn changed(kind: Kind, facet: &str, expected: &Value, actual: &Value) -> Hazard {
    match facet {
        "comment" | "not_null_comment" => Hazard::Cosmetic,
        "acl" | "owner" | "security_labels" | "row_security" | "force_row_security" | "security_definer"
        | "leakproof" | "password_required" | "run_as_owner" => Hazard::Security,
        "storage" | "compression" | "statistics" | "target" | "cost" | "rows" | "parallel" | "support"
        | "clustered" | "toast_options" | "tablespace" | "access_method" | "cache" => Hazard::Performance,
        "persistence" if actual == "u" => Hazard::DataLoss,
        "valid" if *actual == Value::Bool(false) => Hazard::IndexMissing,
        _ => of_kind(kind, facet, actual, expected),
    }
}

fn of_kind(kind: Kind, facet: &str, actual: &Value, expected: &Value) -> Hazard {
    use Kind::*;
    match (kind, facet) {
        (Policy, _) => Hazard::Security,
        (Function | Procedure, "settings") => Hazard::Security,
        (Function | Procedure | Aggregate, "result" | "arguments") => Hazard::BreaksClients,
        // Security barriers and invokers are options of views.
        (View, "options") => Hazard::Security,
        (_, "options") if matches!(kind, Table | MaterializedView | Column | Index) => Hazard::Performance,
        (View | MaterializedView, "definition") | (_, "columns" | "type" | "labels" | "attributes") => {
            Hazard::BreaksClients
        }
        (Column, "not_null") if *actual == Value::Bool(true) => Hazard::BreaksClients,
        (Column, facet) if facet.starts_with("not_null") => Hazard::Integrity,
        (Constraint, "validated" | "enforced") if *expected == Value::Bool(false) => Hazard::Behavior,
        (Constraint, "index" | "deferrable" | "deferred") => Hazard::Behavior,
        (Constraint, _) => Hazard::Integrity,
        (Index, "unique") if *actual == Value::Bool(false) => Hazard::Integrity,
        (Index, "unique" | "nulls_not_distinct") => Hazard::BreaksClients,
        (Index, _) => Hazard::IndexMissing,
        (Domain, "base_type" | "not_null") | (RangeType | BaseType, _) => Hazard::BreaksClients,
        (
            Table,
            "partition_key" | "partition_bound" | "partition_of" | "partitioned" | "of_type" | "inherits",
        ) => Hazard::BreaksClients,
        _ => Hazard::Behavior,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facets(json: Value) -> Facets {
        json.as_object().unwrap().clone().into_iter().collect()
    }

    #[test]
    fn the_most_severe_of_what_changed_counts() {
        let of = |kind, expected: Value, actual: Value| {
            hazard(kind, Change::Changed, &facets(expected), &facets(actual))
        };
        assert_eq!(of(Kind::Table, json!({"comment": null}), json!({"comment": "x"})), Hazard::Cosmetic);
        assert_eq!(
            of(
                Kind::Table,
                json!({"comment": null, "persistence": "p"}),
                json!({"comment": "x", "persistence": "u"})
            ),
            Hazard::DataLoss
        );
        assert_eq!(
            of(Kind::Table, json!({"persistence": "u"}), json!({"persistence": "p"})),
            Hazard::Behavior
        );
        assert_eq!(
            of(Kind::Column, json!({"not_null": true}), json!({"not_null": false})),
            Hazard::Integrity
        );
        assert_eq!(
            of(Kind::Column, json!({"not_null": false}), json!({"not_null": true})),
            Hazard::BreaksClients
        );
        assert_eq!(of(Kind::Index, json!({"valid": true}), json!({"valid": false})), Hazard::IndexMissing);
        assert_eq!(of(Kind::Trigger, json!({"enabled": "O"}), json!({"enabled": "D"})), Hazard::Behavior);
    }

    #[test]
    fn what_is_missing_or_unexpected_counts_by_what_it_is() {
        let of = |kind, change, json: Value| hazard(kind, change, &facets(json.clone()), &facets(json));
        assert_eq!(of(Kind::Column, Change::Missing, json!({"of": "r"})), Hazard::DataLoss);
        assert_eq!(of(Kind::Column, Change::Missing, json!({"of": "v"})), Hazard::BreaksClients);
        assert_eq!(of(Kind::Index, Change::Missing, json!({})), Hazard::IndexMissing);
        assert_eq!(of(Kind::Table, Change::Unexpected, json!({})), Hazard::Cosmetic);
        assert_eq!(
            of(Kind::Column, Change::Unexpected, json!({"not_null": true, "identity": "", "default": null})),
            Hazard::BreaksClients
        );
        assert_eq!(
            of(Kind::Column, Change::Unexpected, json!({"not_null": true, "default": "0"})),
            Hazard::Cosmetic
        );
        assert_eq!(of(Kind::Column, Change::Unknown, json!({})), Hazard::Unknown);
    }
}
