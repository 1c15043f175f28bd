//! A few bytes for another process of the server, in dynamic shared memory.

use pgrx::pg_sys;

/// They are there as long as this value, or until the process ends.
pub struct Segment(*mut pg_sys::dsm_segment);

const LENGTH: usize = size_of::<usize>();

impl Segment {
    #[allow(unsafe_code)]
    pub fn with(bytes: &[u8]) -> Self {
        let segment = Self::of(LENGTH + bytes.len());
        // SAFETY: the segment has room for the length and the bytes, and nobody else knows it yet.
        unsafe {
            let start = segment.start();
            start.cast::<usize>().write_unaligned(bytes.len());
            start.add(LENGTH).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        segment
    }

    /// One that has room for so many bytes.
    #[allow(unsafe_code)]
    pub(super) fn of(bytes: usize) -> Self {
        // SAFETY: the mapping outlives the transaction: this value ends it.
        unsafe {
            let segment = pg_sys::dsm_create(bytes, 0);
            pg_sys::dsm_pin_mapping(segment);
            Self(segment)
        }
    }

    /// Another process's segment; None if that one is gone. Outside a transaction.
    #[allow(unsafe_code)]
    pub(super) fn attach(handle: u32) -> Option<Self> {
        // SAFETY: any number may be asked for.
        let segment = unsafe { pg_sys::dsm_attach(handle) };
        (!segment.is_null()).then_some(Self(segment))
    }

    /// Where it is mapped, as long as this value lives.
    #[allow(unsafe_code)]
    pub(super) fn start(&self) -> *mut u8 {
        // SAFETY: the segment is mapped.
        unsafe { pg_sys::dsm_segment_address(self.0).cast() }
    }

    /// For the server's own functions, as long as this value lives.
    pub(super) const fn raw(&self) -> *mut pg_sys::dsm_segment {
        self.0
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
        let segment = Self::attach(handle)?;
        // SAFETY: whoever made the segment wrote the length and so many bytes before telling the handle.
        unsafe {
            let start = segment.start();
            let length = start.cast::<usize>().read_unaligned();
            Some(std::slice::from_raw_parts(start.add(LENGTH), length).to_vec())
        }
    }
}

impl Drop for Segment {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: mapped by `of` or `attach`, and nobody else unmaps it.
        unsafe { pg_sys::dsm_detach(self.0) };
    }
}
