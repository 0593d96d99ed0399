//! `ParseELF`: the Extended Log Format of the W3C, several lines at once.
//!
//! <https://www.w3.org/TR/WD-logfile.html>

use std::borrow::Cow;

use cupola_telemetry::edit::{Array, Map, Value as Telemetry};

use super::text;
use crate::ottl::error::Fault;
use crate::ottl::functions::Arguments;
use crate::ottl::value::Value;

/// Most that the entries of one text take, as every one of them has the names of all fields.
const ENTRIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a value takes beside its name and its own text.
const VALUE_BYTES: usize = 64;

/// Directives that are kept, by their names in small letters.
const DIRECTIVES: [(&str, &str); 6] = [
    ("version", "elf.version"),
    ("software", "elf.software"),
    ("date", "elf.date"),
    ("start-date", "elf.start_date"),
    ("end-date", "elf.end_date"),
    ("remark", "elf.remark"),
];

pub(super) fn parse_elf<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let input = arguments.get(0).as_str()?;
    if input.is_empty() {
        return Err(Fault::new("no ELF: there is nothing to parse"));
    }
    let (mut map, mut entries, mut room) = (Map::new(), Array::new(), ENTRIES_BYTES_MAX);
    let mut fields: Vec<&str> = Vec::new();
    // Has the place that the Collector gives it.
    map.push("elf.entries".into(), Telemetry::Empty);
    for line in input
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        match line.strip_prefix('#') {
            Some(directive) => directive_line(directive, &mut map, &mut fields)?,
            None if fields.is_empty() => {
                return Err(Fault::new(
                    "no ELF: an entry stands before the names of its fields",
                ));
            }
            None => {
                let taken = fields.iter().map(|field| field.len() + VALUE_BYTES).sum();
                room = room.checked_sub(taken).ok_or_else(too_many_entries)?;
                entries.push(entry(line, &fields)?);
            }
        }
    }
    if !map.contains_key("elf.version") {
        return Err(Fault::new("no ELF: it has no #Version"));
    }
    map.set("elf.entries".into(), Telemetry::Array(entries));
    let fields = fields.into_iter().map(text).collect();
    map.push("elf.fields".into(), Telemetry::Array(fields));
    Ok(Value::Map(map))
}

fn too_many_entries() -> Fault {
    Fault::of(format_args!(
        "the entries of the ELF would take more than {ENTRIES_BYTES_MAX} bytes"
    ))
}

fn directive_line<'t>(directive: &'t str, map: &mut Map<'_>, fields: &mut Vec<&'t str>) -> Result<(), Fault> {
    let Some((name, value)) = directive.split_once(':') else {
        let begins_with_fields = directive
            .trim()
            .get(..6)
            .is_some_and(|name| name.eq_ignore_ascii_case("fields"));
        return match begins_with_fields {
            // The entries would have the wrong names.
            true => Err(Fault::new("no ELF: #Fields has no colon")),
            false => Ok(()),
        };
    };
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    if name == "fields" {
        *fields = value.split_whitespace().collect();
    }
    if let Some((_, key)) = DIRECTIVES.iter().find(|(known, _)| *known == name) {
        map.set((*key).into(), text(value));
    }
    Ok(())
}

/// The values of a line by the names of the fields, `-` where there are too few of them.
fn entry<'a>(line: &str, fields: &[&str]) -> Result<Telemetry<'a>, Fault> {
    let mut values = values(line)?.into_iter();
    let pairs = fields.iter().map(|field| {
        let value = values.next().unwrap_or_else(|| "-".to_owned());
        (Cow::Owned((*field).to_owned()), text(value))
    });
    Ok(Telemetry::Map(pairs.collect()))
}

fn values(line: &str) -> Result<Vec<String>, Fault> {
    let mut values = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
        if letters.peek().is_none() {
            return Ok(values);
        }
        let mut value = String::new();
        if letters.next_if_eq(&'"').is_none() {
            while let Some(letter) = letters.next_if(|letter| !matches!(letter, ' ' | '\t')) {
                value.push(letter);
            }
            values.push(value);
            continue;
        }
        loop {
            match letters.next() {
                None => return Err(Fault::new("no ELF: a quote is not closed")),
                // Two quotes are one in the text.
                Some('"') if letters.next_if_eq(&'"').is_some() => value.push('"'),
                Some('"') => break,
                Some(letter) => value.push(letter),
            }
        }
        values.push(value);
    }
}
