//! Taking secrets out of records before they leave the process.

/// What is taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubSettings {}
