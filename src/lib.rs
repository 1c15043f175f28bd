//! opdb: operational safety inside PostgreSQL.

use pgrx::prelude::*;

mod compat;
mod configure;
mod deploy;
mod environment;
mod ingest;
mod maintain;
mod partition;
mod pg;
mod quality;
mod schema;
mod settings;
mod worker;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/roles.sql", name = "roles", bootstrap);
extension_sql_file!("../sql/compat/views.sql", name = "compat_views");
extension_sql_file!("../sql/configure/tables.sql", name = "configure_tables");
extension_sql_file!(
    "../sql/configure/views.sql",
    name = "configure_views",
    requires = ["configure_tables", setting_defaults]
);
extension_sql_file!("../sql/deploy/tables.sql", name = "deploy_tables");
extension_sql_file!("../sql/environment/tables.sql", name = "environment_tables");
extension_sql_file!("../sql/ingest/tables.sql", name = "ingest_tables");
extension_sql_file!(
    "../sql/ingest/functions.sql",
    name = "ingest_functions",
    requires = ["ingest_tables", iso8601_timestamp]
);
extension_sql_file!("../sql/maintain/tables.sql", name = "maintain_tables");
extension_sql_file!(
    "../sql/maintain/views.sql",
    name = "maintain_views",
    requires = ["maintain_tables", has_index]
);
extension_sql_file!("../sql/partition/tables.sql", name = "partition_tables");
extension_sql_file!(
    "../sql/partition/views.sql",
    name = "partition_views",
    requires = [
        "partition_tables",
        due_partition_sets,
        partition_tasks,
        run_partition_task,
        finish_partition_run,
        partition_overview
    ]
);
extension_sql_file!(
    "../sql/partition/convert.sql",
    name = "partition_convert",
    requires =
        ["partition_tables", begin_partition_table, continue_partition_table, pending_partition_changes]
);
extension_sql_file!("../sql/quality/tables.sql", name = "quality_tables");
extension_sql_file!("../sql/schema/tables.sql", name = "schema_tables");
extension_sql_file!("../sql/worker/tables.sql", name = "worker_tables");
extension_sql_file!(
    "../sql/worker/views.sql",
    name = "worker_views",
    requires = ["worker_tables", wake_launcher, pg_cron_jobs, pg_cron_runs]
);
extension_sql_file!("../sql/finalize.sql", name = "finalize", finalize);

#[allow(non_snake_case)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
    if pg::process::is_server_start() {
        worker::initialize();
    }
}

#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
