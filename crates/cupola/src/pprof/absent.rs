//! The processor profile of a system for which Cupola cannot take stacks: there is none.

use super::CpuError;

/// Never made.
pub(crate) enum CpuProfile {}

impl CpuProfile {
    pub(crate) fn start() -> Result<CpuProfile, CpuError> {
        let reason = "stacks are taken on Linux with the GNU C library only, on x86-64 and arm64";
        Err(CpuError::System(std::io::Error::other(reason)))
    }

    pub(crate) fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {}
    }
}
