//! What a web server pays: requests to axum that ask SQLite once, answered by servers that differ in their instrumentation
//! alone. Each request has a span, a log record with the ids of the span, and a measurement of how long it took.

mod load;
mod stacks;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use crate::cpu;
use crate::report::{Spread, print_table};
use crate::run::{Receiver, get as ask};
use stacks::{Stack, Started};

/// Orders that can be asked for.
const ORDERS: i64 = 1000;
/// Where a server says how much CPU time it has had, everything exported.
const CPU: &str = "/cpu";
/// Overhead that we aim at, in CPU time of a request.
const OVERHEAD_MAX: f64 = 0.05;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    stack: Stack,
    /// Where it exports to.
    #[arg(long)]
    endpoint: String,
}

#[derive(Args)]
pub(crate) struct RunOptions {
    /// How often each server is asked for a while, many short times rather than few long ones, so that what the machine does
    /// meanwhile meets all of them; none, and the web server is left out.
    #[arg(long, default_value_t = 40)]
    web_rounds: usize,
    /// How long it is asked in a round.
    #[arg(long, default_value_t = 300)]
    web_milliseconds: u64,
}

/// A server, all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    stack: Stack,
    requests_per_second: Spread,
    /// Of the server's process, export included.
    cpu_micros: Spread,
    /// CPU time beyond that of the bare server in the same round, as a part of it.
    overhead: Spread,
    requests: u64,
    spans_arrived: u64,
    logs_arrived: u64,
    is_aim_met: bool,
}

/// Serves, until the process is ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    cpu::pin(&[cpu::OWN]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let started = {
        // One of the peers wants to be started within a runtime.
        let _entered = runtime.enter();
        options.stack.start(&options.endpoint)?
    };
    runtime.block_on(serve(started))
}

async fn serve(started: Started) -> Result<()> {
    let pool = orders().await?;
    let routes = Router::new().route("/orders/{id}", get(order)).with_state(pool);
    let flush = started.flush;
    let own = Router::new().route(CPU, get(move || time(flush.clone())));
    let routes = (started.instrument)(routes).merge(own);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    axum::serve(listener, routes).await?;
    Ok(())
}

/// A table in memory, with one connection, whose it is.
async fn orders() -> Result<SqlitePool> {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect("sqlite::memory:")
        .await?;
    sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, price INTEGER NOT NULL)")
        .execute(&pool)
        .await?;
    for id in 0..ORDERS {
        sqlx::query("INSERT INTO orders VALUES (?, ?, ?)")
            .bind(id)
            .bind(format!("item {id}"))
            .bind(id * 7 % 100)
            .execute(&pool)
            .await?;
    }
    Ok(pool)
}

#[derive(Serialize)]
struct Order {
    id: i64,
    item: String,
    price: i64,
}

