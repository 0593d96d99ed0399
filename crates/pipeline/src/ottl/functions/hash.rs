//! Hashes of text.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::murmur3::{murmur3_32, murmur3_128};
use super::{Arguments, Converter, TARGET, converter, plain};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("SHA1", TARGET, |_| plain(digest::<Sha1>)),
    converter("SHA256", TARGET, |_| plain(digest::<Sha256>)),
    converter("SHA512", TARGET, |_| plain(digest::<Sha512>)),
    converter("MD5", TARGET, |_| plain(digest::<Md5>)),
    converter("FNV", TARGET, |_| {
        plain(|a| Ok(Value::Int(fnv1a(a.get(0).as_str()?.as_bytes()) as i64)))
    }),
    converter("XXH3", TARGET, |_| {
        plain(|a| {
            Ok(Value::text(format!(
                "{:016x}",
                xxh3_64(a.get(0).as_str()?.as_bytes())
            )))
        })
    }),
    converter("XXH128", TARGET, |_| {
        plain(|a| {
            Ok(Value::text(format!(
                "{:032x}",
                xxh3_128(a.get(0).as_str()?.as_bytes())
            )))
        })
    }),
    // Bytes in the order of small machines, as other programs print them.
    converter("Murmur3Hash", TARGET, |_| {
        plain(|a| {
            let hash = murmur3_32(a.get(0).as_str()?.as_bytes());
            Ok(Value::text(hex::encode(hash.to_le_bytes())))
        })
    }),
    converter("Murmur3Hash128", TARGET, |_| {
        plain(|a| {
            let (low, high) = murmur3_128(a.get(0).as_str()?.as_bytes());
            Ok(Value::text(hex::encode(
                [low.to_le_bytes(), high.to_le_bytes()].concat(),
            )))
        })
    }),
];

fn digest<'a, D: Digest>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.get(0).as_str()?;
    Ok(Value::text(hex::encode(D::digest(text.as_bytes()))))
}

/// FNV-1a in 64 bits. <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
