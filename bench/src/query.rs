//! The questions of `bench/queries.json` asked of Cupola over HTTP, and of DuckDB and chDB in their own processes, over
//! the same rows on the same processors.
//!
//! Cold is the first answer of a freshly started process; the operating system's page cache is dropped before where
//! that is permitted (the report says so). Warm is the median of the later ones. Answers are compared between the engines: a fast wrong
//! answer is reported as wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use cupola_generator::GeneratorConfig;
use cupola_telemetry::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::load::{self, Load};
use crate::report::{Spread, keep, print_table};
use crate::server::Server;

const QUESTIONS: &str = include_str!("../queries.json");
/// Generated in slices, so that ten million records need not be in memory at once.
const SLICE_BYTES: usize = 256 << 20;

#[derive(Args)]
pub(crate) struct Options {
    /// Rows of logs, and as many of spans.
    #[arg(long, default_value_t = 10_000_000)]
    rows: usize,
    /// Hours that the rows cover.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Answers per question and engine; the first is cold.
    #[arg(long, default_value_t = 6)]
    runs: usize,
    /// Where the data is kept between runs; reused when it is there.
    #[arg(long, default_value = "target/bench/query")]
    directory: PathBuf,
    /// Python with duckdb and chdb; without it only Cupola is measured.
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Deserialize, Serialize, Clone)]
struct Question {
    id: String,
    table: String,
    rows: String,
    cupola: String,
    duckdb: String,
    chdb: String,
}

#[derive(Deserialize)]
struct Questions {
    questions: Vec<Question>,
}

#[derive(Deserialize, Serialize, Default)]
struct Answer {
    id: String,
    #[serde(default)]
    seconds: Vec<f64>,
    #[serde(default)]
    count: usize,
    #[serde(default)]
    rows: Vec<Vec<String>>,
    error: Option<String>,
}

impl Answer {
    fn cold(&self) -> f64 {
        self.seconds.first().copied().unwrap_or(f64::NAN)
    }

