//! jsonb values as the server stores them.

use pgrx::pg_sys;

use super::types::RawJsonb;

/// Hands `work` what a jsonb value consists of (its root container), read in place unless it is compressed or stored
/// out of line.
#[allow(unsafe_code)]
pub fn with_container<T>(value: RawJsonb, work: impl FnOnce(&[u8]) -> T) -> T {
    let stored = value.pointer();
    // SAFETY: a jsonb datum that is not NULL points to a varlena, which lives as long as the call that it came with.
    let plain = Plain { stored, plain: unsafe { pg_sys::pg_detoast_datum_packed(stored) } };
    // SAFETY: detoasted, so a header of one or four bytes and then as many bytes as it says.
    work(unsafe { pgrx::varlena_to_byte_slice(plain.plain) })
}

/// A varlena that is neither compressed nor elsewhere, and the one it was made from.
struct Plain {
    stored: *mut pg_sys::varlena,
    plain: *mut pg_sys::varlena,
}

impl Drop for Plain {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.plain != self.stored {
            // SAFETY: a copy that was made above, which nothing else points to.
            unsafe { pg_sys::pfree(self.plain.cast()) };
        }
    }
}
