//! Names of pipelines: a signal, and a name where there are several of one signal.

use std::fmt;
use std::str::FromStr;

use cupola_telemetry::Signal;

/// `traces`, or `traces/slow`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineId {
    pub signal: Signal,
    pub name: Option<String>,
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signal.as_str())?;
        match &self.name {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl FromStr for PipelineId {
    type Err = String;

    fn from_str(text: &str) -> Result<PipelineId, String> {
        let (signal, name) = match text.split_once('/') {
            Some((signal, name)) => (signal.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        if name.is_some_and(str::is_empty) {
            return Err(format!("`{text}` has no name after the slash"));
        }
        let signal: Signal = signal.parse().map_err(|_| match signal {
            "profiles" => "Cupola has no profiles; there are logs, metrics and traces".to_owned(),
            _ => format!("`{signal}` is no signal; there are logs, metrics and traces"),
        })?;
        Ok(PipelineId {
            signal,
            name: name.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["logs", "metrics/2", "traces/slow"] {
            assert_eq!(text.parse::<PipelineId>().unwrap().to_string(), text);
        }
        assert_eq!(
            "traces/slow".parse::<PipelineId>().unwrap().signal,
            Signal::Traces
        );
        assert!(
            "profiles"
                .parse::<PipelineId>()
                .unwrap_err()
                .contains("no profiles")
        );
        assert!("trace".parse::<PipelineId>().is_err() && "logs/".parse::<PipelineId>().is_err());
    }
}