    fn warm(&self) -> Spread {
        Spread::of(self.seconds.get(1..).unwrap_or_default())
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let store = options.directory.join("store");
    std::fs::create_dir_all(&options.directory)?;
    if !options.directory.join("filled").exists() {
        fill(&options, &store).await?;
    }
    let questions = filled_questions(&store).await?;
    let asked = options.directory.join("asked.json");
    std::fs::write(&asked, serde_json::to_vec(&questions)?)?;
    let dropped = drop_page_cache();
    let ours = ask_cupola(&store, &questions, options.runs).await?;
    let mut engines = vec![("cupola", ours)];
    if let Some(python) = &options.python {
        for engine in ["duckdb", "chdb"] {
            load_peer(python, engine, &store, &options.directory)?;
            drop_page_cache();
            engines.push((
                engine,
                ask_peer(python, engine, &options.directory, &asked, options.runs)?,
            ));
        }
    } else {
        println!("skipped: DuckDB and chDB (no --python with them; `cargo xtask bench query` installs one)");
    }
    show(&questions, &engines, dropped);
    keep(
        "query",
        &engines
            .iter()
            .map(|(name, answers)| (*name, answers))
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// Sends the rows through the front door, as any client would.
async fn fill(options: &Options, store: &Path) -> Result<()> {
    let span = Duration::from_secs(options.hours * 3600);
    let config = GeneratorConfig {
        seed: options.seed,
        ..GeneratorConfig::default()
    }
    .spread(options.rows as u64, span);
    let server = Server::start(store, None, &[]).await?;
    let sink = load::sink(&server.addresses.grpc, cupola_export::otlp::Compression::None)?;
    for signal in [Signal::Logs, Signal::Traces] {
        let mut generator = cupola_generator::Generator::new(config.clone());
        let mut sent = 0;
        while sent < options.rows {
            let slice = Load::continued(&mut generator, signal, 4_000, SLICE_BYTES, options.rows - sent);
            load::send_all(sink.clone(), &slice.batches).await?;
            sent += slice.items;
            println!("{}: {sent} of {} sent", signal.as_str(), options.rows);
        }
    }
    server.flush().await?;
    let url = format!("http://{}/api/v1/admin/compact", server.addresses.api);
    reqwest::Client::new()
        .post(url)
        .send()
        .await?
        .error_for_status()?;
    server.stop()?;
    std::fs::write(
        options.directory.join("filled"),
        format!("{} rows, seed {}\n", options.rows, options.seed),
    )?;
    Ok(())
}

/// Puts a service, a user, a route and a trace that exist into the questions.
async fn filled_questions(store: &Path) -> Result<Vec<Question>> {
    let parsed: Questions = serde_json::from_str(QUESTIONS)?;
    let server = Server::start(store, None, &[]).await?;
    let service = first(&server, "SELECT service_name, count(*) AS n FROM logs WHERE severity_number >= 17 GROUP BY 1 ORDER BY n DESC LIMIT 1").await?;
    let user = first(&server, "SELECT attributes['user.id'] AS u, count(*) AS n FROM logs WHERE attributes['user.id'] IS NOT NULL GROUP BY 1 ORDER BY n DESC LIMIT 1 OFFSET 1000").await?;
    let route = first(&server, "SELECT attributes['http.route'] AS r, count(*) AS n FROM logs WHERE attributes['http.route'] IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1").await?;
    let trace = first(
        &server,
        "SELECT trace_id, count(*) AS n FROM spans GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1 OFFSET 5000",
    )
    .await?;
    server.stop()?;
    let fill = |text: &str| {
        text.replace("{service}", &service)
            .replace("{user}", &user)
            .replace("{route}", &route)
            .replace("{trace_id}", &trace)
    };
    Ok(parsed
        .questions
        .into_iter()
        .map(|question| Question {
            cupola: fill(&question.cupola),
            duckdb: fill(&question.duckdb),
            chdb: fill(&question.chdb),
            ..question
        })
        .collect())
}

async fn first(server: &Server, query: &str) -> Result<String> {
    let answer = server.sql(query).await?;
    let value = answer
        .pointer("/rows/0/0")
        .with_context(|| format!("no row: {query}"))?;
    Ok(text(value))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn ask_cupola(store: &Path, questions: &[Question], runs: usize) -> Result<Vec<Answer>> {
    let server = Server::start(store, None, &[]).await?;
    let client = reqwest::Client::new();
    let url = format!("http://{}/api/v1/sql", server.addresses.api);
    let mut answers = Vec::new();
    for question in questions {
        let mut answer = Answer {
            id: question.id.clone(),
            ..Answer::default()
        };
        for _ in 0..runs {
            let started = Instant::now();
            let response = client
                .post(&url)
                .json(&serde_json::json!({ "query": question.cupola }))
                .send()
                .await?;
            let status = response.status();
            let body: Value = response.json().await?;
            answer.seconds.push(started.elapsed().as_secs_f64());
            if !status.is_success() {
                answer.error = Some(body.to_string());
                break;
            }
            let rows = body
                .get("rows")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            answer.count = rows.len();
            answer.rows = rows
                .iter()
                .take(200)
                .map(|row| {
                    row.as_array()
                        .map(|cells| cells.iter().map(text).collect())
                        .unwrap_or_default()
                })
                .collect();
        }
        answers.push(answer);
    }
    server.stop()?;
    Ok(answers)
}

fn engines_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/engines.py")
}

fn load_peer(python: &Path, engine: &str, store: &Path, directory: &Path) -> Result<()> {
    let done = directory.join(format!("{engine}.loaded"));
    if done.exists() {
        return Ok(());
    }
    let output = Command::new(python)
        .arg(engines_script())
        .args(["load", engine])
        .arg(store.join("data"))
        .arg(directory)
        .output()?;
    if !output.status.success() {
        bail!(
            "{engine} could not load the rows: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    print!("{}", String::from_utf8_lossy(&output.stdout));
    std::fs::write(done, output.stdout)?;
    Ok(())
}

fn ask_peer(python: &Path, engine: &str, directory: &Path, asked: &Path, runs: usize) -> Result<Vec<Answer>> {
    let output = Command::new(python)
        .arg(engines_script())
        .args(["ask", engine])
        .arg(directory)
        .arg(asked)
        .arg(runs.to_string())
        .output()?;
    if !output.status.success() {
        bail!(
            "{engine} could not answer: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// True where the machine lets us.
fn drop_page_cache() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn show(questions: &[Question], engines: &[(&str, Vec<Answer>)], dropped: bool) {
    println!("\npage cache dropped before each engine: {dropped}");
    let mut head = vec!["question"];
    for (name, _) in engines {
        head.push(name);
    }
    head.push("cupola / best peer");
    head.push("answers");
    for (title, pick) in [
        ("Cold, milliseconds", Answer::cold as fn(&Answer) -> f64),
        ("Warm, milliseconds (median)", |answer: &Answer| {
            answer.warm().median
        }),
    ] {
        let rows: Vec<Vec<String>> = questions.iter().map(|q| row(q, engines, pick)).collect();
        print_table(title, &head, &rows);
    }
}

fn row(question: &Question, engines: &[(&str, Vec<Answer>)], pick: fn(&Answer) -> f64) -> Vec<String> {
    let mut cells = vec![question.id.clone()];
    let found: Vec<Option<&Answer>> = engines
        .iter()
        .map(|(_, answers)| answers.iter().find(|answer| answer.id == question.id))
        .collect();
    for answer in &found {
        cells.push(match answer {
            Some(Answer {
                error: Some(error), ..
            }) => format!("error: {}", error.chars().take(60).collect::<String>()),
            Some(answer) => format!("{:.1}", pick(answer) * 1e3),
            None => "—".to_owned(),
        });
    }
    let ours = found.first().copied().flatten();
    let peers: Vec<&Answer> = found
        .iter()
        .skip(1)
        .filter_map(|a| a.filter(|a| a.error.is_none()))
        .collect();
    let best = peers
        .iter()
        .map(|answer| pick(answer))
        .fold(f64::INFINITY, f64::min);
    cells.push(match ours {
        Some(ours) if ours.error.is_none() && best.is_finite() => format!("{:.2}", pick(ours) / best),
        _ => "—".to_owned(),
    });
    cells.push(match ours {
        Some(ours) if peers.is_empty() => format!("{} rows", ours.count),
        Some(ours) if peers.iter().all(|peer| same(&question.rows, ours, peer)) => "equal".to_owned(),
        _ => "DIFFERENT".to_owned(),
    });
    cells
}

fn same(rule: &str, ours: &Answer, peer: &Answer) -> bool {
    if ours.count != peer.count {
        return false;
    }
    match rule {
        "all" => ours.rows == peer.rows,
        "first" => ours
            .rows
            .iter()
            .map(|r| r.first())
            .eq(peer.rows.iter().map(|r| r.first())),
        _ => true,
    }
}
