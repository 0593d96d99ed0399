//! The application as a process, and how it is run.

use cupola_sdk_peers::Ran;

#[test]
#[ignore = "is run as a process by the tests here"]
fn an_application() {
    cupola_sdk_peers::main();
}

/// Runs it with these back-ends, for so many requests.
pub(crate) fn run(rounds: usize, backends: &[String]) -> Ran {
    cupola_sdk_peers::run("application::an_application", rounds, backends)
}
