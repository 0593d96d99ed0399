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
    /// Of one signal each: another may read the same topics.
    excluded: Vec<(Regex, Signal)>,
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
                topics.excluded.push((pattern(&key, excluded)?, signal));
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

    /// Patterns of topics that the client is not to see. What it leaves out it leaves out for all signals: where there are
    /// several, it sees every topic.
    pub(super) fn excluded(&self) -> Vec<&str> {
        let named = self.names.iter().map(|(_, signal)| signal);
        let mut signals = named.chain(self.patterns.iter().map(|(_, signal)| signal));
        let first = signals.next();
        if signals.any(|signal| Some(signal) != first) {
            return Vec::new();
        }
        self.excluded
            .iter()
            .map(|(pattern, _)| pattern.as_str())
            .collect()
    }

    /// What messages of a topic can be about: nothing if no signal reads it. A name goes before patterns.
    pub(super) fn signals(&self, topic: &str) -> Vec<Signal> {
        let matches =
            |(pattern, of): &(Regex, Signal), signal: Signal| *of == signal && pattern.is_match(topic);
        let mut all = Signal::ALL.to_vec();
        all.retain(|signal| !self.excluded.iter().any(|excluded| matches(excluded, *signal)));
        let mut named = all.clone();
        named.retain(|signal| {
            let mut names = self.names.iter();
            names.any(|(name, of)| of == signal && name == topic)
        });
        if named.is_empty() {
            all.retain(|signal| self.patterns.iter().any(|pattern| matches(pattern, *signal)));
            return all;
        }
        named
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
        assert_eq!(found.excluded(), [""; 0], "there are two signals");
        assert_eq!(found.signals("b"), [Signal::Traces]);
        assert_eq!(found.signals("logs-x"), [Signal::Logs]);
        assert_eq!(found.signals("logs-test"), []);
        assert_eq!(found.signals("a"), [Signal::Logs, Signal::Traces]);
        assert_eq!(found.signals("c"), []);
        let defaults = topics("{}", &[Signal::Metrics]).unwrap();
        assert_eq!(defaults.subscription(), ["otlp_metrics"]);
        let older = topics("topic: t\nencoding: raw", &[Signal::Logs]).unwrap();
        assert_eq!(older.subscription(), ["t"]);
    }

    #[test]
    fn a_signal_leaves_out_topics_for_itself_alone() {
        let both = topics(
            "logs: {topics: ['^app-.*'], exclude_topics: ['^app-traces$']}\ntraces: {topics: [app-traces]}",
            &Signal::ALL,
        )
        .unwrap();
        assert_eq!(both.excluded(), [""; 0]);
        assert_eq!(both.signals("app-traces"), [Signal::Traces]);
        assert_eq!(both.signals("app-logs"), [Signal::Logs]);
        let one = topics(
            "logs: {topics: [a, b, ^c], exclude_topics: ['^a$']}",
            &[Signal::Logs],
        )
        .unwrap();
        assert_eq!(one.excluded(), ["^a$"], "the client need not fetch it");
        assert_eq!((one.signals("a"), one.signals("b")), (vec![], vec![Signal::Logs]));
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
