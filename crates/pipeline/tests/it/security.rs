//! Who may send, over what, and how we are known to others: TLS and authenticators of whole pipelines.

mod bothways;
mod changes;
mod listeners;
mod peers;
mod plans;
mod senders;
mod syslog;

use std::net::SocketAddr;
use std::path::PathBuf;

use cupola_export::tls::{ClientTls, TlsSettings};
use cupola_peers::certificates::Authority;
use cupola_pipeline::graph::Pipelines;

use crate::graph::bench_components::{Bench, context};

/// bcrypt of `password`, at the least cost there is.
const BCRYPT: &str = "agent:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu";
const BASIC: &str = "Basic YWdlbnQ6cGFzc3dvcmQ=";

/// Files of a server's certificate, and whoever signed it.
struct Secured {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Secured {
    fn new() -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority of a test");
        authority
            .issue(&["localhost", "127.0.0.1"])
            .write(folder.path(), "server");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Secured { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `tls` of a server, in braces.
    fn server(&self) -> String {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        format!(
            "{{cert_file: {}, key_file: {}}}",
            certificate.display(),
            key.display()
        )
    }

    /// `tls` of a client that trusts it, in braces.
    fn client(&self) -> String {
        format!("{{ca_file: {}}}", self.path("ca.pem").display())
    }

    fn tls(&self) -> ClientTls {
        let settings = TlsSettings {
            ca_pem: Some(self.authority.pem().to_owned()),
            ..TlsSettings::default()
        };
        ClientTls::new(&settings).unwrap()
    }

    fn https(&self) -> reqwest::Client {
        let builder = reqwest::Client::builder().no_proxy();
        builder
            .use_preconfigured_tls(self.tls().config())
            .build()
            .unwrap()
    }
}

async fn start(bench: &Bench, configuration: &str) -> Pipelines {
    Pipelines::start(bench.plan(configuration), context())
        .await
        .unwrap()
}

/// Where a receiver listens.
fn address(pipelines: &Pipelines, receiver: &str, protocol: &str) -> SocketAddr {
    let all = pipelines.addresses();
    let found = all
        .iter()
        .find(|(id, of, _)| id.to_string() == receiver && *of == protocol);
    found
        .unwrap_or_else(|| panic!("{receiver} {protocol} is not in {all:?}"))
        .2
}

fn count(pipelines: &Pipelines, name: &str) -> f64 {
    let mut samples = Vec::new();
    pipelines.collect(&mut samples);
    let of_name = samples.iter().filter(|sample| sample.name == name);
    of_name.map(|sample| sample.value).sum()
}
