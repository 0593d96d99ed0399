//! One test per numbered rule of `CONFORMANCE.md`, named by its number.

mod answers;
mod cors;
mod json;
mod limits;
mod overload;
mod protobuf;
mod routing;
