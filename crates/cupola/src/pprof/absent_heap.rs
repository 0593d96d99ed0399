//! The heap profile of a system for which Cupola cannot take stacks: there is none.

/// Never, so that the allocator tells nothing.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    false
}

pub(crate) fn start() {}

pub(crate) fn allocated(_block: *mut u8, _bytes: usize) {}

pub(crate) fn freed(_block: *mut u8) {}

pub(super) fn encode(_of_all: bool) -> std::io::Result<Vec<u8>> {
    Err(std::io::Error::other(
        "stacks are taken on Linux with the GNU C library only, on x86-64 and arm64",
    ))
}
