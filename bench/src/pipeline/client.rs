//! A client that costs little: frames are made beforehand, and sent over one HTTP/2 connection with so many requests in
//! flight.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use cupola_export::otlp::grpc_path;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::load::Load;

/// A request's body, as gRPC frames it.
pub(super) struct Frame {
    body: Bytes,
    pub(super) items: u64,
    /// Of them, what the case `filter` keeps.
    kept: u64,
    path: &'static str,
    gzip: bool,
}

impl Frame {
    pub(super) fn encode_all(load: &Load, gzip: bool) -> Result<Vec<Frame>> {
        let encode = |batch: &cupola_telemetry::Batch| {
            let payload = match gzip {
                true => {
                    let mut encoder =
                        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                    encoder.write_all(batch.payload())?;
                    Bytes::from(encoder.finish()?)
                }
                false => batch.payload().clone(),
            };
            let mut body = BytesMut::with_capacity(payload.len() + 5);
            body.put_u8(u8::from(gzip));
            body.put_u32(u32::try_from(payload.len()).context("a frame is too large")?);
            body.put_slice(&payload);
            Ok(Frame {
                body: body.freeze(),
                items: batch.items() as u64,
                kept: super::cases::kept(batch),
                path: grpc_path(load.signal),
                gzip,
            })
        };
        load.batches.iter().map(encode).collect()
    }
}

pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    in_flight: usize,
    next: Arc<AtomicUsize>,
    items: Arc<AtomicU64>,
    kept: Arc<AtomicU64>,
}

/// Times from sending a request to its answer.
#[derive(Default)]
pub(super) struct Sent {
    micros: Vec<u64>,
}

impl Sent {
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * percent / 100.0) as usize;
        sorted
            .get(at.min(sorted.len().saturating_sub(1)))
            .map_or(f64::NAN, |micros| *micros as f64 / 1e3)
    }
}

impl Client {
    pub(super) async fn connect(address: &str, in_flight: usize) -> Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Client {
            sender,
            authority: address.to_owned(),
            in_flight,
            next: Arc::default(),
            items: Arc::default(),
            kept: Arc::default(),
        })
    }

    /// Items that were acknowledged so far.
    pub(super) fn items_acknowledged(&self) -> u64 {
        self.items.load(Ordering::Acquire)
    }

    /// Of those, what the case `filter` keeps.
    pub(super) fn items_kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Sends frames in turn for this long; a refused one is sent again.
    pub(super) async fn send_for(&mut self, frames: &[Frame], time: Duration) -> Result<Sent> {
        let until = Instant::now() + time;
        let lanes = (0..self.in_flight).map(|_| self.lane(frames, until));
        let mut sent = Sent::default();
        for micros in try_join_all(lanes).await? {
            sent.micros.extend(micros);
        }
        Ok(sent)
    }

    async fn lane(&self, frames: &[Frame], until: Instant) -> Result<Vec<u64>> {
        let mut sender = self.sender.clone();
        let mut micros = Vec::new();
        while Instant::now() < until {
            let frame = &frames[self.next.fetch_add(1, Ordering::Relaxed) % frames.len()];
            let begun = Instant::now();
            while !self.send(&mut sender, frame).await? {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            micros.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.items.fetch_add(frame.items, Ordering::AcqRel);
            self.kept.fetch_add(frame.kept, Ordering::AcqRel);
        }
        Ok(micros)
    }

    /// Sends the next frame once; whether it was taken.
    pub(super) async fn send_once(&self, frames: &[Frame]) -> Result<bool> {
        let frame = &frames[self.next.fetch_add(1, Ordering::Relaxed) % frames.len()];
        let taken = self.send(&mut self.sender.clone(), frame).await?;
        if taken {
            self.items.fetch_add(frame.items, Ordering::AcqRel);
        }
        Ok(taken)
    }

    /// Whether it was taken; otherwise it was refused for now.
    async fn send(&self, sender: &mut SendRequest<Full<Bytes>>, frame: &Frame) -> Result<bool> {
        let mut request = http::Request::post(format!("http://{}{}", self.authority, frame.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if frame.gzip {
            request = request.header("grpc-encoding", "gzip");
        }
        sender.ready().await?;
        let answer = sender
            .send_request(request.body(Full::new(frame.body.clone()))?)
            .await?;
        let early = answer.headers().get("grpc-status").cloned();
        let body = answer.into_body().collect().await?;
        let status = early.or_else(|| {
            body.trailers()
                .and_then(|trailers| trailers.get("grpc-status").cloned())
        });
        match status.as_ref().and_then(|status| status.to_str().ok()) {
            Some("0") => Ok(true),
            // Unavailable, resource exhausted.
            Some("14" | "8") => Ok(false),
            other => bail!("refused with gRPC status {other:?}: {:?}", body.trailers()),
        }
    }
}
