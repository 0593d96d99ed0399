//! Standard output. Whoever reads it may have seen enough (`| head`): that is no failure, and what is left is not written.

use std::io::{ErrorKind, Write as _};

use crate::failure::Failure;

/// Writes all of it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes()).map(|_| ())
}

/// Writes a part; `false` when nobody reads any more.
pub(crate) fn write(data: &[u8]) -> Result<bool, Failure> {
    let mut output = std::io::stdout();
    match output.write_all(data).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new("cannot write to standard output").caused_by(&error)),
    }
}
