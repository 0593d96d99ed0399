//! Which topics are read, and what the messages of each are about.

use cupola_export::kafka::SettingError;
use cupola_telemetry::Signal;
use regex::Regex;

use super::config::KafkaReceiverConfig;

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 1024;

/// The topics of the signals that pipelines take.
#[derive(Debug)]
pub(super) struct Topics {
    names: Vec<(String, Signal)>,
    patterns: Vec<(Regex, Signal)>,
    excluded: Vec<String>,
}

impl Topics {
    pub(super) fn new(config: &KafkaReceiverConfig, signals: &[Signal]) -> Result<Topics, SettingError> {
        let mut topics = Topics {
            names: Vec::new(),
            patterns: Vec::new(),
            excluded: Vec::new(),
        };
        for signal in signals.iter().copied() {
            let of = config.of(signal);
            let key = match config.topic {
                Some(_) => "topic".to_owned(),
                None => format!("{signal}.topics"),
            };
            for topic in &of.topics {
                match topic.starts_with('^') {
                    _ if topic.is_empty() => return Err(SettingError::new(key, "has an empty name")),
                    true => topics.patterns.push((pattern(&key, topic)?, signal)),
                    false => topics.names.push(((*topic).to_owned(), signal)),
                }
            }
            let key = format!("{signal}.exclude_topics");
            if !of.excluded.is_empty() && of.topics.iter().all(|topic| !topic.starts_with('^')) {
                let problem = "has an effect only beside a pattern, which begins with ^, among the topics";
                return Err(SettingError::new(key, problem));
            }
            for excluded in of.excluded {
                if excluded.is_empty() || excluded.contains(',') {
                    let problem = format!("{excluded:?} must not be empty and must not have a comma");
                    return Err(SettingError::new(key, problem));
                }
                pattern(&key, excluded)?;
                topics.excluded.push(excluded.to_owned());
            }
        }
        Ok(topics)
    }

    /// What is subscribed to.
    pub(super) fn subscription(&self) -> Vec<&str> {
        let names = self.names.iter().map(|(name, _)| name.as_str());
        let patterns = self.patterns.iter().map(|(pattern, _)| pattern.as_str());
        let mut all: Vec<&str> = names.chain(patterns).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Patterns of topics that are not read.
    pub(super) fn excluded(&self) -> Vec<&str> {
        self.excluded.iter().map(String::as_str).collect()
    }

    /// What a message of this topic is about. Where several signals share a topic, its header says it.
    pub(super) fn signal(&self, topic: &str, said: Option<Signal>) -> Option<Signal> {
        let named = self.names.iter().filter(|(name, _)| name == topic);
        let mut of: Vec<Signal> = named.map(|(_, signal)| *signal).collect();
        if of.is_empty() {
            let matching = self
                .patterns
                .iter()
                .filter(|(pattern, _)| pattern.is_match(topic));
            of.extend(matching.map(|(_, signal)| *signal));
        }
        of.sort_unstable_by_key(|signal| *signal as usize);
        of.dedup();
        match (said, of.as_slice()) {
            (Some(said), of) if of.contains(&said) => Some(said),
            (None, [only]) => Some(*only),
            _ => None,
        }
    }
}

/// A pattern that both we and the client understand, whose own are those of POSIX.
fn pattern(key: &str, text: &str) -> Result<Regex, SettingError> {
    let wrong = |problem: String| SettingError::new(key, problem);
    if text.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!(
            "a pattern may have at most {PATTERN_BYTES_MAX} bytes"
        )));
    }
    if text.contains("(?") || text.contains("\\d") || text.contains("\\p") {
        return Err(wrong(format!(
            "{text:?}: write [0-9] for \\d, [A-Za-z] for \\p, and groups without (?"
        )));
    }
    Regex::new(text).map_err(|error| wrong(format!("{text:?} is not a pattern: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(yaml: &str, signals: &[Signal]) -> Result<Topics, SettingError> {
        let config: KafkaReceiverConfig = cupola_config::yaml::from_str(yaml).unwrap();
        Topics::new(&config, signals)
    }

    #[test]
    fn a_topic_says_what_its_messages_are_about() {
        let found = topics(
            "logs: {topics: [a, '^logs-.*'], exclude_topics: ['^logs-(test|dev)$']}\ntraces: {topics: [a, b]}",
            &[Signal::Logs, Signal::Traces],
        )
        .unwrap();
        assert_eq!(found.subscription(), ["^logs-.*", "a", "b"]);
        assert_eq!(found.excluded(), ["^logs-(test|dev)$"]);
        assert_eq!(found.signal("b", None), Some(Signal::Traces));
        assert_eq!(found.signal("logs-x", None), Some(Signal::Logs));
        assert_eq!(found.signal("a", None), None, "it has two signals");
        assert_eq!(found.signal("a", Some(Signal::Traces)), Some(Signal::Traces));
        assert_eq!(
            found.signal("b", Some(Signal::Logs)),
            None,
            "nobody takes logs from it"
        );
        assert_eq!(found.signal("c", None), None);
        let defaults = topics("{}", &[Signal::Metrics]).unwrap();
        assert_eq!(defaults.subscription(), ["otlp_metrics"]);
        let older = topics("topic: t\nencoding: raw", &[Signal::Logs]).unwrap();
        assert_eq!(older.subscription(), ["t"]);
    }

    #[test]
    fn patterns_that_mean_something_else_to_the_client_are_refused() {
        for (yaml, key) in [
            ("logs: {topics: ['']}", "logs.topics"),
            ("logs: {topics: ['^a(']}", "logs.topics"),
            ("logs: {topics: ['^a\\d+']}", "logs.topics"),
            ("logs: {topics: [a], exclude_topics: [b]}", "logs.exclude_topics"),
            (
                "logs: {topics: [^a], exclude_topic: 'b{1,2}'}",
                "logs.exclude_topics",
            ),
        ] {
            assert_eq!(topics(yaml, &[Signal::Logs]).unwrap_err().key, key, "{yaml}");
        }
    }
}
