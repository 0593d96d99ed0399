//! Profiles of a system for which Cupola cannot take stacks: there are none.

use super::CpuError;

fn unsupported() -> std::io::Error {
    std::io::Error::other("stacks are taken on Linux with the GNU C library only, on x86-64 and arm64")
}

/// Never made.
pub(crate) enum CpuProfile {}

impl CpuProfile {
    pub(crate) fn start() -> Result<CpuProfile, CpuError> {
        Err(CpuError::System(unsupported()))
    }

    pub(crate) fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {}
    }
}

pub(crate) mod heap {
    /// Never, so that the allocator tells nothing.
    #[inline(always)]
    pub(crate) fn is_on() -> bool {
        false
    }

    pub(crate) fn start() {}

    pub(crate) fn allocated(_block: *mut u8, _bytes: usize) {}

    pub(crate) fn freed(_block: *mut u8) {}

    pub(in crate::pprof) fn encode(_of_all: bool) -> std::io::Result<Vec<u8>> {
        Err(super::unsupported())
    }
}
