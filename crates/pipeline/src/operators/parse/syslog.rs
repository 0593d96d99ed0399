//! `syslog_parser`: priority, header and message of syslog, as attributes with the Collector's names.

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use super::syslog_message::{self, Message, PRIORITY_MAX, Stamp};
use super::{Frame, ParserConfig, map};
use crate::operators::Work;
use crate::operators::build::{Built, Making, Wrong, edit, wrong};
use crate::operators::entry::Entry;
use crate::operators::time::TimeParser;
use crate::operators::value::{Fields, Value};
use crate::time_text::{Zone, without_year};

/// Of a message with a count of octets, unless `max_octets` says otherwise.
const OCTETS_MAX: usize = 8192;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "cron2", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
];

/// By the severity of syslog: that of OpenTelemetry, and the word.
const SEVERITIES: [(i32, &str); 8] = [
    (21, "emerg"),
    (19, "alert"),
    (18, "crit"),
    (17, "err"),
    (13, "warning"),
    (10, "notice"),
    (9, "info"),
    (5, "debug"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[serde(alias = "RFC3164")]
    Rfc3164,
    #[serde(alias = "RFC5424")]
    Rfc5424,
    /// Anything; a priority in front of it is read.
    #[serde(alias = "None", alias = "NONE")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Trailer {
    #[serde(rename = "LF")]
    Lf,
    #[serde(rename = "NUL")]
    Nul,
}

/// Settings that the operator and the receiver have in common.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogConfig {
    pub protocol: Option<Protocol>,
    /// The time zone of RFC 3164, whose times have none. UTC unless given.
    pub location: String,
    pub enable_octet_counting: bool,
    pub allow_skip_pri_header: bool,
    pub non_transparent_framing_trailer: Option<Trailer>,
    pub max_octets: usize,
}

impl SyslogConfig {
    pub(crate) fn check(&self) -> Result<(Protocol, Zone), (String, String)> {
        let problem = |key: &str, problem: &str| Err((key.to_owned(), problem.to_owned()));
        let Some(protocol) = self.protocol else {
            return problem("protocol", "is missing: rfc3164, rfc5424 or none");
        };
        if self.non_transparent_framing_trailer.is_some() {
            let key = "non_transparent_framing_trailer";
            if self.enable_octet_counting {
                return problem(
                    key,
                    "cannot be set together with `enable_octet_counting`: a message ends in one way",
                );
            }
            if protocol != Protocol::Rfc5424 {
                return problem(key, "is for `protocol: rfc5424` alone");
            }
        }
        let location = if self.location.is_empty() {
            "UTC"
        } else {
            &self.location
        };
        match Zone::named(location) {
            Some(zone) => Ok((protocol, zone)),
            None => problem(
                "location",
                &format!("`{location}` is no time zone; one is named as in `Europe/Berlin`"),
            ),
        }
    }
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let frame: ParserConfig = making.read_keys(&super::PARSER_KEYS)?;
    let config: SyslogConfig = making.read()?;
    parser(&config, frame)
}

pub(super) fn parser(config: &SyslogConfig, frame: ParserConfig) -> Result<Box<dyn Work>, Wrong> {
    let (protocol, zone) = config.check().map_err(|(key, problem)| wrong(key, problem))?;
    let mut frame = Frame::new(frame)?;
    if frame.time.is_none() && protocol != Protocol::None {
        frame.time = Some(TimeParser::native());
    }
    let reader = Reader {
        protocol,
        zone,
        config: config.clone(),
    };
    edit(move |entry, now| reader.apply(&frame, entry, now))
}

struct Reader {
    protocol: Protocol,
    zone: Zone,
    config: SyslogConfig,
}

impl Reader {
    fn apply(&self, frame: &Frame, entry: &mut Entry, now: DateTime<Utc>) -> Result<(), String> {
        let mut severity = None;
        frame.apply_timed(entry, now, |value| {
            let read = self.read(value.as_text()?, now)?;
            severity = read.severity;
            Ok((Value::Map(read.fields), read.timed))
        })?;
        if let Some((number, text)) = severity.and_then(|severity| SEVERITIES.get(usize::from(severity))) {
            entry.severity = *number;
            entry.severity_text = (*text).to_owned();
        }
        entry.attributes.remove("timestamp");
        Ok(())
    }

