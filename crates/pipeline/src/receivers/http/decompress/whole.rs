//! Gzip of which all is there, in one go, which is twice as fast as a stream. Owns the decompressor of the C library.
//! Refuses everything but one member of the size that it says it has: that is for the reader of streams, which also
//! knows what is wrong with it.

use std::ffi::c_void;
use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_SUCCESS as SUCCESS,
};

/// Tables of 11 KiB, which a thread uses again and again.
pub(super) struct WholeGzip(NonNull<libdeflate_decompressor>);

impl WholeGzip {
    /// `None` if there is no memory for it.
    pub(super) fn new() -> Option<WholeGzip> {
        // SAFETY: takes nothing, and gives null or a decompressor that is ours until it is freed.
        NonNull::new(unsafe { libdeflate_alloc_decompressor() }).map(WholeGzip)
    }

    /// Unfolds `input` into all of `out`. `false` if `input` is anything else than one valid member of just that size;
    /// `out` is then of no meaning.
    pub(super) fn unfold(&mut self, input: &[u8], out: &mut [u8]) -> bool {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the decompressor is not null and borrowed for this call alone; both buffers are as long as is said
        // and live longer than the call; the function writes to `out` and to the two numbers only.
        let result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast::<c_void>(),
                input.len(),
                out.as_mut_ptr().cast::<c_void>(),
                out.len(),
                &raw mut read,
                &raw mut written,
            )
        };
        result == SUCCESS && read == input.len() && written == out.len()
    }
}

impl Drop for WholeGzip {
    fn drop(&mut self) {
        // SAFETY: came from the library, and nobody has it any longer.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn one_member_of_the_size_it_says_and_nothing_else() {
        let member = |contents: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(contents).unwrap();
            encoder.finish().unwrap()
        };
        let mut whole = WholeGzip::new().unwrap();
        let contents = vec![b'x'; 1000];
        let body = member(&contents);
        let mut out = vec![0; 1000];
        assert!(whole.unfold(&body, &mut out) && out == contents);
        assert!(!whole.unfold(&body, &mut vec![0; 999]));
        assert!(!whole.unfold(&body, &mut vec![0; 1001]));
        // Its last bytes say 1000 as well.
        assert!(!whole.unfold(&[body.clone(), body.clone()].concat(), &mut out));
        for at in 0..body.len() {
            let mut flipped = body.clone();
            flipped[at] ^= 0x10;
            // Bits that say nothing are in the head and behind the last code.
            let unfolded = whole.unfold(&flipped, &mut out);
            assert!(!unfolded || out == contents, "byte {at}");
            assert!(!whole.unfold(&body[..at], &mut out), "{at} bytes");
        }
    }
}
