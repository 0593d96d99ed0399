//! Where an exporter of OTLP over HTTP sends to: keeps what arrives, and misbehaves as a test wants it to. It speaks over real
//! connections, which can break at any moment.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cupola_telemetry::{Batch, Signal, TenantId};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It is kept, and answered.
    #[default]
    Takes,
    /// The same, after so long.
    Slow(Duration),
    /// It is answered with this status, and is not kept.
    Refuses(u16),
    /// The connection ends before an answer, and it is not kept.
    Breaks,
    /// The connection ends in the middle of the request.
    BreaksEarly,
    /// It is kept, and the connection ends before an answer.
    LosesAnswers,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    batches: Vec<Batch>,
    requests: u64,
    connections: Vec<TcpStream>,
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops when it is dropped.
#[derive(Debug)]
pub struct FarEnd {
    shared: Arc<Shared>,
    pub port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl FarEnd {
    /// One that takes everything, on a free port.
    pub fn start() -> FarEnd {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let accepting = Some(accept(listener, shared.clone()));
        FarEnd {
            shared,
            port,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().behaviour = behaviour;
        self.shared.changed.notify_all();
    }

    /// What has been kept.
    pub fn batches(&self) -> Vec<Batch> {
        self.shared.state().batches.clone()
    }

    /// Requests that have come, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }

    /// Waits until what has been kept, and how many requests have come, is as `is_so` wants it, so long at most. Whether it is.
    /// Nobody waits for `is_so` meanwhile.
    pub fn wait(&self, limit: Duration, mut is_so: impl FnMut(&[Batch], u64) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            let (batches, requests) = {
                let state = self.shared.state();
                (state.batches.clone(), state.requests)
            };
            if is_so(&batches, requests) {
                return true;
            }
            let is_same =
                |state: &mut State| state.batches.len() == batches.len() && state.requests == requests;
            let left = end.saturating_duration_since(Instant::now());
            let waited = self
                .shared
                .changed
                .wait_timeout_while(self.shared.state(), left, is_same);
            if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                return false;
            }
        }
    }

    /// Is not there any more: its connections end, and nobody listens.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        let connections = {
            let mut state = self.shared.state();
            state.is_stopped = true;
            std::mem::take(&mut state.connections)
        };
        for connection in connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        // Whoever accepts finds out with the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = accepting.join();
    }

    /// Is there again, on the same port, with what it has kept.
    pub fn resume(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        self.shared.state().is_stopped = false;
        self.accepting = Some(accept(listener, self.shared.clone()));
        Ok(())
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut state = shared.state();
            if state.is_stopped {
                return;
            }
            state.connections.extend(stream.try_clone());
            drop(state);
            let shared = shared.clone();
            std::thread::spawn(move || serve(&stream, &shared));
        }
    })
}

/// Answers the requests of one connection, until it ends.
fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let Some((signal, length)) = head(&mut reader)? else {
            return Ok(());
        };
        let behaviour = {
            let mut state = shared.state();
            state.requests += 1;
            state.behaviour
        };
        shared.changed.notify_all();
        if behaviour == Behaviour::BreaksEarly {
            return stream.shutdown(Shutdown::Both);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let batch = Batch::decode_protobuf(signal, TenantId::default_tenant(), body.into());
        let batch = batch.map_err(std::io::Error::other)?;
        let status = match behaviour {
            Behaviour::Takes | Behaviour::LosesAnswers => 200,
            Behaviour::Slow(pause) => {
                let state = shared.state();
                // Until it is to stop, or to behave better.
                let wait = shared.changed.wait_timeout_while(state, pause, |state| {
                    state.behaviour == behaviour && !state.is_stopped
                });
                drop(wait);
                200
            }
            Behaviour::Refuses(status) => status,
            Behaviour::Breaks | Behaviour::BreaksEarly => return stream.shutdown(Shutdown::Both),
        };
        if status == 200 {
            let mut state = shared.state();
            if state.is_stopped {
                return Ok(());
            }
            state.batches.push(batch);
            drop(state);
            shared.changed.notify_all();
        }
        if behaviour == Behaviour::LosesAnswers {
            return stream.shutdown(Shutdown::Both);
        }
        let answer = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
        );
        (&*stream).write_all(answer.as_bytes())?;
    }
}

/// Signal and length of the next request; `None` if there is none.
fn head(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<(Signal, usize)>> {
    let (mut signal, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            let signal = signal.ok_or_else(|| std::io::Error::other("a path that is not of OTLP"))?;
            return Ok(Some((signal, length)));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if let Some(path) = line.strip_prefix("post /v1/") {
            let name = path.split(' ').next().unwrap_or_default();
            signal = Signal::ALL.into_iter().find(|signal| signal.as_str() == name);
        }
    }
}
