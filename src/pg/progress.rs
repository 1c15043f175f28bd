//! How far a call is, for others to see while it runs: in the numbers that the server keeps of each backend for its own
//! commands. They are gone with the call, whatever becomes of it.

use std::cell::Cell;
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

const NUMBERS: usize = Number::Tables as usize + 1;

/// Shows nothing where a command of the server's is going on around the call.
pub struct Progress {
    table: Regclass,
    is_shown: bool,
    numbers: Cell<[i64; NUMBERS]>,
}

impl Progress {
    pub fn comparing(table: Regclass) -> Self {
        Self { table, is_shown: is_idle(), numbers: Cell::new([0; NUMBERS]) }
    }

    #[allow(unsafe_code)]
    pub fn set(&self, number: Number, value: i64) {
        let mut numbers = self.numbers.get();
        numbers[number as usize] = value;
        self.numbers.set(numbers);
        if !self.is_shown {
            return;
        }
        // Any subtransaction that is rolled back ends what the server takes for a command.
        let is_lost = is_idle();
        // SAFETY: writes this backend's own entry; it has room for 20 numbers.
        unsafe {
            if is_lost {
                pg_sys::pgstat_progress_start_command(COMMAND, self.table.0);
                pg_sys::pgstat_progress_update_param(KIND, COMPARING);
            }
            for (place, value) in (FIRST..).zip(numbers) {
                pg_sys::pgstat_progress_update_param(place, value);
            }
        }
    }
}

/// Whether no command tells how far it is.
#[allow(unsafe_code)]
fn is_idle() -> bool {
    // SAFETY: this backend's own entry, once there is one.
    unsafe {
        pg_sys::MyBEEntry.as_ref().is_some_and(|entry| {
            entry.st_progress_command == pg_sys::ProgressCommandType::PROGRESS_COMMAND_INVALID
        })
    }
}

impl Drop for Progress {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.is_shown {
            // SAFETY: writes this backend's own entry. After an error the abort does it.
            unsafe { pg_sys::pgstat_progress_end_command() };
        }
    }
}
