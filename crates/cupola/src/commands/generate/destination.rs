//! Where generated telemetry goes. Retries nothing of its own: the OTLP sink does, and a store refuses only when full.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cupola_export::otlp::{OtlpConfig, OtlpSink};
use cupola_export::{Accepted, SendError, Sink};
use cupola_generator::ndjson;
use cupola_store::{Store, StoreError};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::refused::{Refused, headers_of_environment};
use crate::cli::{FileFormat, GenerateArguments};
use crate::config::{LogFlags, ServeFlags, file};
use crate::failure::Failure;
use crate::logging;
use cupola_config::Secret;
use cupola_config::units::MemoryLimit;

/// Requests under way at one time.
const REQUESTS_MAX: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that restarts is back by then; for a longer outage nobody wants to wait without a word.
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// A store whose memory is full flushes; waiting this often is enough for any disk.
const STORE_ATTEMPTS_MAX: usize = 600;

pub(crate) enum Destination {
    Endpoint {
        sink: Arc<OtlpSink>,
        /// Takes the first batch, without trying again: what waiting does not mend is told at once.
        first: Option<Box<OtlpSink>>,
        requests: JoinSet<Result<(), Failure>>,
    },
    Files(Files),
    Store(Store),
}

impl Destination {
    pub(crate) async fn open(
        arguments: &GenerateArguments,
        log: &LogFlags,
        config: &[PathBuf],
    ) -> Result<Self, Failure> {
        if let Some(endpoint) = &arguments.endpoint {
            return open_endpoint(endpoint, arguments).await;
        }
        if let Some(directory) = &arguments.output {
            return Files::open(directory, arguments.format).map(Destination::Files);
        }
        if let Some(directory) = &arguments.data_dir {
            return open_store(directory, arguments, log, config).await;
        }
        Err(Failure::usage("it is not said where the telemetry goes")
            .hint("to a server: --endpoint http://127.0.0.1:4317")
            .hint("to files: --output DIR, or into a data directory: --data-dir DIR"))
    }

    pub(crate) async fn take(&mut self, batch: Batch) -> Result<(), Failure> {
        match self {
            Destination::Endpoint {
                sink,
                first,
                requests,
            } => {
                if let Some(first) = first.take() {
                    match first.send(batch.clone()).await {
                        Ok(accepted) => return all_accepted(&accepted),
                        Err(error) => {
                            let refused = Refused::of(error.reason());
                            if !matches!(error, SendError::Retryable { .. }) || refused.is_lasting() {
                                return Err(refused.failure(error.reason()));
                            }
                        }
                    }
                }
                if requests.len() >= REQUESTS_MAX {
                    joined(requests.join_next().await)?;
                }
                let sink = sink.clone();
                requests.spawn(async move { send(&sink, batch).await });
                Ok(())
            }
            Destination::Files(files) => files.write(&batch),
            Destination::Store(store) => append(store, &batch).await,
        }
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Destination::Endpoint { mut requests, .. } => {
                while let Some(done) = requests.join_next().await {
                    joined(Some(done))?;
                }
                Ok(())
            }
            Destination::Files(files) => files.close(),
            Destination::Store(store) => store
                .shutdown()
                .await
                .map_err(|error| crate::kept::store_failed(&error)),
        }
    }
}

async fn open_store(
    directory: &Path,
    arguments: &GenerateArguments,
    log: &LogFlags,
    config: &[PathBuf],
) -> Result<Destination, Failure> {
    let flags = ServeFlags {
        data_dir: Some(directory.to_owned()),
        object_store_url: arguments.object_store_url.clone(),
        memory_limit: Some(MemoryLimit::Bytes(arguments.memory_limit.0)),
        ..ServeFlags::default()
    };
    let settings = super::super::offline_settings(&flags, log, file::load(config)?)?;
    logging::start(&settings.log, None)?;
    let memory = MemoryBudget::new(usize::try_from(settings.memory.store).unwrap_or(usize::MAX));
    match Store::open(settings.store_config(memory)).await {
        Ok((store, _)) => Ok(Destination::Store(store)),
        Err(error @ StoreError::Locked { .. }) => Err(crate::kept::store_failed(&error)
            .hint("or send to the running server instead, with --endpoint http://127.0.0.1:4317")),
        Err(error) => Err(crate::kept::store_failed(&error)),
    }
}

async fn open_endpoint(endpoint: &str, arguments: &GenerateArguments) -> Result<Destination, Failure> {
    let usage = |error: &dyn std::error::Error| Failure::usage(error.to_string());
    let protocol = arguments
        .protocol
        .parse()
        .map_err(|error: cupola_export::otlp::OtlpConfigError| usage(&error))?;
    let mut config = OtlpConfig::new(protocol, endpoint);
    config.compression = arguments
        .compression
        .parse()
        .map_err(|error: cupola_export::otlp::OtlpConfigError| usage(&error))?;
    config.headers = headers(arguments)?;
    config.tls.ca_file.clone_from(&arguments.ca_file);
    config.tls.cert_file.clone_from(&arguments.cert_file);
    config.tls.key_file.clone_from(&arguments.key_file);
    config.retry.max_elapsed_time = RETRY_TIME_MAX;
    let mut once = config.clone();
    once.retry.enabled = false;
    let first = OtlpSink::new(once).map_err(|error| usage(&error))?;
    let sink = OtlpSink::new(config).map_err(|error| usage(&error))?;
    // Asked for once before the sink, which would try again for a while in silence.
    reach(endpoint).await?;
    Ok(Destination::Endpoint {
        sink: Arc::new(sink),
        first: Some(Box::new(first)),
        requests: JoinSet::new(),
    })
}

