//! The four as processes, which end with whoever started them.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Longest that a service may take to end; then it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running shop.
#[derive(Debug)]
pub struct Shop {
    /// The first is to end first: it asks the others.
    services: Vec<Child>,
    /// Where the gateway is.
    pub gateway: String,
}

impl Shop {
    /// Starts all of them, with their databases in `data`. `command` is a program, with its environment, that takes the name and
    /// the options of a [`Service`](crate::Service).
    pub async fn start(command: impl Fn() -> Command, data: &Path) -> io::Result<Shop> {
        let mut services = Vec::new();
        let data = data.as_os_str();
        let (api, at) = start(command().arg("api").arg("--data").arg(data)).await?;
        services.push(api);
        let (worker, _) = start(
            command()
                .arg("worker")
                .arg("--data")
                .arg(data)
                .args(["--api", &at]),
        )
        .await?;
        services.push(worker);
        let (cloud, at) = start(command().args(["cloud", "--api", &at])).await?;
        services.push(cloud);
        let (gateway, at) = start(command().args(["gateway", "--cloud", &at])).await?;
        services.push(gateway);
        services.reverse();
        Ok(Shop {
            services,
            gateway: at,
        })
    }

    /// Ends all of them, the gateway first, so that what is under way is answered and recorded.
    pub async fn stop(self) {
        for mut service in self.services {
            drop(service.stdin.take());
            if tokio::time::timeout(PATIENCE, service.wait()).await.is_err() {
                let _ = service.kill().await;
            }
        }
    }

    /// The ids of the processes that have not ended.
    pub fn ids(&self) -> Vec<u32> {
        self.services.iter().filter_map(Child::id).collect()
    }
}

/// Starts a service, and waits until it has said that it is there, and where.
async fn start(command: &mut Command) -> io::Result<(Child, String)> {
    command
        .arg("--tied")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // What the terminal sends to all is for whoever started it, which then ends it in order.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn()?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("a service has no output"))?;
    let mut lines = BufReader::new(output).lines();
    match lines.next_line().await? {
        Some(line) => Ok((child, line)),
        None => {
            let status = child.wait().await?;
            Err(io::Error::other(format!(
                "a service ended before it was ready: {status}"
            )))
        }
    }
}
