//! Which catalogs of the server the facts come from, and why the others hold nothing of a schema. One that is in
//! neither list may hold objects that nobody looks at: that is an error, never "no difference".

/// Whose rows become facts. A change to any row of them may change the schema, and nothing else can.
pub const COVERED: [&str; 51] = [
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_authid",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_range",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_tablespace",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user_mapping",
];

/// What is in the other catalogs is no part of the schema of a database.
pub const NOT_SCHEMA: [(&str, &str); 13] = [
    ("pg_auth_members", "roles belong to the cluster"),
    ("pg_database", "databases belong to the cluster"),
    ("pg_db_role_setting", "settings of databases and roles belong to the cluster"),
    ("pg_largeobject", "data"),
    ("pg_largeobject_metadata", "data"),
    ("pg_parameter_acl", "privileges on settings belong to the cluster"),
    ("pg_replication_origin", "progress of replication"),
    ("pg_shdepend", "follows from the objects"),
    ("pg_shdescription", "comments on roles, databases and tablespaces"),
    ("pg_shseclabel", "security labels of roles, databases and tablespaces"),
    ("pg_statistic", "statistics of the data"),
    ("pg_statistic_ext_data", "statistics of the data"),
    ("pg_subscription_rel", "progress of replication"),
];

/// SQL that returns one text which is another one after every change to the covered catalogs: rows are told apart by
/// where they are and by the transaction that wrote them, neither of which is ever used again for another row. Of
/// roles and tablespaces, which the whole cluster shares, only names count.
///
/// It is a digest in the order of the rows and no sum: whoever may drop objects of his own could choose such that a
/// sum stays the same. Read with [`STAMP_SETTINGS`], which keep that order.
pub fn stamp_sql() -> String {
    let versions = |catalog: &str| {
        let row = match catalog {
            "pg_authid" => "pg_catalog.textsend(t.oid || ' ' || pg_catalog.quote_ident(t.rolname))",
            "pg_tablespace" => "pg_catalog.textsend(t.oid || ' ' || pg_catalog.quote_ident(t.spcname))",
            _ => "pg_catalog.tidsend(t.ctid) || pg_catalog.xidsend(t.xmin)",
        };
        format!(
            "(SELECT pg_catalog.sha256(coalesce(pg_catalog.string_agg({row}, ''), '')) FROM pg_catalog.{catalog} t)"
        )
    };
    let parts: Vec<String> = COVERED.into_iter().map(versions).collect();
    format!("SELECT pg_catalog.encode(pg_catalog.sha256({}), 'hex')", parts.join("\n|| "))
}

/// Rows in the order in which they are stored.
pub const STAMP_SETTINGS: [(&str, &str); 5] = [
    ("jit", "off"),
    ("synchronize_seqscans", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("enable_indexscan", "off"),
    ("enable_bitmapscan", "off"),
];
