//! Behaviour of the receivers, seen from outside.
