//! Decompression within a limit. Owns the promise that a small body cannot unfold into a large one: output
//! grows step by step, each step reserved first, and stops at the limit.

mod inflate;
mod whole;

use std::cell::RefCell;
use std::io::Read;

use cupola_telemetry::memory::Reservation;
use flate2::Decompress;
use zstd::bulk::Decompressor;
use zstd::zstd_safe;

use super::refusal::{Refusal, quote};
use inflate::{GzipReader, ZlibReader};
use whole::WholeGzip;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
    /// With the zlib header, as HTTP and gRPC mean it.
    Deflate,
    /// One block without a frame, as Prometheus and Loki mean it. Not known to [`Compression::parse`]: receivers
    /// whose protocol has it say so.
    Snappy,
}

impl Compression {
    /// Reads `Content-Encoding` or `grpc-encoding`: `Ok(None)` is no compression.
    pub(crate) fn parse(text: &str) -> Result<Option<Compression>, Refusal> {
        let text = text.trim();
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        if text.is_empty() || is("identity") || is("none") {
            Ok(None)
        } else if is("gzip") || is("x-gzip") {
            Ok(Some(Compression::Gzip))
        } else if is("zstd") {
            Ok(Some(Compression::Zstd))
        } else if is("deflate") {
            Ok(Some(Compression::Deflate))
        } else {
            Err(Refusal::ContentEncoding(quote(text)))
        }
    }

    /// How large a body will be unfolded: what it says, where that can be true, else a guess.
    pub(crate) fn unfolded_bytes(self, input: &[u8]) -> usize {
        let said = match self {
            Compression::Gzip => gzip_size(input).filter(|size| *size / GZIP_RATIO_MAX <= input.len()),
            Compression::Zstd => zstd_size(input).map(|size| usize::try_from(size).unwrap_or(usize::MAX)),
            Compression::Deflate => None,
            Compression::Snappy => snappy_size(input),
        };
        said.unwrap_or(input.len().saturating_mul(RATIO_GUESS))
    }
}

/// Where the flags stand in the header of a member.
const GZIP_FLAGS: usize = 3;
/// Deflate cannot do better than this.
const GZIP_RATIO_MAX: usize = 1032;
/// A copy of 64 bytes takes two at the least.
const SNAPPY_RATIO_MAX: usize = 32;
/// First guess where a body does not say its size.
const RATIO_GUESS: usize = 6;
const STEP_BYTES_MIN: usize = 16 * 1024;
/// Largest zstd window, 16 MiB: what encoders use up to level 19 and the Go encoder at its best. Its memory
/// is touched only as far as output fills it.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

thread_local! {
    /// A zstd context is 150 KiB; most bodies are smaller.
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static WHOLE_GZIP: RefCell<Option<WholeGzip>> = RefCell::new(WholeGzip::new());
}

/// What a body unfolded to.
pub(crate) struct Unfolded {
    pub(crate) bytes: Vec<u8>,
    /// The body was gzip that every reader takes all of: some stop after the first of several members.
    pub(crate) is_one_gzip_member: bool,
}

/// The unfolded bytes, at most `bytes_max` of them. They are reserved in `memory`, beside what it holds.
pub(crate) fn decompress(
    compression: Compression,
    input: &[u8],
    bytes_max: usize,
    memory: &mut Reservation,
) -> Result<Unfolded, Refusal> {
    let unfolded = |bytes| Unfolded {
        bytes,
        is_one_gzip_member: false,
    };
    if input.is_empty() {
        // An empty body is an empty message, whatever it claims to be compressed with.
        return Ok(unfolded(Vec::new()));
    }
    let guess = compression.unfolded_bytes(input);
    if compression == Compression::Gzip
        && let Some(bytes) = whole_gzip(input, bytes_max, memory)
    {
        return Ok(Unfolded {
            bytes,
            is_one_gzip_member: true,
        });
    }
    let bytes = match compression {
        Compression::Gzip => INFLATE.with_borrow_mut(|state| {
            let decoder = GzipReader::new(state, input);
            unfold(decoder, guess, bytes_max, memory)
        }),
        Compression::Deflate => INFLATE.with_borrow_mut(|state| {
            let decoder = ZlibReader::new(state, input);
            unfold(decoder, guess, bytes_max, memory)
        }),
        Compression::Zstd => zstd_body(input, guess, bytes_max, memory),
        Compression::Snappy => snappy_block(input, bytes_max, memory),
    };
    bytes
        .map(unfolded)
        .map_err(|failure| failure.into_refusal(compression, bytes_max))
}

enum Failure {
    TooLarge,
    OverMemory,
    Corrupt(String),
}

impl Failure {
    fn into_refusal(self, compression: Compression, bytes_max: usize) -> Refusal {
        let kind = match compression {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Deflate => "deflate",
            Compression::Snappy => "snappy",
        };
        match self {
            Failure::TooLarge => Refusal::TooLarge { bytes_max },
            Failure::OverMemory => Refusal::OverMemory,
            Failure::Corrupt(error) => {
                Refusal::invalid("body", format!("the body is not valid {kind}: {error}"))
            }
        }
    }
}

