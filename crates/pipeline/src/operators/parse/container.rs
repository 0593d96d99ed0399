//! `container`: lines that Docker, containerd and CRI-O write for a container. Parts of one line that the runtime has cut
//! are joined again; what the path tells of Kubernetes goes into the resource.

use chrono::{DateTime, Utc};
use cupola_config::units::ByteSize;
use serde::Deserialize;

use super::{Frame, container_path, map};
use crate::operators::build::{Built, Making};
use crate::operators::entry::{Entry, Origin};
use crate::operators::field::Field;
use crate::operators::transform::recombine::Recombine;
use crate::operators::value::Value;
use crate::operators::{Failed, Made, Work};

const PATH: &str = "log.file.path";

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Docker,
    Crio,
    Containerd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Found out for each line unless given.
    format: Option<Format>,
    add_metadata_from_filepath: bool,
    max_log_size: ByteSize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            format: None,
            add_metadata_from_filepath: true,
            max_log_size: ByteSize(1 << 20),
        }
    }
}

struct Container {
    frame: Frame,
    config: Config,
    parts: Recombine,
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let frame = Frame::read(making)?;
    let config: Config = making.read()?;
    let parts = Recombine::of_parts(config.max_log_size.0 as usize);
    Ok(Box::new(Container { frame, config, parts }))
}

impl Work for Container {
    fn run(&mut self, mut entry: Entry, now: DateTime<Utc>, made: &mut Made) -> Result<(), Failed> {
        let format = match self.prepare(&mut entry, now) {
            Ok(format) => format,
            Err(problem) => {
                return Err(Failed {
                    entry: entry.into(),
                    problem,
                });
            }
        };
        if format == Format::Docker {
            made.push((None, entry));
            return Ok(());
        }
        let last = entry.attributes.get("logtag") == Some(&Value::from("F"));
        self.parts.add(entry, last, now, made);
        Ok(())
    }

    fn flush(&mut self, now: DateTime<Utc>, all: bool, made: &mut Made) {
        self.parts.flush(now, all, made);
    }

    fn held(&self, origins: &mut Vec<Origin>) {
        self.parts.held(origins);
    }
}

impl Container {
    fn prepare(&self, entry: &mut Entry, now: DateTime<Utc>) -> Result<Format, String> {
        let from = self
            .frame
            .from
            .get(entry)
            .ok_or_else(|| format!("the entry has no field `{}`", self.frame.from))?;
        let format = match self.config.format {
            Some(format) => format,
            None => detect(from.as_text()?)?,
        };
        self.frame.apply(entry, now, |value| match format {
            Format::Docker => super::json_object(value, false),
            format => cri(value.as_text()?, format),
        })?;
        let time = entry.attributes.remove("time").ok_or("the line has no time")?;
        entry.time = Some(nanos(time.as_text()?)?);
        let log = entry.attributes.remove("log").ok_or("the line has no `log`")?;
        Field::body().set(entry, log)?;
        let stream = entry
            .attributes
            .remove("stream")
            .ok_or("the line has no `stream`")?;
        entry.attributes.set("log.iostream", stream);
        if self.config.add_metadata_from_filepath {
            add_metadata(entry)?;
        }
        Ok(format)
    }
}

fn add_metadata(entry: &mut Entry) -> Result<(), String> {
    let path = entry.attributes.get(PATH).ok_or_else(|| {
        format!("there is no attribute `{PATH}` to take the names of Kubernetes from: set `include_file_path: true` on the receiver, or `add_metadata_from_filepath: false`")
    })?;
    let found = container_path::parse(path.as_text()?)
        .ok_or("the path of the file is none of a container in Kubernetes")?;
    for (key, value) in found {
        entry.resource.set(key, value);
    }
    Ok(())
}

fn detect(line: &str) -> Result<Format, String> {
    if line.starts_with('{') {
        return Ok(Format::Docker);
    }
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(time), Some("stdout" | "stderr"), Some(_)) => Ok(match is_containerd(time) {
            true => Format::Containerd,
            false => Format::Crio,
        }),
        _ => Err("the line is of none of the formats docker, crio and containerd".to_owned()),
    }
}

/// Whether a time is in UTC, or has an offset with a colon.
fn is_containerd(time: &str) -> bool {
    let offset = || {
        let at = time.len().checked_sub(6)?;
        let offset = time.as_bytes().get(at..)?;
        let digits = [1, 2, 4, 5].iter().all(|digit| offset[*digit].is_ascii_digit());
        (matches!(offset[0], b'+' | b'-') && offset[3] == b':' && digits).then(|| &time[..at])
    };
    let before = time.strip_suffix('Z').or_else(offset);
    before.is_some_and(|before| !before.is_empty() && !before.contains('Z'))
}

/// `TIME STREAM TAG TEXT`.
fn cri(line: &str, format: Format) -> Result<Value, String> {
    let mut words = line.splitn(4, ' ');
    let wrong = || "the line is none of a container: TIME, stdout or stderr, a tag, and the text".to_owned();
    let (time, stream, tag) = (words.next(), words.next(), words.next());
    let time = time
        .filter(|time| format == Format::Crio || is_containerd(time))
        .ok_or_else(wrong)?;
    let stream = stream
        .filter(|stream| matches!(*stream, "stdout" | "stderr"))
        .ok_or_else(wrong)?;
    let tag = tag.ok_or_else(wrong)?;
    let pairs = [
        ("time", time),
        ("stream", stream),
        ("logtag", tag),
        ("log", words.next().unwrap_or_default()),
    ];
    Ok(map(pairs.map(|(key, value)| (key.to_owned(), Value::from(value)))))
}

fn nanos(time: &str) -> Result<i64, String> {
    let time = DateTime::parse_from_rfc3339(time).map_err(|error| format!("{time:?} is no time: {error}"))?;
    time.timestamp_nanos_opt()
        .ok_or_else(|| format!("{time} does not fit 64 bits of nanoseconds"))
}
