//! The messages of one connection, one after the other, none of them larger than a statement may be: the protocol lets
//! a client announce a gigabyte, and all of a message is held before it is looked at.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use datafusion_postgres::pgwire::api::cancel::DefaultCancelHandler;
use datafusion_postgres::pgwire::api::{ClientInfo, ErrorHandler, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::PgWireError;
use datafusion_postgres::pgwire::messages::PgWireFrontendMessage;
use datafusion_postgres::pgwire::tokio::server::{negotiate_tls, process_error, process_message};
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, FramedParts};

use super::Startup;
use super::service::{Errors, StatementService};
use super::statement::Prepared;

/// Largest message of a client: a statement, or all parameters of one.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest time until a client has said who it is.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// What answers the messages of a connection.
pub(super) struct Handlers {
    pub(super) startup: Arc<Startup>,
    pub(super) service: Arc<StatementService>,
    pub(super) cancel: Arc<DefaultCancelHandler>,
}

/// Serves until the client leaves.
pub(super) async fn serve(socket: TcpStream, handlers: Handlers) -> io::Result<()> {
    let nothing = Arc::new(NoopHandler);
    let mut startup_timeout = pin!(tokio::time::sleep(STARTUP_TIMEOUT));
    let negotiated = tokio::select! {
        () = &mut startup_timeout => return Ok(()),
        negotiated = negotiate_tls::<Prepared>(socket, None) => negotiated?,
    };
    // None where the client insists on TLS.
    let Some(negotiated) = negotiated else {
        return Ok(());
    };
    let old = negotiated.into_parts();
    let mut bounded = Bounded {
        socket: old.io,
        messages: Messages::default(),
    };
    bounded.messages.see(&old.read_buf)?;
    let mut parts = FramedParts::new(bounded, old.codec);
    parts.read_buf = old.read_buf;
    parts.write_buf = old.write_buf;
    let mut socket = Framed::from_parts(parts);
    loop {
        let is_starting = matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        let message = tokio::select! {
            () = &mut startup_timeout, if is_starting => return Ok(()),
            message = socket.next() => message,
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(mut error)) if is_too_large(&error) => {
                Errors.on_error(&socket, &mut error);
                return process_error(&mut socket, error, false).await;
            }
            _ => return Ok(()),
        };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let is_extended = match socket.state() {
            PgWireConnectionState::CopyInProgress(is_extended) => is_extended,
            _ => message.is_extended_query(),
        };
        let processed = process_message(
            message,
            &mut socket,
            handlers.startup.clone(),
            handlers.service.clone(),
            handlers.service.clone(),
            nothing.clone(),
            handlers.cancel.clone(),
        );
        if let Err(mut error) = processed.await {
            Errors.on_error(&socket, &mut error);
            process_error(&mut socket, error, is_extended).await?;
        }
    }
}

fn is_too_large(error: &PgWireError) -> bool {
    matches!(error, PgWireError::IoError(cause) if cause.kind() == io::ErrorKind::InvalidData)
}

/// A socket that fails where a message begins that is too large.
struct Bounded<T> {
    socket: T,
    messages: Messages,
}

impl<T: AsyncRead + Unpin> AsyncRead for Bounded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        Poll::Ready(self.messages.see(&buffer.filled()[before..]))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bounded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Follows where messages begin: a type, which the first one lacks, then the length of all but the type.
#[derive(Debug, Default)]
struct Messages {
    begun: bool,
    head: Vec<u8>,
    body_left: usize,
}

impl Messages {
    const LENGTH_BYTES: usize = 4;

    fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let seen = self.body_left.min(bytes.len());
                self.body_left -= seen;
                bytes = &bytes[seen..];
                continue;
            }
            let type_bytes = usize::from(self.begun);
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(&[a, b, c, d]) = self.head.get(type_bytes..)
                && self.head.len() == type_bytes + Self::LENGTH_BYTES
            {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length > MESSAGE_BYTES_MAX {
                    let message =
                        format!("a message has {length} bytes, at most {MESSAGE_BYTES_MAX} are read");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                // A length that is too short is the decoder's to refuse.
                self.body_left = length.saturating_sub(Self::LENGTH_BYTES);
                self.head.clear();
                self.begun = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let mut bytes = vec![0, 0, 0, 8, 0, 3, 0, 0];
        bytes.extend([b'Q', 0, 0, 0, 9]);
        bytes.extend(b"SELE\0");
        bytes.extend([b'S', 0, 0, 0, 4]);
        let large = [b'Q', 0x40, 0, 0, 0, b'x'];
        for step in [1, 2, 3, 7, 64] {
            let mut messages = Messages::default();
            for part in bytes.chunks(step) {
                messages.see(part).unwrap();
            }
            assert!(messages.head.is_empty() && messages.body_left == 0, "{step}");
            let refused = large
                .chunks(step)
                .map(|part| messages.see(part))
                .find(Result::is_err);
            assert!(refused.is_some(), "{step}");
        }
    }
}
