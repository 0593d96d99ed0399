//! Figures of a run: tables for people, JSON for the next comparison, and whether the aims are met.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::operation::{Leaves, Operation};
use crate::side::SideName;
use crate::work::{Measured, Mode};

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Case {
    pub(crate) operation: Operation,
    pub(crate) mode: Mode,
    pub(crate) threads: usize,
    pub(crate) side: SideName,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} threads, {:?}, {}",
            self.operation.name(),
            self.threads,
            self.mode,
            self.side.name()
        )
    }
}

/// A case in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) measured: Measured,
    pub(crate) arrived: u64,
    pub(crate) lost: Option<u64>,
}

/// Minimum, median (the lower one of two) and maximum of the rounds: the spread is the noise.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Spread {
            min: at(0),
            median: at(sorted.len().saturating_sub(1) / 2),
            max: at(sorted.len().saturating_sub(1)),
        }
    }

    fn less(self, other: f64) -> Spread {
        let less = |value: f64| (value - other).max(0.0);
        Spread {
            min: less(self.min),
            median: less(self.median),
            max: less(self.max),
        }
    }

    pub(crate) fn show(&self, digits: usize) -> String {
        format!(
            "{:.d$} ({:.d$}–{:.d$})",
            self.median,
            self.min,
            self.max,
            d = digits
        )
    }
}

/// One case, all rounds. Nanoseconds an operation; at a pace, without what it takes to keep it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) case: Case,
    /// CPU time of the thread that calls.
    pub(crate) call: Spread,
    /// By the clock, until the last call had returned.
    pub(crate) wall: Spread,
    /// CPU time of the process, until everything was exported.
    pub(crate) process: Spread,
    /// Of all rounds together.
    pub(crate) made: u64,
    pub(crate) arrived: u64,
    /// Lost, as the side tells itself.
    pub(crate) lost: Option<u64>,
}

impl Row {
    /// CPU time of the process for each record that arrived.
    fn process_of_one_that_arrived(&self) -> f64 {
        self.process.median * self.made as f64 / self.arrived as f64
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
    pub(crate) aims: Vec<Aim>,
    #[cfg(feature = "peers")]
    pub(crate) web: Vec<crate::web::Row>,
}

/// A ratio that we aim at.
#[derive(Debug, Serialize)]
pub(crate) struct Aim {
    operation: Operation,
    threads: usize,
    /// What is compared.
    figure: &'static str,
    side: SideName,
    peer: SideName,
    ratio: f64,
    at_most: f64,
    is_met: bool,
}

impl Figures {
    pub(crate) fn of(samples: &[(Case, Sample)]) -> Figures {
        let mut by_case: BTreeMap<Case, Vec<Sample>> = BTreeMap::new();
        for (case, sample) in samples {
            by_case.entry(*case).or_default().push(*sample);
        }
        let all: Vec<Row> = by_case
            .into_iter()
            .map(|(case, samples)| row(case, &samples))
            .collect();
        let rows: Vec<Row> = all
            .iter()
            .filter(|row| row.case.side != SideName::Nothing)
            .map(|row| without_pacing(row, &all))
            .collect();
        Figures {
            aims: aims(&rows),
            rows,
            #[cfg(feature = "peers")]
            web: Vec::new(),
        }
    }

