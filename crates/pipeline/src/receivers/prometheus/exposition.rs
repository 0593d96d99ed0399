//! What targets show: the text format 0.0.4 and OpenMetrics 1.0. Owns both grammars; refuses a page at its first
//! mistake, with the line, as Prometheus does: half a page would look like series that have ended.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::borrow::Cow;
use std::collections::HashMap;

use crate::receivers::series::{Family, Kind, LABELS_MAX};

/// A page, read.
#[derive(Debug, Default)]
pub(super) struct Exposition<'a> {
    pub(super) families: HashMap<Cow<'a, str>, FamilyText<'a>>,
    pub(super) samples: Vec<Sample<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FamilyText<'a> {
    pub(super) kind: Kind,
    pub(super) help: Cow<'a, str>,
    pub(super) unit: &'a str,
}

impl FamilyText<'_> {
    pub(super) fn family(&self) -> Family<'_> {
        Family {
            kind: self.kind,
            help: &self.help,
            unit: self.unit,
        }
    }
}

pub(super) type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Vec<Label<'a>>,
    pub(super) value: f64,
    pub(super) unix_milli: Option<i64>,
    pub(super) exemplar: Option<ExemplarText<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExemplarText<'a> {
    pub(super) labels: Vec<Label<'a>>,
    pub(super) value: f64,
    pub(super) unix_milli: Option<i64>,
}

/// Which of the formats a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct ExpositionError {
    line: usize,
    problem: &'static str,
}

/// Reads a whole page.
pub(super) fn parse(text: &str, format: Format) -> Result<Exposition<'_>, ExpositionError> {
    let mut page = Exposition::default();
    let mut ended = false;
    for (index, line) in text.split('\n').enumerate() {
        let at = |problem| ExpositionError {
            line: index + 1,
            problem,
        };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if ended && !line.is_empty() {
            return Err(at("the page goes on after `# EOF`"));
        }
        if line.trim_matches([' ', '\t']).is_empty() {
            continue;
        }
        if line == "# EOF" && format == Format::OpenMetrics {
            ended = true;
            continue;
        }
        match line.strip_prefix('#') {
            Some(comment) => page.comment(comment).map_err(at)?,
            None => {
                let sample = Line::new(line).sample(format).map_err(at)?;
                page.samples.push(sample);
            }
        }
    }
    if format == Format::OpenMetrics && !ended {
        return Err(ExpositionError {
            line: text.split('\n').count(),
            problem: "the page breaks off before `# EOF`",
        });
    }
    Ok(page)
}

impl<'a> Exposition<'a> {
    fn comment(&mut self, comment: &'a str) -> Result<(), &'static str> {
        let mut line = Line::new(comment);
        line.blank();
        let rest = line.rest;
        let word = rest.split([' ', '\t']).next().unwrap_or_default();
        if !matches!(word, "HELP" | "TYPE" | "UNIT") {
            return Ok(());
        }
        line.rest = &rest[word.len()..];
        line.blank();
        let name = match line.rest.starts_with('"') {
            true => line.quoted()?,
            false => Cow::Borrowed(line.word()),
        };
        if name.is_empty() {
            return Err("the name of a metric is expected");
        }
        line.blank();
        let family = self.families.entry(name).or_default();
        match word {
            "TYPE" => {
                family.kind = Kind::from_name(line.rest.trim()).ok_or("there is no such type of metric")?
            }
            "UNIT" => family.unit = line.rest.trim(),
            _ => family.help = unescape(line.rest, false),
        }
        Ok(())
    }
}

/// What is left of a line.
struct Line<'a> {
    rest: &'a str,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Line<'a> {
        Line { rest: line }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn accept(&mut self, character: char) -> bool {
        self.blank();
        let found = self.rest.strip_prefix(character);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Up to the next blank.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn name(&mut self) -> Result<&'a str, &'static str> {
        let end = self
            .rest
            .bytes()
            .position(|byte| !is_name(byte))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err("a name is expected");
        }
        self.rest = rest;
        Ok(name)
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let body = self.rest.strip_prefix('"').ok_or("a quoted text is expected")?;
        let mut escaped = false;
        for (index, byte) in body.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.rest = &body[index + 1..];
                    return Ok(unescape(&body[..index], true));
                }
                _ => {}
            }
        }
        Err("a quoted text does not end")
    }

    fn sample(mut self, format: Format) -> Result<Sample<'a>, &'static str> {
        self.blank();
        let mut sample = Sample {
            name: Cow::Borrowed(""),
            labels: Vec::new(),
            value: 0.0,
            unix_milli: None,
            exemplar: None,
        };
        if !self.rest.starts_with('{') {
            sample.name = Cow::Borrowed(self.name()?);
        }
        self.blank();
        if self.rest.starts_with('{') {
            let (name, labels) = self.labels()?;
            sample.labels = labels;
            match name {
                Some(_) if !sample.name.is_empty() => return Err("a metric has two names"),
                Some(name) => sample.name = name,
                None => {}
            }
        }
        if sample.name.is_empty() {
            return Err("the name of a metric is missing");
        }
        self.blank();
        sample.value = number(self.word())?;
        self.blank();
        if !self.rest.is_empty() && !self.rest.starts_with('#') {
            sample.unix_milli = Some(timestamp(self.word(), format)?);
            self.blank();
        }
        if self.rest.is_empty() {
            return Ok(sample);
        }
        if format == Format::Text || !self.accept('#') {
            return Err("the line goes on after the sample");
        }
        sample.exemplar = Some(self.exemplar()?);
        Ok(sample)
    }

    fn exemplar(mut self) -> Result<ExemplarText<'a>, &'static str> {
        self.blank();
        let (name, labels) = self.labels()?;
        if name.is_some() {
            return Err("an exemplar has no name");
        }
        self.blank();
        let value = number(self.word())?;
        self.blank();
        let mut exemplar = ExemplarText {
            labels,
            value,
            unix_milli: None,
        };
        if !self.rest.is_empty() {
            exemplar.unix_milli = Some(timestamp(self.word(), Format::OpenMetrics)?);
            self.blank();
        }
        match self.rest.is_empty() {
            true => Ok(exemplar),
            false => Err("the line goes on after the exemplar"),
        }
    }

    /// Labels, and the name of the metric if it stands among them in quotes.
    fn labels(&mut self) -> Result<(Option<Cow<'a, str>>, Vec<Label<'a>>), &'static str> {
        if !self.accept('{') {
            return Err("`{` is expected");
        }
        let (mut metric, mut labels) = (None, Vec::new());
        loop {
            if self.accept('}') {
                break;
            }
            let quoted = self.rest.starts_with('"');
            let name = match quoted {
                true => self.quoted()?,
                false => Cow::Borrowed(self.name()?),
            };
            if self.accept('=') {
                self.blank();
                if labels.len() == LABELS_MAX {
                    return Err("a sample has too many labels");
                }
                labels.push((name, self.quoted()?));
            } else if quoted && metric.is_none() {
                metric = Some(name);
            } else {
                return Err("`=` is expected");
            }
            if !self.accept(',') {
                if !self.accept('}') {
                    return Err("`,` or `}` is expected");
                }
                break;
            }
        }
        Ok((metric, labels))
    }
}

