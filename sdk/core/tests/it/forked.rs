//! The child of a `fork()` begins clean, and does not wait for threads that it does not have.

use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use cupola_sdk_core::ids::Ids;
use cupola_sdk_core::recorder::{RecorderLimits, Scope};

use crate::recording::{bodies, log, recorder, take};

/// Runs `work` in the child of a fork and gives back what it said.
pub(crate) fn in_child(work: impl FnOnce() -> String) -> String {
    let mut ends = [0; 2];
    // SAFETY: two numbers, as it wants.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child does what applications under a forking server do, and leaves without running the parent's exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "cannot fork");
    // SAFETY: both ends are open and owned by nothing else.
    let (mut reader, mut writer) = unsafe {
        (
            std::fs::File::from_raw_fd(ends[0]),
            std::fs::File::from_raw_fd(ends[1]),
        )
    };
    if child == 0 {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let _ = writer.write_all(said.unwrap_or_else(|_| "panicked".to_owned()).as_bytes());
        // SAFETY: nothing of this process is needed any more.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    // SAFETY: it is our child.
    assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
    said
}

#[test]
fn a_child_repeats_nothing_of_its_parent_and_loses_nothing_of_its_own() {
    let limits = RecorderLimits {
        bytes_max: 64 * 1024,
        ..RecorderLimits::default()
    };
    let (recorder, _) = recorder(limits);
    assert!(log(&recorder, Scope::nameless(), "of the parent"));
    // So much that a child that counted it would have no room.
    while log(&recorder, Scope::nameless(), &"x".repeat(1_000)) {}
    // Seeded before the fork, as the child's must not be used as they are.
    assert!(!Ids::Random.trace_id().is_zero());

    let said = in_child(|| {
        let none = take(&recorder).len();
        for n in 0..10 {
            assert!(log(&recorder, Scope::nameless(), &format!("of the child {n}")));
        }
        let own: Vec<String> = bodies(&take(&recorder))
            .into_iter()
            .map(|(_, body)| body)
            .collect();
        format!("{none};{};{}", own.join(","), Ids::Random.span_id())
    });
    let wanted: Vec<_> = (0..10).map(|n| format!("of the child {n}")).collect();
    let parts: Vec<&str> = said.split(';').collect();
    assert_eq!((parts[0], parts[1]), ("0", wanted.join(",").as_str()), "{said}");
    assert_ne!(
        parts[2],
        Ids::Random.span_id().to_string(),
        "ids go their own ways"
    );

    let own = bodies(&take(&recorder));
    assert_eq!(own[0].1, "of the parent");
}

#[test]
fn a_child_records_although_another_thread_was_recording_when_it_was_made() {
    let (recorder, _) = recorder(RecorderLimits::default());
    let (held, begun) = (std::sync::Arc::new(std::sync::Barrier::new(2)), recorder.clone());
    let barrier = held.clone();
    let thread = std::thread::spawn(move || {
        begun.record(Scope::nameless(), |_| {
            // In the middle of a record, with the lock of its shard.
            barrier.wait();
            barrier.wait();
        })
    });
    held.wait();
    let said = in_child(|| {
        assert!(log(&recorder, Scope::nameless(), "alone"));
        bodies(&take(&recorder))
            .into_iter()
            .map(|(_, body)| body)
            .collect()
    });
    held.wait();
    assert!(thread.join().unwrap());
    assert_eq!(said, "alone");
}
