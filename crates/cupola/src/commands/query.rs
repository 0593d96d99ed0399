//! `cupola query`: one statement, its answer as a table, JSON, NDJSON or CSV.

use std::io::{Read as _, Write as _};

use cupola_api::SqlAnswer;
use futures::StreamExt as _;

use super::table;
use crate::cli::{Format, QueryArguments, Target};
use crate::client::Client;
use crate::config::LogFlags;
use crate::failure::Failure;
use crate::{logging, terminal};

pub(crate) async fn run(arguments: &QueryArguments, log: &LogFlags) -> Result<(), Failure> {
    let sql = statement(&arguments.sql)?;
    let client = connect(&arguments.target, log).await?;
    let answered = answer(&client, &sql, arguments).await;
    // A data directory is closed properly whatever the answer was.
    let closed = client.close().await;
    answered.and(closed)
}

/// The server or data directory that `target` names.
pub(crate) async fn connect(target: &Target, log: &LogFlags) -> Result<Client, Failure> {
    match &target.data_dir {
        Some(directory) => {
            let settings = super::offline_settings(directory, log)?;
            logging::start(&settings.log, None)?;
            Client::offline(directory, &settings, target.tenant.clone()).await
        }
        None => Client::online(&target.url, target.tenant.clone()),
    }
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
    let timeout = arguments.timeout.map(|span| span.0);
    let accept = match arguments.format {
        Format::Table | Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
    };
    let response = client.sql(sql, accept, timeout).await?;
    if arguments.format != Format::Table {
        return copy(response).await;
    }
    let answer: SqlAnswer = response
        .json()
        .await
        .map_err(|error| Failure::new("cannot read the answer").caused_by(&error))?;
    print!("{}", table::render(&answer, terminal::width()));
    match answer.error {
        Some(error) => Err(Failure::new(error.message).cause("the statement failed after its first rows")),
        None => Ok(()),
    }
}

async fn copy(response: reqwest::Response) -> Result<(), Failure> {
    let mut output = std::io::stdout();
    let mut body = response.bytes_stream();
    let mut last = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Failure::new("the answer broke off").caused_by(&error))?;
        last = chunk.last().copied().or(last);
        match output.write_all(&chunk) {
            Ok(()) => {}
            // Whoever reads us has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::new("cannot write the answer").caused_by(&error)),
        }
    }
    if last.is_some_and(|byte| byte != b'\n') {
        let _ = output.write_all(b"\n");
    }
    let _ = output.flush();
    Ok(())
}
