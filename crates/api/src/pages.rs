//! Listeners of pages that are no part of the API: those by which people look into the process. Bounded and protected like
//! the API, and each on an address of its own. Knows nothing of the pages: the binary makes them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Router, middleware};

use crate::connections::Connections;
use crate::listener::{Listening, StartError, bind, serve_http};
use crate::security::{HostPolicy, protect};

/// Somebody who debugs has a browser and a tool or two.
const CONNECTIONS_MAX: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts a listener of pages.
#[derive(Debug)]
pub struct PageServer;

/// A listener under way; stops when `shutdown` is called or it is dropped.
#[derive(Debug)]
pub struct RunningPages {
    pub addr: SocketAddr,
    listening: Listening,
}

impl PageServer {
    /// Serves `router` at `listen`; `what` says in messages what for. On a loopback address `allowed_hosts` are answered
    /// besides this machine's own names.
    pub async fn start(
        what: &'static str,
        listen: SocketAddr,
        allowed_hosts: &[String],
        router: Router,
    ) -> Result<RunningPages, StartError> {
        let bound = bind(what, listen).await?;
        let hosts = HostPolicy::of(listen, allowed_hosts);
        let router = router.layer(middleware::from_fn_with_state(hosts, protect));
        let listening = serve_http(bound, router, Connections::new(CONNECTIONS_MAX, HEADER_TIMEOUT));
        Ok(RunningPages {
            addr: listening.addr,
            listening,
        })
    }
}

impl RunningPages {
    /// Lets answers under way end for a moment, and stops listening.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}