    fn read(&self, text: &str, now: DateTime<Utc>) -> Result<Read, String> {
        let text = match self.config.enable_octet_counting {
            true => self.counted(text)?,
            false => text,
        };
        let text = match self.config.non_transparent_framing_trailer {
            Some(Trailer::Lf) => text.strip_suffix('\n').unwrap_or(text),
            Some(Trailer::Nul) => text.strip_suffix('\0').unwrap_or(text),
            None => text,
        };
        if self.protocol == Protocol::None {
            return Ok(raw(text));
        }
        let without_priority =
            self.config.allow_skip_pri_header && !self.config.enable_octet_counting && !text.starts_with('<');
        let prefixed;
        let text = match without_priority {
            true => {
                prefixed = format!("<0>{text}");
                prefixed.as_str()
            }
            false => text,
        };
        // Further lines belong to the message, of which the protocol knows one.
        let (line, further) = match text.find('\n') {
            Some(at) if self.protocol == Protocol::Rfc3164 && !self.config.enable_octet_counting => {
                text.split_at(at)
            }
            _ => (text, ""),
        };
        let message = match self.protocol {
            Protocol::Rfc3164 => syslog_message::rfc3164(line.strip_suffix('\r').unwrap_or(line))?,
            _ => syslog_message::rfc5424(line)?,
        };
        self.fields(&message, further, without_priority, now)
    }

    /// Without the count of octets in front of it.
    fn counted<'m>(&self, text: &'m str) -> Result<&'m str, String> {
        let wrong = || "expected the number of octets and a space before the message".to_owned();
        let (count, rest) = text.split_once([' ', '\n', '\t', '\r']).ok_or_else(wrong)?;
        let plain = !count.starts_with('0') && count.bytes().all(|digit| digit.is_ascii_digit());
        let octets: usize = count.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        let most = if self.config.max_octets == 0 {
            OCTETS_MAX
        } else {
            self.config.max_octets
        };
        if self.protocol != Protocol::None && octets > most {
            return Err(format!(
                "the message says that it has {octets} octets; `max_octets` is {most}"
            ));
        }
        // They were counted before the text was decoded, which makes it longer where a character is not UTF-8.
        match rest.len() < octets {
            true => Err(format!(
                "the message has {} octets and says that they are {octets}",
                rest.len()
            )),
            false => Ok(rest),
        }
    }

    fn fields(
        &self,
        message: &Message<'_>,
        further: &str,
        bare: bool,
        now: DateTime<Utc>,
    ) -> Result<Read, String> {
        let mut fields = Fields::default();
        let time = match message.stamp {
            Stamp::Missing => None,
            Stamp::Exact(time) => Some(time.to_utc()),
            Stamp::WithoutYear(time) => Some(without_year(now, |year| {
                let time = time
                    .with_year(year)
                    .ok_or("there is no 29th of February in this year")?;
                Ok(self.zone.place(time))
            })?),
        };
        if let Some(nanos) = time.and_then(|time| time.timestamp_nanos_opt()) {
            fields.set("timestamp", Value::Time(nanos));
        }
        let texts = [
            ("hostname", message.hostname),
            ("appname", message.appname),
            ("proc_id", message.proc_id),
            ("msg_id", message.msg_id),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                fields.set(key, text);
            }
        }
        if let Some(text) = message.message {
            fields.set("message", format!("{text}{further}"));
        }
        if let Some(elements) = &message.structured_data {
            let element = |(id, parameters): &syslog_message::Element<'_>| {
                let pairs = parameters
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())));
                ((*id).to_owned(), map(pairs))
            };
            fields.set("structured_data", map(elements.iter().map(element)));
        }
        if let Some(version) = message.version {
            fields.set("version", i64::from(version));
        }
        if !bare {
            set_priority(&mut fields, message.priority);
        }
        let severity = (!bare).then_some(message.priority % 8);
        Ok(Read {
            fields,
            severity,
            timed: time.is_some(),
        })
    }
}

/// What was read of one message.
struct Read {
    fields: Fields,
    /// Of syslog.
    severity: Option<u8>,
    /// Whether it says when it was written.
    timed: bool,
}

/// A message of no protocol: its priority, if it has one, stays where it is.
fn raw(text: &str) -> Read {
    let mut fields = Fields::default();
    // As digits alone: `<007>` is the priority 7 here.
    let digits = text
        .strip_prefix('<')
        .and_then(|text| text.split_once('>'))
        .map(|(digits, _)| digits);
    let plain =
        digits.filter(|digits| digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit()));
    let priority = plain
        .and_then(|digits| digits.parse().ok())
        .filter(|priority| *priority <= PRIORITY_MAX);
    if let Some(priority) = priority {
        set_priority(&mut fields, priority);
    }
    fields.set("message", text);
    Read {
        fields,
        severity: priority.map(|priority| priority % 8),
        timed: false,
    }
}

fn set_priority(fields: &mut Fields, priority: u8) {
    let facility = priority / 8;
    fields.set("priority", i64::from(priority));
    fields.set("facility", i64::from(facility));
    fields.set(
        "facility_text",
        FACILITIES.get(usize::from(facility)).copied().unwrap_or_default(),
    );
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    let _ = syslog_message::rfc3164(text);
    let _ = syslog_message::rfc5424(text);
    let _ = raw(text);
}
