//! The part of a Kubernetes API server that the processor asks: lists in pages and watches, spoken as the real one does.
//! Not a real one: that takes longer to build than a test run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::tls::ServerTls;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Small, so that lists have several.
const PAGE_OBJECTS: usize = 2;

#[derive(Default)]
struct State {
    version: u64,
    /// By path and uid.
    objects: BTreeMap<(String, String), Value>,
    /// Version, path and event.
    changes: Vec<(u64, String, Value)>,
    /// Versions before it are answered with 410.
    oldest: u64,
    /// Increased to end all watches.
    epoch: u64,
    refused: Refused,
    /// Watches end as soon as they have begun.
    hangs_up_at_once: bool,
    /// Of lists of anything but pods.
    delay: Duration,
    requests: Vec<String>,
}

/// What is answered with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Refused {
    #[default]
    Nothing,
    Everything,
    Path(&'static str),
    /// All pages of a list but the first.
    NextPages,
}

/// A connection, with or without TLS.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

#[derive(Clone)]
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl ApiServer {
    pub(super) async fn start() -> ApiServer {
        ApiServer::listen(None).await
    }

    /// Speaks TLS.
    pub(super) async fn start_tls(tls: ServerTls) -> ApiServer {
        ApiServer::listen(Some(Arc::new(tls))).await
    }

    async fn listen(tls: Option<Arc<ServerTls>>) -> ApiServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ApiServer {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
            changed: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (serving, tls) = (serving.clone(), tls.clone());
                // A client that goes away is no failure of the server.
                tokio::spawn(async move {
                    match tls {
                        None => serving.serve(stream).await,
                        Some(tls) => {
                            if let Some(stream) = tls.accept(stream, peer).await {
                                serving.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// Adds an object, or changes one.
    pub(super) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let (kind, version) = type_of(path);
        (object["kind"], object["apiVersion"]) = (json!(kind), json!(version));
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let before = state.objects.insert((path.to_owned(), uid), object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.change(&mut state, path, json!({ "type": kind, "object": object }));
    }

    pub(super) fn delete(&self, path: &str, uid: &str) {
        let mut state = self.state.lock();
        state.version += 1;
        let mut object = state.objects.remove(&(path.to_owned(), uid.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        // As the last word on a pod often is.
        object["status"] = Value::Null;
        self.change(&mut state, path, json!({ "type": "DELETED", "object": object }));
    }

    fn change(&self, state: &mut State, path: &str, event: Value) {
        let version = state.version;
        state.changes.push((version, path.to_owned(), event));
        self.changed.notify_waiters();
    }

    /// Ends all watches; the versions up to now are then no longer known.
    pub(super) fn compact(&self) {
        let mut state = self.state.lock();
        state.version += 1;
        state.oldest = state.version;
        state.epoch += 1;
        self.changed.notify_waiters();
    }

    /// Ends all watches.
    pub(super) fn hang_up(&self) {
        self.state.lock().epoch += 1;
        self.changed.notify_waiters();
    }

    pub(super) fn refuse(&self, refused: Refused) {
        self.state.lock().refused = refused;
    }

    pub(super) fn hang_up_at_once(&self) {
        self.state.lock().hangs_up_at_once = true;
    }

    /// Has lists of anything but pods take this long.
    pub(super) fn delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// Heads of requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    async fn serve(&self, mut stream: impl Connection) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let url = url::Url::parse(&format!("http://api{target}")).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let (refused, delay) = {
            let mut state = self.state.lock();
            state.requests.push(head.clone());
            (state.refused, state.delay)
        };
        let is_refused = match refused {
            Refused::Nothing => false,
            Refused::Everything => true,
            Refused::Path(path) => path == url.path(),
            Refused::NextPages => query.contains_key("continue"),
        };
        if is_refused {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": "pods is forbidden" });
            return answer(&mut stream, 403, &status).await;
        }
        match query.contains_key("watch") {
            true => self.watch(&mut stream, url.path(), &query).await,
            false => {
                if !url.path().ends_with("/pods") {
                    tokio::time::sleep(delay).await;
                }
                let list = self.list(url.path(), &query);
                answer(&mut stream, 200, &list).await;
            }
        }
    }

    fn list(&self, path: &str, query: &BTreeMap<String, String>) -> Value {
        let state = self.state.lock();
        let all = state.objects.iter().filter(|((of, _), _)| of == path);
        let all: Vec<Value> = all.map(|(_, object)| object.clone()).collect();
        let from: usize = query.get("continue").map_or(0, |from| from.parse().unwrap());
        let page: Vec<Value> = all.iter().skip(from).take(PAGE_OBJECTS).cloned().collect();
        let next = from + page.len();
        let more = if next < all.len() {
            next.to_string()
        } else {
            String::new()
        };
        let (kind, version) = type_of(path);
        json!({ "kind": format!("{kind}List"), "apiVersion": version, "items": page,
                "metadata": { "resourceVersion": state.version.to_string(), "continue": more } })
    }

    async fn watch(&self, stream: &mut impl Connection, path: &str, query: &BTreeMap<String, String>) {
        // Later versions of the protocol send the list with the watch; a server that cannot says so.
        if query.contains_key("sendInitialEvents") {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 400, "message": "not known" });
            return answer(stream, 400, &status).await;
        }
        let mut seen: u64 = query["resourceVersion"].parse().unwrap();
        let (epoch, is_expired) = {
            let state = self.state.lock();
            let ended = u64::from(state.hangs_up_at_once);
            (state.epoch.wrapping_sub(ended), seen < state.oldest)
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        if is_expired {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "message": "too old" });
            chunk(stream, &json!({ "type": "ERROR", "object": status })).await;
            let _ = stream.write_all(b"0\r\n\r\n").await;
            return;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (events, is_over) = {
                let state = self.state.lock();
                let news = state
                    .changes
                    .iter()
                    .filter(|(version, of, _)| *version > seen && of == path);
                let events: Vec<_> = news
                    .map(|(version, _, event)| (*version, event.clone()))
                    .collect();
                (events, state.epoch != epoch)
            };
            if is_over {
                let _ = stream.write_all(b"0\r\n\r\n").await;
                return;
            }
            for (version, event) in events {
                seen = version;
                chunk(stream, &event).await;
            }
            changed.await;
        }
    }
}

/// Clients ask for the metadata alone of all but pods.
fn type_of(path: &str) -> (&'static str, &'static str) {
    match path.ends_with("/pods") {
        true => ("Pod", "v1"),
        false => ("PartialObjectMetadata", "meta.k8s.io/v1"),
    }
}

async fn answer(stream: &mut impl Connection, code: u16, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// In two, as the network cuts them.
async fn chunk(stream: &mut impl Connection, event: &Value) {
    let line = format!("{event}\n");
    let (first, second) = line.split_at(line.len() / 2);
    for part in [first, second] {
        let _ = stream
            .write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes())
            .await;
        let _ = stream.flush().await;
    }
}
