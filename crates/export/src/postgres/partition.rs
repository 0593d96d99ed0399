//! Partitions by time: which one a row belongs to, what they are called, which are too old. Pure: knows the time only
//! as it is told.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Utc};
use cupola_telemetry::time::to_rfc3339;

use super::config::Partition;
use super::table::{literal, qualified};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_HOUR: u64 = 3_600;
/// Partitions that are made before their time comes.
const AHEAD: usize = 2;
/// At most so many are made for the rows of one batch: rows of all times go to the default partition beyond.
const PER_BATCH_MAX: usize = 32;

/// One partition: the rows from `start` to before `end`, in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Period {
    pub(super) start: u64,
    pub(super) end: u64,
    suffix: String,
}

impl Partition {
    /// The period that a moment is in; `None` for [`Partition::None`] and at the end of what can be counted.
    pub(super) fn period(self, nanos: u64) -> Option<Period> {
        let seconds = nanos / NANOS_PER_SECOND;
        let (format, start, end) = match self {
            Partition::None => return None,
            Partition::Hour => ("%Y%m%d%H", round(seconds, SECONDS_PER_HOUR), SECONDS_PER_HOUR),
            Partition::Day => (
                "%Y%m%d",
                round(seconds, 24 * SECONDS_PER_HOUR),
                24 * SECONDS_PER_HOUR,
            ),
            Partition::Month => {
                let day = moment(seconds)?.date_naive();
                let start = NaiveDate::from_ymd_opt(day.year(), day.month(), 1)?;
                let end = start.checked_add_months(Months::new(1))?;
                let start = u64::try_from(midnight(start).and_utc().timestamp()).ok()?;
                let end = u64::try_from(midnight(end).and_utc().timestamp()).ok()?;
                ("%Y%m", start, end - start)
            }
        };
        Some(Period {
            start: start.checked_mul(NANOS_PER_SECOND)?,
            end: start.checked_add(end)?.checked_mul(NANOS_PER_SECOND)?,
            suffix: moment(start)?.format(format).to_string(),
        })
    }

    /// What the rows of these times need, and what will be needed next. Rows that are older than `oldest`, or of a
    /// future beyond the next periods, are left to the default partition.
    pub(super) fn wanted(self, times: &[u64], now: u64, oldest: u64) -> BTreeSet<Period> {
        let mut ahead = Vec::new();
        let mut moment = now;
        for _ in 0..=AHEAD {
            let Some(period) = self.period(moment) else { break };
            moment = period.end;
            ahead.push(period);
        }
        let newest = ahead.last().map_or(now, |period| period.end);
        let mut wanted = BTreeSet::new();
        for time in times.iter().filter(|time| (oldest..newest).contains(*time)) {
            if wanted.len() >= PER_BATCH_MAX {
                break;
            }
            // Most rows are in the period of the one before.
            if !wanted
                .iter()
                .any(|period: &Period| (period.start..period.end).contains(time))
            {
                wanted.extend(self.period(*time));
            }
        }
        wanted.extend(ahead);
        wanted
    }

    /// The period of a partition that we named; `None` if somebody else did.
    pub(super) fn period_of(self, table: &str, partition: &str) -> Option<Period> {
        let suffix = partition.strip_prefix(table)?.strip_prefix("_p")?;
        let padded = match (self, suffix.len()) {
            (Partition::Hour, 10) => format!("{suffix}0000"),
            (Partition::Day, 8) => format!("{suffix}000000"),
            (Partition::Month, 6) => format!("{suffix}01000000"),
            _ => return None,
        };
        let start = NaiveDateTime::parse_from_str(&padded, "%Y%m%d%H%M%S").ok()?;
        let seconds = u64::try_from(start.and_utc().timestamp()).ok()?;
        self.period(seconds.checked_mul(NANOS_PER_SECOND)?)
    }
}

impl Period {
    pub(super) fn table(&self, table: &str) -> String {
        format!("{table}_p{}", self.suffix)
    }

    pub(super) fn create(&self, schema: &str, table: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})",
            qualified(schema, &self.table(table)),
            qualified(schema, table),
            literal(&to_rfc3339(self.start)),
            literal(&to_rfc3339(self.end)),
        )
    }
}

fn round(seconds: u64, to: u64) -> u64 {
    seconds - seconds % to
}

fn moment(seconds: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)
}

fn midnight(day: NaiveDate) -> NaiveDateTime {
    day.and_time(chrono::NaiveTime::MIN)
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::time::from_rfc3339;

    use super::*;

    fn at(text: &str) -> u64 {
        from_rfc3339(text).unwrap()
    }

    #[test]
    fn a_period_is_named_after_its_start_and_found_by_its_name() {
        let time = at("2026-12-31T23:59:59.999999999Z");
        for (partition, name, start) in [
            (Partition::Hour, "t_p2026123123", "2026-12-31T23:00:00Z"),
            (Partition::Day, "t_p20261231", "2026-12-31T00:00:00Z"),
            (Partition::Month, "t_p202612", "2026-12-01T00:00:00Z"),
        ] {
            let period = partition.period(time).unwrap();
            assert_eq!(period.table("t"), name);
            assert_eq!(
                (period.start, period.end),
                (at(start), at("2027-01-01T00:00:00Z"))
            );
            assert_eq!(partition.period_of("t", name), Some(period));
            assert_eq!(partition.period_of("t", "t_default"), None);
            assert_eq!(partition.period_of("t", "t_p2026"), None);
        }
        assert_eq!(Partition::Day.period_of("t", "t_p20261399"), None);
        assert_eq!(Partition::None.period(time), None);
    }

    #[test]
    fn partitions_are_made_ahead_and_not_for_every_time_that_a_row_claims() {
        let now = at("2026-06-10T12:00:00Z");
        let oldest = at("2026-06-01T00:00:00Z");
        let times = [
            0,
            at("2026-06-03T01:00:00Z"),
            at("2026-06-03T02:00:00Z"),
            now,
            u64::MAX,
        ];
        let names: Vec<String> = Partition::Day
            .wanted(&times, now, oldest)
            .iter()
            .map(|period| period.table("t"))
            .collect();
        assert_eq!(
            names,
            ["t_p20260603", "t_p20260610", "t_p20260611", "t_p20260612"]
        );
        let many: Vec<u64> = (0..1_000)
            .map(|hour| now - hour * 3_600 * NANOS_PER_SECOND)
            .collect();
        assert!(Partition::Hour.wanted(&many, now, 0).len() <= PER_BATCH_MAX + AHEAD + 1);
        assert!(Partition::None.wanted(&many, now, 0).is_empty());
    }
}
