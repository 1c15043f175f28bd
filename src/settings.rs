//! Every setting of opdb, with why it exists.

use std::ffi::CString;

use crate::pg::address::{Address, Network};
use crate::pg::shared::MAX_RUNS;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// The environment that this session means to write to. Any role may set it: naming a target only ever
/// makes opdb stricter.
pub static TARGET: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Which address of an environment leads there depends on where this server is, and only who runs it knows. Any role may
/// set it: both addresses were registered, and lead to the same environment.
static NETWORK: GucSetting<Network> = GucSetting::<Network>::new(Network::Unsaid);

/// Where jobs run. A copy of a production database on the same server should not do what production does.
static DATABASES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Each takes one of max_worker_processes, which parallel queries want too.
static MAX_RUNNING_JOBS: GucSetting<i32> = GucSetting::<i32>::new(5);

/// A history that nobody shortens fills the disk.
static JOB_RUN_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30);

/// Which rows failed can be as much as the table itself.
static QUALITY_FAILURE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30);

pub fn register() {
    GucRegistry::define_string_guc(
        c"opdb.target",
        c"The environment that this session means to write to.",
        c"opdb.current_environment() says what it resolves to; production is only ever a target by name.",
        &TARGET,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"opdb.network",
        c"Which address of an environment is used: internal or external.",
        c"Empty for the internal one, and the external one if that cannot be reached.",
        &NETWORK,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"opdb.quality_failure_retention",
        c"For how many days it is kept which rows failed in a quality run.",
        c"-1 keeps it for good. Of each table the last run's are kept; scores and results always are.",
        &QUALITY_FAILURE_RETENTION,
        -1,
        36_500,
        GucContext::Sighup,
        GucFlags::default(),
    );
    register_worker();
}

fn register_worker() {
    GucRegistry::define_string_guc(
        c"opdb.databases",
        c"The databases in which opdb's worker runs jobs, separated by commas.",
        c"Empty for every database that has the extension.",
        &DATABASES,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"opdb.max_running_jobs",
        c"How many jobs opdb's worker runs at once, in all databases.",
        c"Each takes one of max_worker_processes; the launcher and a dispatcher in each database take one more.",
        &MAX_RUNNING_JOBS,
        1,
        MAX_RUNS as i32,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"opdb.job_run_retention",
        c"For how many days the runs of jobs are kept.",
        c"-1 keeps them for good. The last run of a job is always kept.",
        &JOB_RUN_RETENTION,
        -1,
        36_500,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// The session's `opdb.target`, if it names one.
pub fn target() -> Option<String> {
    let target = TARGET.get()?.into_string().ok()?;
    (!target.is_empty()).then_some(target)
}

/// The address that `opdb.network` chooses, if it does.
pub fn network() -> Option<Address> {
    match NETWORK.get() {
        Network::Unsaid => None,
        Network::Internal => Some(Address::Internal),
        Network::External => Some(Address::External),
    }
}

/// The names of `opdb.databases`; None for all databases. As in other lists of names, capitals need double quotes.
pub fn databases() -> Option<Vec<String>> {
    let list = DATABASES.get()?.into_string().ok()?;
    let names = names(&list);
    (!names.is_empty()).then_some(names)
}

/// The names of a list that are separated by commas.
fn names(list: &str) -> Vec<String> {
    let mut is_quoted = false;
    let is_separator = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    list.split(is_separator).map(str::trim).filter(|name| !name.is_empty()).map(unquoted).collect()
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

pub fn max_running_jobs() -> usize {
    usize::try_from(MAX_RUNNING_JOBS.get()).unwrap_or(1)
}

/// None to keep them for good.
pub fn job_run_retention_days() -> Option<i32> {
    Some(JOB_RUN_RETENTION.get()).filter(|days| *days >= 0)
}

/// None to keep them for good.
pub fn quality_failure_retention_days() -> Option<i32> {
    Some(QUALITY_FAILURE_RETENTION.get()).filter(|days| *days >= 0)
}
