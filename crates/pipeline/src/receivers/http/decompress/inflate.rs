//! Gzip and zlib over one state of the decompressor, which is 50 KiB and kept by each thread. Owns the frame of
//! gzip: several members are one body, and each is checked against its checksum and length.
//!
//! <https://www.rfc-editor.org/rfc/rfc1952>

use std::io::{self, ErrorKind, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Reads all members of a gzip body to the end of its bytes.
pub(super) struct GzipReader<'a> {
    state: &'a mut Decompress,
    input: &'a [u8],
    crc: Crc,
    within_member: bool,
}

impl<'a> GzipReader<'a> {
    pub(super) fn new(state: &'a mut Decompress, input: &'a [u8]) -> GzipReader<'a> {
        GzipReader {
            state,
            input,
            crc: Crc::new(),
            within_member: false,
        }
    }

    /// Passes over the header of a member; of what it says nothing matters.
    fn header(&mut self) -> io::Result<()> {
        let whole = self.input;
        let [magic @ .., method, flags] = take(&mut self.input)? as [u8; 4];
        if magic != MAGIC || method != METHOD_DEFLATE || flags & FLAGS_RESERVED != 0 {
            return Err(invalid("not the header of a gzip member"));
        }
        // Time, compression level and operating system.
        let _ = take(&mut self.input)? as [u8; 6];
        if flags & FLAG_EXTRA != 0 {
            let length = u16::from_le_bytes(take(&mut self.input)?);
            self.input = self
                .input
                .get(usize::from(length)..)
                .ok_or(ErrorKind::UnexpectedEof)?;
        }
        for flag in [FLAG_NAME, FLAG_COMMENT] {
            if flags & flag != 0 {
                let end = self.input.iter().position(|byte| *byte == 0);
                let end = end.ok_or(ErrorKind::UnexpectedEof)?;
                self.input = self.input.get(end + 1..).unwrap_or_default();
            }
        }
        if flags & FLAG_HEADER_CRC != 0 {
            let mut crc = Crc::new();
            crc.update(whole.get(..whole.len() - self.input.len()).unwrap_or_default());
            if u16::from_le_bytes(take(&mut self.input)?) != crc.sum() as u16 {
                return Err(invalid("the checksum of a header does not match"));
            }
        }
        Ok(())
    }

    /// Compares what a member says it was with what it came to.
    fn footer(&mut self) -> io::Result<()> {
        let sum = u32::from_le_bytes(take(&mut self.input)?);
        let length = u32::from_le_bytes(take(&mut self.input)?);
        if sum != self.crc.sum() || length != self.crc.amount() {
            return Err(invalid("the checksum does not match"));
        }
        Ok(())
    }
}

impl Read for GzipReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within_member {
                if self.input.is_empty() {
                    return Ok(0);
                }
                self.header()?;
                self.state.reset(false);
                self.crc.reset();
                self.within_member = true;
            }
            let (written, ended) = inflate(self.state, &mut self.input, into)?;
            self.crc.update(into.get(..written).unwrap_or_default());
            if ended {
                self.footer()?;
                self.within_member = false;
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// Reads one zlib stream, to its end. What follows it is not looked at.
pub(super) struct ZlibReader<'a> {
    state: &'a mut Decompress,
    input: &'a [u8],
    ended: bool,
}

impl<'a> ZlibReader<'a> {
    pub(super) fn new(state: &'a mut Decompress, input: &'a [u8]) -> ZlibReader<'a> {
        state.reset(true);
        ZlibReader {
            state,
            input,
            ended: false,
        }
    }
}

impl Read for ZlibReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let (written, ended) = inflate(self.state, &mut self.input, into)?;
            self.ended = ended;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

/// One step: how many bytes were written, which may be none, and whether the stream has ended.
fn inflate(state: &mut Decompress, input: &mut &[u8], into: &mut [u8]) -> io::Result<(usize, bool)> {
    let (before_in, before_out) = (state.total_in(), state.total_out());
    let status = state.decompress(input, into, FlushDecompress::None);
    let status = status.map_err(|_| invalid("the compressed data is corrupt"))?;
    let read = (state.total_in() - before_in) as usize;
    let written = (state.total_out() - before_out) as usize;
    *input = input.get(read..).unwrap_or_default();
    let ended = matches!(status, Status::StreamEnd);
    if !ended && read == 0 && written == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((written, ended))
}

fn take<const N: usize>(input: &mut &[u8]) -> io::Result<[u8; N]> {
    let (taken, rest) = input.split_first_chunk::<N>().ok_or(ErrorKind::UnexpectedEof)?;
    *input = rest;
    Ok(*taken)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn unfold(input: &[u8]) -> io::Result<Vec<u8>> {
        // As a thread leaves it behind: in the middle of something else.
        let mut state = Decompress::new(true);
        let _ = state.decompress(&[0x78, 0x9c, 0x4b], &mut [0; 8], FlushDecompress::None);
        let mut out = Vec::new();
        GzipReader::new(&mut state, input).read_to_end(&mut out)?;
        Ok(out)
    }

    fn member(contents: &[u8]) -> Vec<u8> {
        let builder = GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra("extra");
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn headers_with_everything_in_them_and_several_members_are_read() {
        let body = [member(b"one "), member(b""), member(&[b'x'; 100_000])].concat();
        let expected = [&b"one "[..], &[b'x'; 100_000]].concat();
        assert!(unfold(&body).unwrap() == expected);
    }

    #[test]
    fn the_checksum_of_a_header_is_checked() {
        let plain = member(b"x");
        let mut checked = plain.clone();
        checked[3] |= FLAG_HEADER_CRC;
        // Ten bytes, "extra" behind its length, and two texts.
        let end = 10 + 2 + 5 + 5 + 8;
        let mut crc = Crc::new();
        crc.update(&checked[..end]);
        let sum = (crc.sum() as u16).to_le_bytes();
        checked.splice(end..end, sum);
        assert_eq!(unfold(&checked).unwrap(), b"x");
        checked[end] ^= 1;
        assert_eq!(unfold(&checked).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_an_error() {
        let body = member(b"some text of no length");
        for length in 1..body.len() {
            assert!(unfold(&body[..length]).is_err(), "{length} bytes");
        }
        let (mut sum, mut length, mut reserved) = (body.clone(), body.clone(), body.clone());
        sum[body.len() - 8] ^= 1;
        length[body.len() - 4] ^= 1;
        reserved[3] |= 0x20;
        for changed in [sum, length, reserved, [&body[..], b"more"].concat()] {
            assert!(unfold(&changed).is_err());
        }
    }
}
