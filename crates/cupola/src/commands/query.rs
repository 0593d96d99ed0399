//! `cupola query`: one statement, its answer as a table, column by column, or as JSON, NDJSON or CSV. Ctrl-C ends the statement, on the server too.

use std::io::Read as _;
use std::path::PathBuf;

use cupola_api::{ErrorDetail, SqlAnswer};
use cupola_telemetry::TenantId;
use futures::StreamExt as _;

use super::table::{self, Layout};
use crate::cli::{Format, LimitArguments, QueryArguments, Target};
use crate::client::Client;
use crate::config::{LogFlags, ServeFlags, file};
use crate::failure::Failure;
use crate::signals::StopSignals;
use crate::{logging, output, terminal};

/// Of a JSON answer this much is looked at for the error that may end it.
const TAIL_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn run(
    arguments: &QueryArguments,
    log: &LogFlags,
    config: &[PathBuf],
) -> Result<(), Failure> {
    let sql = statement(&arguments.sql)?;
    let client = connect(&arguments.target, log, config).await?;
    let mut signals = StopSignals::listen()?;
    StopSignals::exit_on_second()?;
    // What is dropped closes its connection, and with it the server ends the statement.
    let answered = tokio::select! {
        answered = answer(&client, &sql, arguments) => answered,
        name = signals.asked() => Err(Failure::interrupted(name)),
    };
    // A data directory is closed properly whatever the answer was.
    let closed = client.close().await;
    answered.and(closed)
}

/// The server or data directory that `target` names. Only a directory needs the configuration: it says where segments are.
pub(crate) async fn connect(target: &Target, log: &LogFlags, config: &[PathBuf]) -> Result<Client, Failure> {
    let Some(directory) = &target.data_dir else {
        return Client::online(&target.url, target.tenant.clone());
    };
    let flags = ServeFlags {
        data_dir: Some(directory.clone()),
        object_store_url: target.object_store_url.clone(),
        ..ServeFlags::default()
    };
    let settings = super::offline_settings(&flags, log, file::load(config)?)?;
    logging::start(&settings.log, None)?;
    Client::offline(&settings, target.tenant.clone()).await
}

fn statement(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::new("cannot read the statement from standard input").caused_by(&error))?;
    Ok(text)
}

async fn answer(client: &Client, sql: &str, arguments: &QueryArguments) -> Result<(), Failure> {
    let accept = match arguments.format {
        Format::Table | Format::Vertical | Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
    };
    let response = client.sql(sql, accept, &arguments.limits).await?;
    if !matches!(arguments.format, Format::Table | Format::Vertical) {
        return copy(response, arguments.format).await;
    }
    let answer: SqlAnswer = response
        .json()
        .await
        .map_err(|error| Failure::new("cannot read the answer").caused_by(&error))?;
    let layout = match (arguments.format, terminal::width_if_any()) {
        (Format::Vertical, _) => Layout::Vertical,
        (_, Some(width)) => Layout::Within(width),
        (_, None) => Layout::Uncut,
    };
    output::print(&table::render(&answer, layout))?;
    if let Some(error) = answer.error {
        return Err(failed_late(error));
    }
    let of_default = arguments.target.tenant == TenantId::default_tenant();
    if answer.rows.is_empty() && of_default && others_have_data(client).await {
        eprintln!(
            "hint: the tenant `default` has no data, others have; name one with --tenant or CUPOLA_TENANT"
        );
    }
    Ok(())
}

/// Whether the tenant asked has nothing at all, and others have. Only for a hint: what cannot be known is no.
async fn others_have_data(client: &Client) -> bool {
    let anything = "SELECT 1 FROM (SELECT 1 FROM records LIMIT 1) UNION ALL SELECT 1 FROM (SELECT 1 FROM series LIMIT 1)";
    let limits = LimitArguments::default();
    let own = async {
        let response = client.sql(anything, "application/json", &limits).await.ok()?;
        response.json::<SqlAnswer>().await.ok()
    };
    if own.await.is_none_or(|answer| !answer.rows.is_empty()) {
        return false;
    }
    let status = async {
        let response = client.get("/api/v1/status", &[]).await.ok()?;
        let status: serde_json::Value = response.json().await.ok()?;
        status["store"]["tenants"].as_u64()
    };
    // One is Cupola's own.
    status.await.is_some_and(|tenants| tenants > 1)
}

async fn copy(response: reqwest::Response, format: Format) -> Result<(), Failure> {
    let mut body = response.bytes_stream();
    let mut tail = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Failure::new("the answer broke off").caused_by(&error))?;
        keep_tail(&mut tail, &chunk);
        if !output::write(&chunk)? {
            return Ok(());
        }
    }
    if tail.last().is_some_and(|byte| *byte != b'\n') {
        output::write(b"\n")?;
    }
    // The other formats have no place for an error: their answers break off.
    match late_error(&tail) {
        Some(error) if format == Format::Json => Err(failed_late(error)),
        _ => Ok(()),
    }
}

fn keep_tail(tail: &mut Vec<u8>, chunk: &[u8]) {
    tail.extend_from_slice(chunk);
    if tail.len() > 2 * TAIL_BYTES_MAX {
        tail.drain(..tail.len() - TAIL_BYTES_MAX);
    }
}

/// The error that ends a JSON answer in place of `stats`. Inside a text its quotes would be escaped.
fn late_error(tail: &[u8]) -> Option<ErrorDetail> {
    let text = String::from_utf8_lossy(tail);
    let (_, error) = text.trim_end().rsplit_once("],\"error\":")?;
    serde_json::from_str(error.strip_suffix('}')?).ok()
}

fn failed_late(error: ErrorDetail) -> Failure {
    let failure = Failure::new(error.message).cause("the statement failed after its first rows");
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_at_the_end_of_an_answer_is_found_and_one_in_a_row_is_not() {
        let found = |text: &str| late_error(text.as_bytes()).map(|error| error.message);
        let failed =
            r#"{"columns":[],"rows":[[1]],"error":{"code":"query_failed","message":"divide by zero"}}"#;
        assert_eq!(found(failed), Some("divide by zero".to_owned()));
        assert_eq!(found(&format!("{failed}\n")), Some("divide by zero".to_owned()));
        assert_eq!(
            found(r#"{"columns":[],"rows":[["],\"error\":{}}"]],"stats":{}}"#),
            None
        );
        let row = r#"{"rows":[[{"a":[],"error":{"code":"c","message":"m"}}]],"stats":{"rows":1}}"#;
        assert_eq!(found(row), None);
    }

    #[test]
    fn only_the_end_of_an_answer_is_kept() {
        let mut tail = Vec::new();
        for number in 0..1_000_u32 {
            keep_tail(&mut tail, &number.to_le_bytes().repeat(100));
            assert!(tail.len() <= 2 * TAIL_BYTES_MAX + 400);
        }
        assert!(tail.ends_with(&999_u32.to_le_bytes()));
    }
}