    pub(crate) fn print(&self) {
        let titles = [
            (Mode::Paced, "Spans and logs, 50,000 a second"),
            (Mode::Full, "As fast as it goes"),
        ];
        for (mode, title) in titles {
            let rows = self.rows.iter().filter(|row| row.case.mode == mode);
            let head = [
                "operation",
                "threads",
                "side",
                "call, ns",
                "clock, ns",
                "process, ns",
                "arrived, %",
                "lost by its own count, %",
                "process, ns for one that arrived",
            ];
            print_table(title, &head, &rows.map(cells).collect::<Vec<_>>());
        }
        let head = [
            "operation",
            "threads",
            "figure",
            "side",
            "peer",
            "ratio",
            "aim",
            "",
        ];
        let aims: Vec<_> = self.aims.iter().map(Aim::cells).collect();
        print_table("Aims", &head, &aims);
    }
}

fn row(case: Case, samples: &[Sample]) -> Row {
    let each = |of: fn(&Measured) -> u64| {
        let of_one =
            move |sample: &Sample| of(&sample.measured) as f64 / sample.measured.measured.max(1) as f64;
        Spread::of(samples.iter().map(of_one))
    };
    Row {
        case,
        call: each(|measured| measured.call_nanos),
        wall: each(|measured| measured.wall_nanos),
        process: each(|measured| measured.process_nanos),
        made: samples.iter().map(|sample| sample.measured.made).sum(),
        arrived: samples.iter().map(|sample| sample.arrived).sum(),
        lost: samples.iter().map(|sample| sample.lost).sum(),
    }
}

fn without_pacing(row: &Row, all: &[Row]) -> Row {
    let pacing = all.iter().find(|other| {
        let side = SideName::Nothing;
        other.case == Case { side, ..row.case }
    });
    match pacing {
        Some(pacing) => Row {
            call: row.call.less(pacing.call.median),
            process: row.process.less(pacing.process.median),
            ..row.clone()
        },
        None => row.clone(),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let arrived = match row.case.operation.leaves() {
        Leaves::Nothing => row.arrived.to_string(),
        _ => format!("{:.1}", row.arrived as f64 / row.made.max(1) as f64 * 100.0),
    };
    let lost = row.lost.filter(|_| row.case.operation.is_record());
    let lost = lost.map_or(String::new(), |lost| {
        format!("{:.1}", lost as f64 / row.made.max(1) as f64 * 100.0)
    });
    let of_arrived = match (row.case.mode, row.case.operation.is_record()) {
        (Mode::Full, true) => format!("{:.0}", row.process_of_one_that_arrived()),
        _ => String::new(),
    };
    let wall = match row.case.mode {
        Mode::Full => row.wall.show(1),
        Mode::Paced => String::new(),
    };
    vec![
        row.case.operation.name().to_owned(),
        row.case.threads.to_string(),
        row.case.side.name(),
        row.call.show(1),
        wall,
        row.process.show(1),
        arrived,
        lost,
        of_arrived,
    ]
}

/// Each of Cupola's sides beside the peers that do the same thing.
fn aims(rows: &[Row]) -> Vec<Aim> {
    let mut aims = Vec::new();
    for row in rows.iter().filter(|row| row.case.side.is_cupola()) {
        for other in rows {
            let is_same = other.case
                == Case {
                    side: other.case.side,
                    ..row.case
                };
            let at_most = at_most(row.case.side, other.case.side, row.case.operation);
            let (true, Some(at_most)) = (is_same, at_most) else {
                continue;
            };
            for (figure, of) in figures(&row.case) {
                let ratio = of(row) / of(other);
                aims.push(Aim {
                    operation: row.case.operation,
                    threads: row.case.threads,
                    figure,
                    side: row.case.side,
                    peer: other.case.side,
                    ratio,
                    at_most,
                    is_met: ratio <= at_most,
                });
            }
        }
    }
    aims
}

type Figure = (&'static str, fn(&Row) -> f64);

/// What of a case is compared. At full speed a record that is dropped costs next to nothing, so there it is the cost of one that
/// arrived.
fn figures(case: &Case) -> &'static [Figure] {
    match case.mode {
        Mode::Paced => &[
            ("call, at a pace", |row| row.call.median),
            ("process, at a pace", |row| row.process.median),
        ],
        Mode::Full if case.operation.is_record() => {
            &[("process for one that arrived", Row::process_of_one_that_arrived)]
        }
        Mode::Full => &[("process", |row| row.process.median)],
    }
}

/// The aim of a side of ours against another, if there is one.
#[cfg(feature = "peers")]
fn at_most(side: SideName, other: SideName, operation: Operation) -> Option<f64> {
    let is_measurement = operation.leaves() == Leaves::Measurements;
    match (side, other) {
        (_, SideName::OpentelemetrySdk) if is_measurement => Some(0.5),
        (
            SideName::CupolaCore | SideName::CupolaCoreUnscrubbed | SideName::CupolaOpentelemetry,
            SideName::OpentelemetrySdk,
        )
        | (SideName::CupolaTracing, SideName::TracingOpentelemetry) => Some(1.0 / 3.0),
        (_, SideName::Fastrace) => Some(2.0),
        _ => None,
    }
}

/// Without peers there is nothing to be compared with.
#[cfg(not(feature = "peers"))]
fn at_most(_side: SideName, _other: SideName, _operation: Operation) -> Option<f64> {
    None
}

impl Aim {
    fn cells(&self) -> Vec<String> {
        let is_met = if self.is_met { "met" } else { "**missed**" };
        vec![
            self.operation.name().to_owned(),
            self.threads.to_string(),
            self.figure.to_owned(),
            self.side.name(),
            self.peer.name(),
            format!("{:.2}", self.ratio),
            format!("{:.2}", self.at_most),
            is_met.to_owned(),
        ]
    }
}

/// A Markdown table, so that a run can be pasted into `docs/benchmarks.md` as it is.
pub(crate) fn print_table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    println!("\n### {title}\n");
    println!("| {} |", head.join(" | "));
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
