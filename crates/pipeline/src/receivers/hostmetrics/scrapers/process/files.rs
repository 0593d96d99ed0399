//! The files of one process.
//! <https://man7.org/linux/man-pages/man5/proc.5.html>

use crate::receivers::hostmetrics::host::{Host, ReadError};

/// `/proc/[pid]`.
pub(super) struct Files<'h> {
    pub(super) host: &'h Host,
    pub(super) pid: i32,
}

/// Of `stat`, in ticks of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i64,
    /// User, system, and waiting for block devices.
    pub(super) times: [u64; 3],
    /// After the start of the kernel.
    pub(super) started: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
}

/// Of `status`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) name: String,
    pub(super) user: Option<u32>,
    pub(super) threads: Option<u64>,
    /// One bit a signal.
    pub(super) signals_pending: Option<u64>,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

/// Read and written, whether or not a disk had to do with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Io {
    pub(super) bytes: [u64; 2],
    pub(super) calls: [u64; 2],
}

impl Files<'_> {
    fn path(&self, file: &str) -> String {
        format!("proc/{}/{file}", self.pid)
    }

    pub(super) fn read(&self, file: &str) -> Result<String, ReadError> {
        self.host.read(&self.path(file))
    }

    pub(super) fn link(&self, file: &str) -> Result<String, ReadError> {
        self.host.link(&self.path(file))
    }

    pub(super) fn stat(&self) -> Result<Stat, ReadError> {
        let text = self.read("stat")?;
        Stat::parse(&text).ok_or_else(|| self.odd("stat"))
    }

    pub(super) fn status(&self) -> Result<Status, ReadError> {
        self.read("status").map(|text| Status::parse(&text))
    }

    /// Resident and virtual bytes.
    pub(super) fn memory(&self) -> Result<(u64, u64), ReadError> {
        let text = self.read("statm")?;
        let mut pages = text
            .split_ascii_whitespace()
            .map(|number| number.parse::<u64>().ok());
        match (pages.next().flatten(), pages.next().flatten()) {
            (Some(all), Some(resident)) => {
                let bytes = |pages: u64| pages.wrapping_mul(self.host.page_bytes);
                Ok((bytes(resident), bytes(all)))
            }
            _ => Err(self.odd("statm")),
        }
    }

    pub(super) fn io(&self) -> Result<Io, ReadError> {
        self.read("io").map(|text| Io::parse(&text))
    }

    /// Files that it has open.
    pub(super) fn open(&self) -> Result<usize, ReadError> {
        self.host.names(&self.path("fd")).map(|names| names.len())
    }

    /// Voluntary and involuntary ones of all threads; `status` is of the first.
    pub(super) fn context_switches(&self, status: &Status) -> Result<[u64; 2], ReadError> {
        let threads = self.host.numbers(&self.path("task"))?;
        if threads.len() == 1 {
            return Ok([status.voluntary_switches, status.involuntary_switches]);
        }
        let mut sums = [0_u64; 2];
        for thread in threads {
            let status = match self.read(&format!("task/{thread}/status")) {
                Ok(text) => Status::parse(&text),
                Err(error) if error.is_gone() => continue,
                Err(error) => return Err(error),
            };
            sums[0] = sums[0].wrapping_add(status.voluntary_switches);
            sums[1] = sums[1].wrapping_add(status.involuntary_switches);
        }
        Ok(sums)
    }

    pub(super) fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.host.ticks_per_second as f64
    }

    /// To the millisecond, as the Collector rounds them.
    pub(super) fn nanoseconds(&self, ticks: u64) -> u64 {
        let milliseconds = ticks.saturating_mul(1_000) / self.host.ticks_per_second;
        milliseconds.saturating_mul(1_000_000)
    }

    /// Also what is left of one that has ended: empty files.
    fn odd(&self, file: &str) -> ReadError {
        ReadError::new(&self.host.path(&self.path(file)), "it is not as it should be")
    }
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name can have blanks and parentheses itself.
        let (_, rest) = text.rsplit_once(')')?;
        let columns: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered as in the manual, where the state is the third.
        let column = |number: usize| columns.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            parent: columns.get(1)?.parse().ok()?,
            times: [column(14)?, column(15)?, column(42).unwrap_or(0)],
            started: column(22)?,
            minor_faults: column(10)?,
            major_faults: column(12)?,
        })
    }
}

impl Status {
    fn parse(text: &str) -> Status {
        let mut status = Status::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(":\t")) {
            let number = || value.trim().parse().ok();
            match key {
                "Name" => status.name = value.trim_matches([' ', '\t']).to_owned(),
                "Uid" => status.user = value.split('\t').next().and_then(|user| user.parse().ok()),
                "Threads" => status.threads = number(),
                "voluntary_ctxt_switches" => status.voluntary_switches = number().unwrap_or(0),
                "nonvoluntary_ctxt_switches" => status.involuntary_switches = number().unwrap_or(0),
                "ShdPnd" => {
                    let digits = value.get(value.len().saturating_sub(16)..).unwrap_or_default();
                    status.signals_pending = u64::from_str_radix(digits, 16).ok();
                }
                _ => {}
            }
        }
        status
    }
}

impl Io {
    fn parse(text: &str) -> Io {
        let mut io = Io::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let place = match key {
                "rchar" => &mut io.bytes[0],
                "wchar" => &mut io.bytes[1],
                "syscr" => &mut io.calls[0],
                "syscw" => &mut io.calls[1],
                _ => continue,
            };
            *place = value.trim().parse().unwrap_or(0);
        }
        io
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn any_number_of_ticks_is_a_time() {
        let host = Host::new(Path::new("/"));
        let files = Files { host: &host, pid: 1 };
        assert_eq!(files.nanoseconds(3 * host.ticks_per_second / 2), 1_500_000_000);
        assert_eq!(files.nanoseconds(u64::MAX), u64::MAX);
    }

    #[test]
    fn names_cannot_shift_the_columns_of_stat() {
        let mut columns: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        columns[0] = "S".to_owned();
        let text = format!("77 (a) R 1 (b) {}\n", columns.join(" "));
        let stat = Stat::parse(&text).unwrap();
        assert_eq!((stat.parent, stat.times, stat.started), (4, [14, 15, 42], 22));
        assert_eq!((stat.minor_faults, stat.major_faults), (10, 12));
        assert_eq!(Stat::parse("77 (a) S 1 2 3"), None);
        assert_eq!(Stat::parse(""), None);
        // Kernels before 2.6.18 end there.
        let short = format!("77 (a) {}", columns[..20].join(" "));
        assert_eq!(Stat::parse(&short).map(|stat| stat.times), Some([14, 15, 0]));
    }

    #[test]
    fn status_of_any_kernel_is_read() {
        let status = Status::parse(
            "Name:\ta b\nUid:\t1000\t0\t0\t0\nThreads:\t3\nShdPnd:\t0000000000000202\n\
             voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\tmany\nodd\n",
        );
        assert_eq!(
            (status.name.as_str(), status.user, status.threads),
            ("a b", Some(1000), Some(3))
        );
        assert_eq!(
            (status.signals_pending, status.voluntary_switches),
            (Some(0x202), 5)
        );
        assert_eq!(Status::parse(""), Status::default());
    }
}
