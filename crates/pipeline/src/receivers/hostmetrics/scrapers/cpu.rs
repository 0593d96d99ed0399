//! Processor time, from `/proc/stat`, and the processors themselves, from `/proc/cpuinfo` and `/sys`.

use std::collections::BTreeSet;

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const FREQUENCY: Metric = Metric::gauge(
    "system.cpu.frequency",
    "Hz",
    "Current frequency of the CPU core in Hz.",
    &["cpu"],
)
.off();
const LOGICAL_COUNT: Metric = Metric::level(
    "system.cpu.logical.count",
    "{cpu}",
    "Number of available logical CPUs.",
    &[],
);
const PHYSICAL_COUNT: Metric = Metric::level(
    "system.cpu.physical.count",
    "{cpu}",
    "Number of available physical CPUs.",
    &[],
)
.off();
const TIME: Metric = Metric::counter(
    "system.cpu.time",
    "s",
    "Total seconds each logical CPU spent on each mode.",
    &["cpu", "state"],
)
.unless_asked(&["cpu"]);
const UTILIZATION: Metric = Metric::gauge(
    "system.cpu.utilization",
    "1",
    "Difference in system.cpu.time since the last measurement per logical CPU, divided by the elapsed time (value in interval [0,1]).",
    &["cpu", "state"],
)
.unless_asked(&["cpu"])
.off();
const METRICS: &[Metric] = &[FREQUENCY, LOGICAL_COUNT, PHYSICAL_COUNT, TIME, UTILIZATION];

/// Columns of `/proc/stat` and the states that they are, in the order in which the Collector gives them.
const STATES: [(usize, &str); 8] = [
    (0, "user"),
    (2, "system"),
    (3, "idle"),
    (5, "interrupt"),
    (1, "nice"),
    (6, "softirq"),
    (7, "steal"),
    (4, "wait"),
];

/// Seconds of one processor, by column.
#[derive(Clone, Debug, PartialEq)]
struct Times {
    cpu: String,
    columns: [f64; STATES.len()],
}

#[derive(Debug)]
pub(super) struct Cpu {
    recorder: Recorder,
    /// Of the last scrape.
    before: Vec<Times>,
}

impl Cpu {
    pub(super) fn new(config: &PlainConfig) -> Result<Cpu, ConfigError> {
        Ok(Cpu {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.cpu.metrics")?,
            before: Vec::new(),
        })
    }

    fn record_times(&mut self, now: u64, times: Vec<Times>) {
        for one in &times {
            for (column, state) in STATES {
                self.recorder
                    .record(&TIME, now, one.columns[column], &[&one.cpu, state]);
            }
        }
        for before in &self.before {
            // One that was taken out of the machine has none.
            let Some(after) = times.iter().find(|after| after.cpu == before.cpu) else {
                continue;
            };
            let spent: f64 = after.columns.iter().sum::<f64>() - before.columns.iter().sum::<f64>();
            for (column, state) in STATES {
                let share = match spent > 0.0 {
                    true => (after.columns[column] - before.columns[column]) / spent,
                    false => 0.0,
                };
                self.recorder
                    .record(&UTILIZATION, now, share, &[&before.cpu, state]);
            }
        }
        self.before = times;
    }

    fn record_processors(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        if self.recorder.wants(&PHYSICAL_COUNT) {
            let count = physical_cpus(host)? as i64;
            self.recorder.record(&PHYSICAL_COUNT, now, count, &[]);
        }
        if self.recorder.wants(&LOGICAL_COUNT) {
            let count = host.logical_cpus()? as i64;
            self.recorder.record(&LOGICAL_COUNT, now, count, &[]);
        }
        if self.recorder.wants(&FREQUENCY) {
            for (cpu, megahertz) in frequencies(&host.read("proc/cpuinfo")?) {
                let cpu = format!("cpu{cpu}");
                self.recorder
                    .record(&FREQUENCY, now, megahertz * 1_000_000.0, &[&cpu]);
            }
        }
        Ok(())
    }
}

