//! A few bytes for another process of the server, in dynamic shared memory.

use pgrx::pg_sys;

/// They are there as long as this value, or until the process ends.
pub struct Segment(*mut pg_sys::dsm_segment);

const LENGTH: usize = size_of::<usize>();

impl Segment {
    #[allow(unsafe_code)]
    pub fn with(bytes: &[u8]) -> Self {
        // SAFETY: the segment has room for the length and the bytes, and nobody else knows it yet. Its mapping outlives
        // the transaction: this value ends it.
        unsafe {
            let segment = pg_sys::dsm_create(LENGTH + bytes.len(), 0);
            pg_sys::dsm_pin_mapping(segment);
            let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
            start.cast::<usize>().write_unaligned(bytes.len());
            start.add(LENGTH).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Self(segment)
        }
    }

    /// The name by which another process finds it.
    #[allow(unsafe_code)]
    pub fn handle(&self) -> u32 {
        // SAFETY: the segment is mapped.
        unsafe { pg_sys::dsm_segment_handle(self.0) }
    }

    /// The bytes of another process's segment; None if that one is gone. Outside a transaction.
    #[allow(unsafe_code)]
    pub fn read(handle: u32) -> Option<Vec<u8>> {
        // SAFETY: whoever made the segment wrote the length and so many bytes before telling the handle.
        unsafe {
            let segment = pg_sys::dsm_attach(handle);
            if segment.is_null() {
                return None;
            }
            let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
            let length = start.cast::<usize>().read_unaligned();
            let bytes = std::slice::from_raw_parts(start.add(LENGTH), length).to_vec();
            pg_sys::dsm_detach(segment);
            Some(bytes)
        }
    }
}

impl Drop for Segment {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: mapped by `with`, and nobody else unmaps it.
        unsafe { pg_sys::dsm_detach(self.0) };
    }
}
