//! Time zones by name, and what their clocks show.

use chrono::{DateTime, Local, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone, Utc};
use chrono_tz::{OffsetName as _, Tz};

/// Where a time without an offset was written down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Zone {
    /// Of the machine.
    Local,
    Named(Tz),
}

impl Zone {
    pub(crate) const UTC: Zone = Zone::Named(Tz::UTC);

    pub(crate) fn named(name: &str) -> Option<Zone> {
        match name {
            "Local" => Some(Zone::Local),
            name => name.parse().ok().map(Zone::Named),
        }
    }

    /// The moment at which clocks show `time`: the first one where they show it twice, and, where they skip it, what they
    /// would have shown without the change.
    pub(crate) fn place(&self, time: NaiveDateTime) -> DateTime<Utc> {
        match self {
            Zone::Local => place_in(&Local, time),
            Zone::Named(zone) => place_in(zone, time),
        }
    }

    /// The moment at which clocks that show `time` call their time zone `name`: in this zone if it has that name then,
    /// otherwise in the zone of that name.
    pub(crate) fn abbreviated(&self, name: &str, time: NaiveDateTime) -> Result<DateTime<Utc>, String> {
        if name == "UTC" {
            return Ok(time.and_utc());
        }
        if let Zone::Named(zone) = self {
            let found = match zone.from_local_datetime(&time) {
                MappedLocalTime::Single(one) => vec![one],
                MappedLocalTime::Ambiguous(first, second) => vec![first, second],
                MappedLocalTime::None => Vec::new(),
            };
            if let Some(found) = found
                .into_iter()
                .find(|at| at.offset().abbreviation() == Some(name))
            {
                return Ok(found.to_utc());
            }
        }
        match Zone::named(name) {
            Some(zone) => Ok(zone.place(time)),
            None => Err(format!(
                "`{name}` is no time zone; say which with `location` or `time_zone_locations`"
            )),
        }
    }
}

fn place_in<Z: TimeZone>(zone: &Z, time: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(one) | MappedLocalTime::Ambiguous(one, _) => one.to_utc(),
        MappedLocalTime::None => {
            let before = zone
                .offset_from_utc_datetime(&(time - TimeDelta::days(1)))
                .fix()
                .local_minus_utc();
            (time - TimeDelta::seconds(i64::from(before))).and_utc()
        }
    }
}
