//! Syslog over TCP: connections, each read as fast as the sink takes what it sends. A sender that is not read from waits;
//! the protocol has no answer that could tell it more. A handshake, where there is TLS, is the connection's own matter and
//! bounded by [`ServerTls`]: accepting never waits for one.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use cupola_export::tls::{ServerTls, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::config::{SyslogReceiverConfig, TcpConfig};
use super::framing::Framing;
use super::work::{Peer, Record, Work};
use crate::operators::Trailer;
use crate::receivers::http::stats::count;
use crate::receivers::text::delivery::Delivered;
use crate::receivers::text::split::Split;

/// Connections open at the same time, unless `max_connections` is less; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Accepts until the receiver ends.
pub(super) async fn accept(
    listener: TcpListener,
    config: Arc<SyslogReceiverConfig>,
    tcp: Arc<TcpConfig>,
    tls: Option<Arc<ServerTls>>,
    work: Work,
) {
    let most = if tcp.max_connections == 0 {
        CONNECTIONS_MAX
    } else {
        tcp.max_connections.min(CONNECTIONS_MAX)
    };
    let connections = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = work.stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without a free place this one waits, and the system's backlog holds the rest.
        let place = tokio::select! {
            place = connections.clone().acquire_owned() => place,
            () = work.stop.cancelled() => return,
        };
        let local = stream.local_addr().ok();
        let (config, tcp, tls, work) = (config.clone(), tcp.clone(), tls.clone(), work.clone());
        work.tasks.clone().spawn(async move {
            count(&work.stats.connections, 1);
            let peer = Peer { address: peer, local };
            if let Some(stream) = open(stream, &peer, tls.as_deref(), &work).await {
                serve(stream, peer, &config, &tcp, &work).await;
            }
            drop(place);
        });
    }
}

/// The connection as it is read; `None` if there is none for want of a handshake.
async fn open(stream: TcpStream, peer: &Peer, tls: Option<&ServerTls>, work: &Work) -> Option<Stream> {
    let Some(tls) = tls else {
        return Some(Stream::Plain(stream));
    };
    tokio::select! {
        stream = tls.accept(stream, peer.address) => stream,
        () = work.stop.cancelled() => None,
    }
}

fn framing(config: &SyslogReceiverConfig, tcp: &TcpConfig) -> Result<Framing, (&'static str, String)> {
    let bytes_max = tcp.max_log_size.0 as usize;
    Ok(
        match (
            config.enable_octet_counting,
            config.non_transparent_framing_trailer,
        ) {
            (true, _) => Framing::octets(tcp.records()?, bytes_max),
            (false, Some(Trailer::Nul)) => Framing::Split(Split::trailer(0, bytes_max)),
            (false, Some(Trailer::Lf)) => Framing::Split(Split::trailer(b'\n', bytes_max)),
            (false, None) => Framing::Split(tcp.records()?),
        },
    )
}

/// Reads one connection to its end, whatever carries its bytes.
async fn serve(
    mut stream: impl AsyncRead + Unpin,
    peer: Peer,
    config: &SyslogReceiverConfig,
    tcp: &TcpConfig,
    work: &Work,
) {
    // The settings were checked.
    let Ok(mut framing) = framing(config, tcp) else {
        return;
    };
    let mut data = BytesMut::new();
    let mut held = work.waiting.reservation();
    loop {
        // What is left is part of a message. A buffer that grows takes up to twice as much as it needs.
        if !held.try_resize(2 * data.len()) {
            count(&work.stats.connections_over_memory, 1);
            tracing::warn!(peer = %peer.address, bytes = data.len(), "connection closed: no memory for a message that is not complete");
            return;
        }
        data.reserve(READ_BYTES);
        let read = tokio::select! {
            read = stream.read_buf(&mut data) => read,
            () = idle(tcp.connection_idle_timeout.0) => Ok(0),
            // What is half a message now is no message.
            () = work.stop.cancelled() => return,
        };
        let ended = match read {
            Ok(read) => read == 0,
            Err(error) => {
                tracing::debug!(peer = %peer.address, %error, "connection broke");
                true
            }
        };
        let before = data.len();
        if take(&mut data, &mut framing, ended, &peer, tcp, work).await == Delivered::Stopped || ended {
            return;
        }
        if data.len() < before {
            // A buffer that was large once would be kept at its size.
            data = BytesMut::from(&data[..]);
        }
    }
}

async fn idle(limit: Duration) {
    match limit.is_zero() {
        true => std::future::pending().await,
        false => tokio::time::sleep(limit).await,
    }
}

/// Hands over the messages that are complete.
async fn take(
    data: &mut BytesMut,
    framing: &mut Framing,
    ended: bool,
    peer: &Peer,
    tcp: &TcpConfig,
    work: &Work,
) -> Delivered {
    let keep = (
        tcp.preserve_leading_whitespaces,
        tcp.preserve_trailing_whitespaces,
    );
    loop {
        let mut records = Vec::new();
        while records.len() < super::work::BATCH_RECORDS_MAX
            && let Some(token) = framing.next(data, ended)
        {
            let bytes = data.split_to(token.advance);
            records.push(Record {
                bytes: bytes.freeze().slice(token.start..token.end),
                peer: *peer,
            });
        }
        if records.is_empty() {
            return Delivered::Done;
        }
        let Some(reserved) = work.reserve(&records).await else {
            return Delivered::Stopped;
        };
        let attributes = tcp.add_attributes.then_some("IP.TCP");
        if work
            .hand_over((records, reserved), tcp.encoding, keep, attributes)
            .await
            == Delivered::Stopped
        {
            return Delivered::Stopped;
        }
    }
}
