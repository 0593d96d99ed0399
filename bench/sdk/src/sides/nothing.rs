//! No SDK at all: what pacing and counting cost, to be taken off from the others.

use std::hint::black_box;

use crate::operation::{Operation, data};
use crate::side::Side;

pub(crate) struct Nothing;

impl Side for Nothing {
    fn run(&self, operation: Operation, count: usize) {
        for n in 0..count {
            black_box((operation, data::path(n)));
        }
    }

    fn flush(&self) {}

    fn finish(&self) -> Option<u64> {
        None
    }
}
