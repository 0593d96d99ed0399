//! Ids: stored as bytes, seen as lower-case hexadecimal text.

mod hex_text;

pub(crate) use hex_text::{HexText, hex_array, id_bytes};