/// Those of the environment, and before them what the command line says.
fn headers(arguments: &GenerateArguments) -> Result<Vec<(String, Secret)>, Failure> {
    let given = arguments.headers.iter().map(header);
    let mut headers = given.collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = &arguments.token_file {
        let token = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read {}", file.display())).caused_by(&error))?;
        let value = format!("Bearer {}", token.trim());
        headers.push(("authorization".to_owned(), Secret::new(value)));
    }
    for (name, value) in headers_of_environment()? {
        if !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(&name)) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

/// `NAME=VALUE`.
fn header(text: &Secret) -> Result<(String, Secret), Failure> {
    match text.expose().split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), Secret::new(value.trim())))
        }
        _ => Err(Failure::usage("a --header is not NAME=VALUE")
            .hint("write for example --header 'Authorization=Bearer TOKEN'")),
    }
}

async fn reach(endpoint: &str) -> Result<(), Failure> {
    let parsed = url::Url::parse(endpoint).ok();
    let address = parsed
        .as_ref()
        .and_then(|url| Some((url.host()?, url.port_or_known_default()?)));
    // The sink has taken it as an address.
    let Some((host, port)) = address else {
        return Ok(());
    };
    let connecting = TcpStream::connect(format!("{host}:{port}"));
    let failure = Failure::new(format!("no server answers at {endpoint}"));
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failure
            .caused_by(&error)
            .hint("start one with `cupola serve`, or name another with --endpoint")),
        Err(_) => Err(failure.cause("the connection took too long")),
    }
}

async fn send(sink: &OtlpSink, batch: Batch) -> Result<(), Failure> {
    let sent = sink.send(batch).await;
    let accepted = sent.map_err(|error| Refused::of(error.reason()).failure(error.reason()))?;
    all_accepted(&accepted)
}

fn all_accepted(accepted: &Accepted) -> Result<(), Failure> {
    match accepted.rejected {
        0 => Ok(()),
        rejected => {
            Err(Failure::new(format!("the endpoint rejected {rejected} items")).cause(&accepted.message))
        }
    }
}

fn joined(done: Option<Result<Result<(), Failure>, tokio::task::JoinError>>) -> Result<(), Failure> {
    match done {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Failure::new("a request ended without a result").caused_by(&error)),
        None => Ok(()),
    }
}

async fn append(store: &Store, batch: &Batch) -> Result<(), Failure> {
    for _ in 0..STORE_ATTEMPTS_MAX {
        match store.append(batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_millis(100))).await;
            }
            Err(error) => return Err(Failure::from_error(&error)),
        }
    }
    Err(Failure::new("the data directory took no more").hint("is the disk full?"))
}

/// One directory a tenant: a file a batch in protobuf, or one growing file a signal in text.
pub(crate) struct Files {
    directory: PathBuf,
    format: FileFormat,
    written: u64,
    open: HashMap<(TenantId, Signal), BufWriter<File>>,
}

impl Files {
    fn open(directory: &Path, format: FileFormat) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        Ok(Files {
            directory: directory.to_owned(),
            format,
            written: 0,
            open: HashMap::new(),
        })
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let directory = self.directory.join(batch.tenant().as_str());
        self.written += 1;
        if self.format == FileFormat::Otlp {
            std::fs::create_dir_all(&directory).map_err(|error| failed(&directory, &error))?;
            let path = directory.join(format!("{}-{:06}.pb", batch.signal(), self.written));
            return std::fs::write(&path, batch.payload()).map_err(|error| failed(&path, &error));
        }
        let extension = if self.format == FileFormat::Json {
            "jsonl"
        } else {
            "ndjson"
        };
        let path = directory.join(format!("{}.{extension}", batch.signal()));
        let file = match self.open.entry((batch.tenant().clone(), batch.signal())) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                std::fs::create_dir_all(&directory).map_err(|error| failed(&directory, &error))?;
                entry.insert(BufWriter::new(
                    File::create(&path).map_err(|error| failed(&path, &error))?,
                ))
            }
        };
        let written = match self.format {
            FileFormat::Json => writeln!(file, "{}", batch.to_json()),
            _ => ndjson::write(batch, file),
        };
        written.map_err(|error| failed(&path, &error))
    }

    fn close(self) -> Result<(), Failure> {
        let directory = self.directory;
        self.open
            .into_values()
            .try_for_each(|mut file| file.flush().map_err(|error| failed(&directory, &error)))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}", path.display())).caused_by(error)
}
