//! `MurmurHash3` in 32 bits and in 128 bits for 64-bit machines, with seed zero.
//!
//! <https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp>

/// `MurmurHash3_x86_32`.
pub(super) fn murmur3_32(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mixed = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for block in blocks {
        hash ^= mixed(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    hash ^= mixed(u32::from_le_bytes(last));
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// `MurmurHash3_x64_128`: the low half, then the high one.
pub(super) fn murmur3_128(bytes: &[u8]) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mixed1 = |block: u64| block.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mixed2 = |block: u64| block.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let halves = |block: &[u8; 16]| {
        let block = u128::from_le_bytes(*block);
        (block as u64, (block >> 64) as u64)
    };
    let (blocks, tail) = bytes.as_chunks::<16>();
    let (mut low, mut high) = (0u64, 0u64);
    for block in blocks {
        let (first, second) = halves(block);
        low = (low ^ mixed1(first)).rotate_left(27).wrapping_add(high);
        low = low.wrapping_mul(5).wrapping_add(0x52dc_e729);
        high = (high ^ mixed2(second)).rotate_left(31).wrapping_add(low);
        high = high.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let (first, second) = halves(&last);
    low ^= mixed1(first) ^ bytes.len() as u64;
    high ^= mixed2(second) ^ bytes.len() as u64;
    low = low.wrapping_add(high);
    high = high.wrapping_add(low);
    low = avalanche(low);
    high = avalanche(high);
    low = low.wrapping_add(high);
    (low, high.wrapping_add(low))
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