fn number(word: &str) -> Result<f64, &'static str> {
    word.parse().map_err(|_| "a number is expected")
}

/// Milliseconds in the text format, seconds with fractions in OpenMetrics.
fn timestamp(word: &str, format: Format) -> Result<i64, &'static str> {
    const PROBLEM: &str = "a timestamp is expected";
    match format {
        Format::Text => word.parse().map_err(|_| PROBLEM),
        Format::OpenMetrics => {
            let seconds: f64 = word.parse().map_err(|_| PROBLEM)?;
            match seconds.is_finite() {
                true => Ok((seconds * 1000.0).round() as i64),
                false => Err(PROBLEM),
            }
        }
    }
}

/// `\\` and `\n`, and `\"` in quotes; anything else behind a backslash stays with it.
fn unescape(text: &str, quoted: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('\\') => plain.push('\\'),
            Some('"') if quoted => plain.push('"'),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&'static str, &'static str)]) -> Vec<Label<'static>> {
        pairs
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)))
            .collect()
    }

    #[test]
    fn the_text_format_is_read() {
        let text = "# HELP a What\\nit \\\\is.\n# TYPE a counter\n# any comment\n\na{x=\"1\\\"\\n\\\\\", y = \"ü\",} 1e3 1500\r\n \
                    b\t-Inf\nc{}NaN\n# TYPE d untyped\n{\"e.f\",\"g.h\"=\"i\"} 2\n";
        let page = parse(text, Format::Text).unwrap();
        assert_eq!(page.families["a"].kind, Kind::Counter);
        assert_eq!(page.families["a"].help, "What\nit \\is.");
        let sample = &page.samples[0];
        assert_eq!(
            (&*sample.name, sample.value, sample.unix_milli),
            ("a", 1000.0, Some(1500))
        );
        assert_eq!(sample.labels, labels(&[("x", "1\"\n\\"), ("y", "ü")]));
        assert_eq!(page.samples[1].value, f64::NEG_INFINITY);
        assert!(page.samples[2].value.is_nan());
        assert_eq!(
            (&*page.samples[3].name, &page.samples[3].labels),
            ("e.f", &labels(&[("g.h", "i")]))
        );
    }

    #[test]
    fn openmetrics_is_read() {
        let text = "# TYPE a counter\n# UNIT a seconds\na_total{x=\"1\"} 5 1.5 # {trace_id=\"ab\"} 0.5 1.25\na_created 0.5\n# EOF\n";
        let page = parse(text, Format::OpenMetrics).unwrap();
        assert_eq!(page.families["a"].unit, "seconds");
        assert_eq!(page.samples[0].unix_milli, Some(1500));
        let exemplar = page.samples[0].exemplar.as_ref().unwrap();
        assert_eq!((exemplar.value, exemplar.unix_milli), (0.5, Some(1250)));
        assert_eq!(exemplar.labels, labels(&[("trace_id", "ab")]));
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        for (text, line) in [
            ("a 1\nb\n", 2),
            ("a{x} 1", 1),
            ("a{x=\"1} 1", 1),
            ("1a 1", 1),
            ("a 1 2 3", 1),
            ("a x", 1),
            ("# TYPE a b", 1),
            ("a 1 # {} 1", 1),
            ("{} 1", 1),
            ("a{x=\"1\" y=\"2\"} 1", 1),
            ("\n\na 1 1.5", 3),
        ] {
            assert_eq!(parse(text, Format::Text).unwrap_err().line, line, "{text}");
        }
        assert!(parse("a 1\n", Format::OpenMetrics).is_err());
        assert!(parse("a 1\n# EOF\na 2\n", Format::OpenMetrics).is_err());
        assert!(parse("a 1 NaN\n# EOF\n", Format::OpenMetrics).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", lines in "([a{}=\",# 1.eETYPHLUN\\\\\n]{0,30})*") {
            for format in [Format::Text, Format::OpenMetrics] {
                let _ = parse(&text, format);
                let _ = parse(&lines, format);
            }
        }

        #[test]
        fn labels_come_back(value in "\\PC*") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("a{{x=\"{written}\"}} 1");
            if !value.contains('\r') {
                let page = parse(&text, Format::Text).unwrap();
                prop_assert_eq!(&*page.samples[0].labels[0].1, &value);
            }
        }
    }
}
