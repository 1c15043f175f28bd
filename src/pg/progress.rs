//! How far a call is, for others to see while it runs: in the numbers that the server keeps of each backend for its own
//! commands. They are gone with the call, whatever becomes of it.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::types::Regclass;

/// The server knows only its own commands. Of those, COPY has the simplest view, which shows a row without a command.
const COMMAND: pg_sys::ProgressCommandType::Type = pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY;
/// Where COPY says in which direction it goes.
const KIND: c_int = 4;
/// What stands there instead: the view opdb.compare_progress looks for it.
const COMPARING: i64 = 1_869_636_706;
/// The first number that COPY has no use for.
const FIRST: c_int = 10;

/// The numbers of one call; the view names them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Phase,
    Buckets,
    DifferingBuckets,
    RowsFetched,
    Candidates,
    CandidatesChecked,
    TablesDone,
    Tables,
}

/// Shows nothing where a command of the server's is going on around the call.
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    #[allow(unsafe_code)]
    pub fn comparing(table: Regclass) -> Self {
        // SAFETY: this backend's own entry, once there is one.
        let is_shown = unsafe {
            pg_sys::MyBEEntry.as_ref().is_some_and(|entry| {
                entry.st_progress_command == pg_sys::ProgressCommandType::PROGRESS_COMMAND_INVALID
            })
        };
        if is_shown {
            // SAFETY: writes this backend's own entry.
            unsafe {
                pg_sys::pgstat_progress_start_command(COMMAND, table.0);
                pg_sys::pgstat_progress_update_param(KIND, COMPARING);
            }
        }
        Self { is_shown }
    }

    #[allow(unsafe_code)]
    pub fn set(&self, number: Number, value: i64) {
        if self.is_shown {
            // SAFETY: writes this backend's own entry; it has room for 20 numbers.
            unsafe { pg_sys::pgstat_progress_update_param(FIRST + number as c_int, value) };
        }
    }
}

impl Drop for Progress {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.is_shown {
            // SAFETY: as in `comparing`. After an error the abort does it.
            unsafe { pg_sys::pgstat_progress_end_command() };
        }
    }
}