impl Scrape for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        match host.read("proc/stat") {
            Ok(stat) => self.record_times(now, times(&stat, host.ticks_per_second)),
            Err(error) => scraping.failed(2, &error),
        }
        if let Err(error) = self.record_processors(now, host) {
            scraping.failed(1, &error);
        }
        scraping.write(&mut self.recorder);
    }
}

/// Of each processor; the first line is of all together.
fn times(stat: &str, ticks_per_second: u64) -> Vec<Times> {
    let lines = stat.lines().skip(1).take_while(|line| line.starts_with("cpu"));
    let one = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next()?.to_owned();
        let mut columns = [0.0; STATES.len()];
        let mut found = 0;
        for (column, word) in columns.iter_mut().zip(words) {
            *column = word.parse::<u64>().ok()? as f64 / ticks_per_second as f64;
            found += 1;
        }
        // Kernels before 2.6.11 have no `steal`.
        (found >= STATES.len() - 1).then_some(Times { cpu, columns })
    };
    lines.filter_map(one).collect()
}

/// Cores, of each of which the kernel names the threads.
fn physical_cpus(host: &Host) -> Result<usize, ReadError> {
    const CPUS: &str = "sys/devices/system/cpu";
    let names = host.names(CPUS).unwrap_or_default();
    let is_cpu = |name: &&String| {
        let number = name.strip_prefix("cpu").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    for list in ["core_cpus_list", "thread_siblings_list"] {
        let threads = names.iter().filter(is_cpu);
        let lists = threads.filter_map(|cpu| host.read(&format!("{CPUS}/{cpu}/topology/{list}")).ok());
        let cores = lists.collect::<BTreeSet<_>>().len();
        if cores > 0 {
            return Ok(cores);
        }
    }
    Ok(cores_of_packages(&host.read("proc/cpuinfo")?))
}

/// What is said of the cores of each package, where `/sys` says nothing.
fn cores_of_packages(cpuinfo: &str) -> usize {
    let mut packages = std::collections::BTreeMap::new();
    for section in cpuinfo.split("\n\n") {
        if let (Some(package), Some(cores)) = (value(section, "physical id"), value(section, "cpu cores")) {
            packages.insert(package.to_owned(), cores.parse::<usize>().unwrap_or(0));
        }
    }
    packages.values().sum()
}

/// Number of the processor, and megahertz where they are said.
fn frequencies(cpuinfo: &str) -> Vec<(u32, f64)> {
    let sections = cpuinfo.split("\n\n");
    let one = |section: &str| {
        let processor = value(section, "processor")?.parse().ok()?;
        Some((processor, value(section, "cpu MHz")?.parse().ok()?))
    };
    sections.filter_map(one).collect()
}

fn value<'s>(section: &'s str, key: &str) -> Option<&'s str> {
    section.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim_end() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_whole_are_left_out() {
        let stat = "cpu  9 9 9 9 9 9 9 9\ncpu0 100 200 300 400 500 600 700\ncpu1 1 2 x 4 5 6 7 8\n\
                    cpu2 1 2 3\nintr 5\ncpu3 1 1 1 1 1 1 1 1\n";
        let times = times(stat, 100);
        assert_eq!(times.len(), 1);
        assert_eq!(times[0].columns, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]);
    }

    #[test]
    fn cores_are_added_up_over_packages() {
        let info = "processor\t: 0\nphysical id\t: 0\ncpu cores\t: 4\ncpu MHz\t: 2000.5\n\n\
                    processor\t: 1\nphysical id\t: 0\ncpu cores\t: 4\n\nprocessor\t: 2\nphysical id\t: 1\ncpu cores\t: 2\n";
        assert_eq!(cores_of_packages(info), 6);
        assert_eq!(frequencies(info), [(0, 2000.5)]);
    }
}
