//! `cupola trace`: one trace as a waterfall.

use std::path::PathBuf;

use cupola_api::Trace;
use cupola_telemetry::TraceId;

use super::{query, waterfall};
use crate::cli::TraceArguments;
use crate::client::Client;
use crate::config::LogFlags;
use crate::failure::Failure;
use crate::output;
use crate::terminal::{self, Paint};

pub(crate) async fn run(
    arguments: &TraceArguments,
    log: &LogFlags,
    config: &[PathBuf],
    paint: Paint,
) -> Result<(), Failure> {
    let id = TraceId::parse(arguments.id.trim()).map_err(|error| {
        Failure::usage(format!("`{}` is not a trace id", arguments.id))
            .caused_by(&error)
            .hint("a trace id has 32 hexadecimal digits; find some with `cupola query \"SELECT trace_id FROM spans\"`")
    })?;
    let client = query::connect(&arguments.target, log, config).await?;
    let fetched = fetch(&client, &id.to_string()).await;
    let closed = client.close().await;
    let drawn = waterfall::render(&fetched?, terminal::width(), paint, arguments.attributes);
    output::print(&drawn)?;
    closed
}

async fn fetch(client: &Client, id: &str) -> Result<Trace, Failure> {
    let response = client.get(&format!("/api/v1/traces/{id}"), &[]).await?;
    response
        .json()
        .await
        .map_err(|error| Failure::new("cannot read the trace").caused_by(&error))
}
