//! A client for the web servers: several connections, each of which asks again when it has been answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cpu;

const CONNECTIONS: u64 = 16;

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) answers: u64,
    pub(crate) seconds: f64,
}

/// Asks for so long for orders below `orders`. On a thread that leaves the server's processor alone.
pub(crate) fn ask(address: &str, orders: i64, length: Duration) -> Result<Asked> {
    let thread = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cpu::pin(&[cpu::OTHERS]);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(ask_all(address, orders, length))
        });
        thread.join()
    });
    match thread {
        Ok(asked) => asked,
        Err(_) => bail!("the client ended early"),
    }
}

async fn ask_all(address: &str, orders: i64, length: Duration) -> Result<Asked> {
    let begin = Instant::now();
    let answers = AtomicU64::new(0);
    let connections = (0..CONNECTIONS).map(|n| ask_one(address, n, orders, begin + length, &answers));
    for connection in futures::future::join_all(connections).await {
        connection?;
    }
    Ok(Asked {
        answers: answers.into_inner(),
        seconds: begin.elapsed().as_secs_f64(),
    })
}

async fn ask_one(address: &str, first: u64, orders: i64, end: Instant, answers: &AtomicU64) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::new();
    let mut n = first;
    while Instant::now() < end {
        let id = n % orders.unsigned_abs();
        n += CONNECTIONS;
        let request = format!("GET /orders/{id} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer) {
            if stream.read_buf(&mut answer).await? == 0 {
                bail!("the server closed a connection");
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("the server answered {}", String::from_utf8_lossy(&answer));
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Head and body are there.
fn is_whole(answer: &[u8]) -> bool {
    const LENGTH: &str = "content-length: ";
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let text = std::str::from_utf8(&answer[..head]).unwrap_or_default();
    let length = text.lines().find_map(|line| line.strip_prefix(LENGTH));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.len() >= head + 4 + length
}
