//! The extension `pprof`: profiles of this process, at the addresses that Go programs have them and in the format that
//! `go tool pprof` opens.
//!
//! Profiles hold the names of functions and nothing that the process works on. Off, all of it costs one relaxed load at
//! each allocation.

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod stacks;
/// Where stacks cannot be taken: nothing is profiled, and whoever asks is told.
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "pprof/absent.rs"]
mod stacks;
#[cfg(test)]
mod tool;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures::TryFutureExt as _;
use serde::Deserialize;
use tokio::sync::Semaphore;

pub(crate) use stacks::{CpuProfile, heap};

/// As in Go, where nothing is asked for or what is asked for makes no sense.
const SECONDS_DEFAULT: u64 = 30;
/// A profile ends with its client, and at the latest then.
const SECONDS_MAX: u64 = 600;

/// Profiles that are given names at the same time: it takes memory that is in no budget, and what was read of the program
/// for one would be given back at the end of another.
static TURNS: Semaphore = Semaphore::const_new(1);

/// Why there is no processor profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CpuError {
    /// As Go says it.
    #[error("cpu profiling already in use")]
    Busy,
    #[error("cannot take a processor profile")]
    System(#[source] std::io::Error),
}

const INDEX: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>/debug/pprof/</title></head>
<body>
<h1>/debug/pprof/</h1>
<table>
<tr><td><a href=\"/debug/pprof/profile?seconds=30\">profile</a></td><td>processor time, for as many <code>seconds</code></td></tr>
<tr><td><a href=\"/debug/pprof/heap\">heap</a></td><td>what is allocated and in use, of what was since the start: a sample</td></tr>
<tr><td><a href=\"/debug/pprof/allocs\">allocs</a></td><td>the same, with all that ever was allocated first</td></tr>
<tr><td><a href=\"/debug/pprof/cmdline\">cmdline</a></td><td>the command line</td></tr>
</table>
<p>Open a profile with <code>go tool pprof URL</code>. There are no goroutines, and locks are not profiled.</p>
</body>
</html>
";

/// The profiles by their addresses.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(index))
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/heap", get(heap_in_use))
        .route("/debug/pprof/allocs", get(heap_of_all))
        .route("/debug/pprof/cmdline", get(command_line))
        .fallback(unknown)
}

async fn index() -> Html<&'static str> {
    Html(INDEX)
}

#[derive(Debug, Deserialize)]
struct Asked {
    seconds: Option<String>,
}

impl Asked {
    fn seconds(&self) -> u64 {
        let seconds = self.seconds.as_deref().and_then(|text| text.parse::<u64>().ok());
        seconds.filter(|seconds| *seconds > 0).unwrap_or(SECONDS_DEFAULT)
    }
}

/// Dropped with its connection, and the profile with it.
async fn profile(Query(asked): Query<Asked>) -> Response {
    let seconds = asked.seconds();
    if seconds > SECONDS_MAX {
        let message = format!("a profile takes at most {SECONDS_MAX} seconds\n");
        return refused(StatusCode::BAD_REQUEST, message);
    }
    let begun = tokio::task::spawn_blocking(CpuProfile::start).await;
    let running = match begun {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let message = format!(
                "Could not enable CPU profiling: {error}{}\n",
                cause.unwrap_or_default()
            );
            return refused(StatusCode::INTERNAL_SERVER_ERROR, message);
        }
        Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    tracing::info!(seconds, "taking a processor profile");
    download("profile", async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        in_turn(|| running.finish()).await
    })
}

async fn heap_in_use() -> Response {
    download("heap", in_turn(|| heap::encode(false)))
}

async fn heap_of_all() -> Response {
    download("allocs", in_turn(|| heap::encode(true)))
}

/// Works apart from what must not block, when nobody else does any more.
async fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let turn = TURNS.acquire().await.map_err(std::io::Error::other)?;
    let done = tokio::task::spawn_blocking(move || {
        // Until the end of the work, even if nobody waits for it any more.
        let _turn = turn;
        work()
    })
    .await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// The answer begins at once, and its body comes when it is there: the tool of Go waits for a beginning little longer than
/// the profile is to take, and finding names can take as long again. What fails then breaks the body off.
fn download(name: &str, made: impl Future<Output = std::io::Result<Vec<u8>>> + Send + 'static) -> Response {
    let told = made.inspect_err(|error| tracing::warn!(%error, "a profile could not be made"));
    let mut response = Response::new(Body::from_stream(futures::stream::once(told)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    let file = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    headers.extend(file.ok().map(|file| (header::CONTENT_DISPOSITION, file)));
    response
}

/// Arguments with a zero between them, without what is secret in them.
async fn command_line() -> String {
    let arguments = std::env::args_os().map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        cupola_config::mask::urls(&text).unwrap_or(text)
    });
    arguments.collect::<Vec<_>>().join("\0")
}

async fn unknown() -> Response {
    refused(StatusCode::NOT_FOUND, "Unknown profile\n".to_owned())
}

/// A refusal as Go programs give it, which `go tool pprof` shows.
fn refused(status: StatusCode, message: String) -> Response {
    let mark = (
        HeaderName::from_static("x-go-pprof"),
        HeaderValue::from_static("1"),
    );
    (status, [mark], message).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn seconds_are_read_as_in_go() {
        for (text, seconds) in [
            ("5", 5),
            ("0", 30),
            ("-1", 30),
            ("many", 30),
            ("", 30),
            ("601", 601),
        ] {
            let asked = Asked {
                seconds: Some(text.to_owned()),
            };
            assert_eq!(asked.seconds(), seconds, "{text}");
        }
        assert_eq!(Asked { seconds: None }.seconds(), 30);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn profiles_are_made_one_after_the_other_though_clients_leave() {
        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            assert_eq!(UNDER_WAY.fetch_add(1, Ordering::SeqCst), 0);
            std::thread::park_timeout(Duration::from_millis(5));
            UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        let mut all = tokio::task::JoinSet::new();
        for number in 0..16 {
            let made = all.spawn(in_turn(work));
            if number % 2 == 0 {
                tokio::task::yield_now().await;
                made.abort();
            }
        }
        while let Some(made) = all.join_next().await {
            assert!(made.map_or_else(|left| left.is_cancelled(), |made| made.is_ok()));
        }
    }
}