async fn order(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Json<Order>, StatusCode> {
    let row = sqlx::query_as("SELECT id, item, price FROM orders WHERE id = ?").bind(id);
    let (id, item, price) = row.fetch_one(&pool).await.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(Json(Order { id, item, price }))
}

async fn time(flush: Arc<dyn Fn() + Send + Sync>) -> String {
    // Exporting may wait, and for this runtime.
    let _ = tokio::task::spawn_blocking(move || flush()).await;
    cpu::of_process().as_nanos().to_string()
}

/// Starts a server of each kind and asks one after the other, again and again.
pub(crate) fn measure(options: &RunOptions, receiver: &Receiver) -> Result<Vec<Row>> {
    if options.web_rounds == 0 {
        return Ok(Vec::new());
    }
    let mut servers = Vec::new();
    for stack in Stack::value_variants() {
        let server = Server::start(*stack, &receiver.endpoint)?;
        server.ask(Duration::from_millis(options.web_milliseconds / 4))?;
        servers.push((server, Vec::new()));
    }
    for round in 0..options.web_rounds {
        for (server, rounds) in &mut servers {
            receiver.take()?;
            rounds.push(server.round(options, receiver)?);
        }
        eprintln!("web server, round {} of {}", round + 1, options.web_rounds);
    }
    let bare = servers
        .first()
        .map(|(_, rounds)| rounds.clone())
        .unwrap_or_default();
    let rows: Vec<Row> = servers
        .iter()
        .map(|(server, rounds)| Row::of(server.stack, rounds, &bare))
        .collect();
    print(&rows);
    Ok(rows)
}

/// What a server did in a round.
#[derive(Clone, Copy, Debug)]
struct Round {
    requests: u64,
    seconds: f64,
    cpu_nanos: u64,
    spans: u64,
    logs: u64,
}

impl Round {
    fn cpu_micros(&self) -> f64 {
        self.cpu_nanos as f64 / self.requests.max(1) as f64 / 1000.0
    }
}

struct Server {
    stack: Stack,
    process: Child,
    address: String,
}

impl Server {
    fn start(stack: Stack, endpoint: &str) -> Result<Server> {
        let name = stack.to_possible_value().context("a stack has no name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--stack", name.get_name(), "--endpoint", endpoint])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start a web server")?;
        let output = process.stdout.take().context("a web server has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Server {
            stack,
            process,
            address: address.trim().to_owned(),
        })
    }

    fn ask(&self, length: Duration) -> Result<load::Asked> {
        load::ask(&self.address, ORDERS, length)
    }

    fn cpu_nanos(&self) -> Result<u64> {
        let text = String::from_utf8(ask(&self.address, CPU)?)?;
        Ok(text.trim().parse()?)
    }

    fn round(&self, options: &RunOptions, receiver: &Receiver) -> Result<Round> {
        let before = self.cpu_nanos()?;
        let asked = self.ask(Duration::from_millis(options.web_milliseconds))?;
        let after = self.cpu_nanos()?;
        let arrived = receiver.take()?;
        Ok(Round {
            requests: asked.answers,
            seconds: asked.seconds,
            cpu_nanos: after.saturating_sub(before),
            spans: arrived.spans,
            logs: arrived.logs,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Row {
    fn of(stack: Stack, rounds: &[Round], bare: &[Round]) -> Row {
        let pairs = rounds.iter().zip(bare);
        let overhead = Spread::of(pairs.map(|(own, bare)| own.cpu_micros() / bare.cpu_micros() - 1.0));
        Row {
            stack,
            requests_per_second: Spread::of(rounds.iter().map(|round| round.requests as f64 / round.seconds)),
            cpu_micros: Spread::of(rounds.iter().map(Round::cpu_micros)),
            requests: rounds.iter().map(|round| round.requests).sum(),
            spans_arrived: rounds.iter().map(|round| round.spans).sum(),
            logs_arrived: rounds.iter().map(|round| round.logs).sum(),
            is_aim_met: overhead.median < OVERHEAD_MAX,
            overhead,
        }
    }
}

fn print(rows: &[Row]) {
    let cells = |row: &Row| {
        let percent = |part: f64| format!("{:.1}", part * 100.0);
        let share = |arrived: u64| percent(arrived as f64 / row.requests.max(1) as f64);
        let name = row.stack.to_possible_value();
        let (is_ours, is_met) = (row.stack.is_cupola(), row.is_aim_met);
        vec![
            name.map_or(String::new(), |name| name.get_name().to_owned()),
            row.requests_per_second.show(0),
            row.cpu_micros.show(1),
            format!(
                "{} ({}–{})",
                percent(row.overhead.median),
                percent(row.overhead.min),
                percent(row.overhead.max)
            ),
            share(row.spans_arrived),
            share(row.logs_arrived),
            match (is_ours, is_met) {
                (false, _) => String::new(),
                (true, true) => "met".to_owned(),
                (true, false) => "**missed**".to_owned(),
            },
        ]
    };
    let head = [
        "instrumented by",
        "requests/s",
        "CPU, µs a request",
        "more CPU, %",
        "spans arrived, %",
        "logs arrived, %",
        "below 5 %",
    ];
    let title = "Requests to axum that ask SQLite once";
    print_table(title, &head, &rows.iter().map(cells).collect::<Vec<_>>());
}