/// The usual case in one call and one allocation: a member that says its size. `None`, with nothing reserved, for all
/// else.
fn whole_gzip(input: &[u8], bytes_max: usize, memory: &mut Reservation) -> Option<Vec<u8>> {
    // A header with more in it, such as a name or a checksum, is for the reader that looks at it.
    if input.get(GZIP_FLAGS) != Some(&0) {
        return None;
    }
    let size = gzip_size(input).filter(|size| *size <= bytes_max && *size / GZIP_RATIO_MAX <= input.len())?;
    if !memory.try_grow(size) {
        return None;
    }
    let mut out = vec![0; size];
    let whole =
        WHOLE_GZIP.with_borrow_mut(|whole| whole.as_mut().is_some_and(|whole| whole.unfold(input, &mut out)));
    if !whole {
        memory.shrink(size);
        return None;
    }
    Some(out)
}

/// The size a gzip file claims in its last four bytes; right for a single member below 4 GiB.
fn gzip_size(input: &[u8]) -> Option<usize> {
    let tail = input.last_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*tail)).ok()
}

/// The size a zstd frame says it has.
fn zstd_size(input: &[u8]) -> Option<u64> {
    zstd_safe::get_frame_content_size(input).ok().flatten()
}

/// The size a block says it has, where that can be true.
fn snappy_size(input: &[u8]) -> Option<usize> {
    let size = snap::raw::decompress_len(input).ok()?;
    (size / SNAPPY_RATIO_MAX <= input.len()).then_some(size)
}

/// A block says its size first, and what it unfolds to is refused if it is any other.
fn snappy_block(input: &[u8], bytes_max: usize, memory: &mut Reservation) -> Result<Vec<u8>, Failure> {
    let corrupt = |error: snap::Error| Failure::Corrupt(error.to_string());
    let said = snap::raw::decompress_len(input).map_err(corrupt)?;
    if said > bytes_max {
        return Err(Failure::TooLarge);
    }
    let size =
        snappy_size(input).ok_or_else(|| Failure::Corrupt("the size it claims cannot be".to_owned()))?;
    if !memory.try_grow(size) {
        return Err(Failure::OverMemory);
    }
    let mut out = vec![0; size];
    let written = snap::raw::Decoder::new()
        .decompress(input, &mut out)
        .map_err(corrupt)?;
    out.truncate(written);
    Ok(out)
}

fn zstd_body(
    input: &[u8],
    guess: usize,
    bytes_max: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Failure> {
    if zstd_size(input).is_some() {
        if guess > bytes_max {
            return Err(Failure::TooLarge);
        }
        let frame = zstd_safe::find_frame_compressed_size(input).unwrap_or(0);
        if frame == input.len() {
            return zstd_frame(input, guess, memory);
        }
    }
    let corrupt = |error: std::io::Error| Failure::Corrupt(error.to_string());
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(corrupt)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
    unfold(decoder, guess, bytes_max, memory)
}

/// The usual case in one call and one allocation: a single frame that says its size.
fn zstd_frame(input: &[u8], size: usize, memory: &mut Reservation) -> Result<Vec<u8>, Failure> {
    if !memory.try_grow(size) {
        return Err(Failure::OverMemory);
    }
    let mut out = Vec::with_capacity(size);
    ZSTD.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(Decompressor::new()?),
        };
        context.decompress_to_buffer(input, &mut out)
    })
    .map_err(|error| Failure::Corrupt(error.to_string()))?;
    Ok(out)
}

/// Reads a decoder to its end. The buffer doubles from `guess` on, and is never longer than `bytes_max`.
fn unfold(
    mut decoder: impl Read,
    guess: usize,
    bytes_max: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let mut filled = 0;
    let mut size = guess.clamp(1, bytes_max.min(guess.max(STEP_BYTES_MIN)));
    loop {
        if filled == out.len() {
            // Full, or the guess was exact: only the end of the stream may follow beyond the limit.
            if !out.is_empty() {
                let mut probe = [0; 1];
                if read(&mut decoder, &mut probe)? == 0 {
                    out.truncate(filled);
                    return Ok(out);
                }
                if filled == bytes_max {
                    return Err(Failure::TooLarge);
                }
                size = filled.saturating_mul(2).max(STEP_BYTES_MIN).min(bytes_max);
                grow(&mut out, size, memory)?;
                out[filled] = probe[0];
                filled += 1;
                continue;
            }
            grow(&mut out, size, memory)?;
        }
        match read(&mut decoder, &mut out[filled..])? {
            0 => {
                out.truncate(filled);
                return Ok(out);
            }
            count => filled += count,
        }
    }
}

fn grow(out: &mut Vec<u8>, size: usize, memory: &mut Reservation) -> Result<(), Failure> {
    let more = size - out.len();
    if !memory.try_grow(more) {
        return Err(Failure::OverMemory);
    }
    out.reserve_exact(more);
    out.resize(size, 0);
    Ok(())
}

fn read(decoder: &mut impl Read, into: &mut [u8]) -> Result<usize, Failure> {
    loop {
        match decoder.read(into) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Corrupt(error.to_string())),
            Ok(count) => return Ok(count),
        }
    }
}

/// The limit and the budget hold whatever the bytes are; for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_decompress(data: &[u8]) {
    const BYTES_MAX: usize = 1 << 20;
    const BUDGET: usize = 4 << 20;
    let Some((first, input)) = data.split_first() else {
        return;
    };
    let codecs = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Deflate,
        Compression::Snappy,
    ];
    let budget = cupola_telemetry::memory::MemoryBudget::new(BUDGET);
    let mut memory = budget.reservation();
    if let Ok(output) = decompress(codecs[usize::from(*first) % 4], input, BYTES_MAX, &mut memory) {
        assert!(output.bytes.len() <= BYTES_MAX);
        assert!(memory.bytes() >= output.bytes.len());
    }
    assert!(budget.peak() <= BUDGET);
    drop(memory);
    assert_eq!(budget.used(), 0);
}
