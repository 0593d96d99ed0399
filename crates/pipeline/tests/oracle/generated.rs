//! Generated statements over generated telemetry, run here and by the Collector.

use std::time::Duration;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::collector::Processors;
use cupola_peers::peer_or_skip;
use cupola_telemetry::{Batch, Signal};
use serde_json::json;

use super::cases::Processor;
use super::render::difference;
use super::run;

/// SplitMix64: equal seeds give equal statements, in every later version too.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % sides as u64) as usize
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.roll(choices.len())]
    }

    fn key(&mut self) -> &'static str {
        self.of(&[
            "http.route",
            "http.request.method",
            "url.path",
            "made",
            "none",
            "code",
        ])
    }

    fn text(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 3 } else { 9 }) {
            0 => format!("{:?}", self.of(&["a", "GET", "", "x y", "/api/v1", "Grüße"])),
            1 => "log.severity_text".to_owned(),
            2 => "resource.attributes[\"service.name\"]".to_owned(),
            3 => format!(
                "Concat([{}, {}], {:?})",
                self.text(depth - 1),
                self.text(depth - 1),
                self.of(&["", "-"])
            ),
            4 => format!("ToUpperCase({})", self.text(depth - 1)),
            5 => format!("SHA256({})", self.text(depth - 1)),
            6 => format!("String({})", self.int(depth - 1)),
            7 => format!("TrimPrefix({}, \"/\")", self.text(depth - 1)),
            _ => format!("Murmur3Hash128({})", self.text(depth - 1)),
        }
    }

    fn int(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 2 } else { 6 }) {
            0 => self.roll(100).to_string(),
            1 => "log.severity_number".to_owned(),
            2 => format!(
                "({} {} {})",
                self.int(depth - 1),
                self.of(&["+", "-", "*"]),
                self.int(depth - 1)
            ),
            3 => format!("Len({})", self.text(depth - 1)),
            4 => format!("Index({}, {:?})", self.text(depth - 1), self.of(&["a", "/", "E"])),
            _ => format!("FNV({})", self.text(depth - 1)),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        match self.roll(6) {
            0 => self.text(depth),
            1 => self.int(depth),
            2 => format!("log.attributes[{:?}]", self.key()),
            3 => format!("[{}, {}]", self.text(depth), self.int(depth)),
            4 => format!("{{\"k\": {}}}", self.text(depth)),
            _ => format!("Split({}, \"/\")", self.text(depth)),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 4 } else { 7 }) {
            0 => format!(
                "{} {} {}",
                self.int(1),
                self.of(&["<", "<=", "==", "!=", ">=", ">"]),
                self.int(1)
            ),
            1 => format!(
                "{} {} {}",
                self.text(1),
                self.of(&["==", "!=", "<"]),
                self.text(1)
            ),
            2 => format!("log.attributes[{:?}] {} nil", self.key(), self.of(&["==", "!="])),
            3 => format!(
                "IsMatch({}, {:?})",
                self.text(1),
                self.of(&["^[A-Z]+$", "a|e", "\\\\w+\\\\d?", "(?i)get"])
                    .replace("\\\\", "\\")
            ),
            4 => format!("not ({})", self.condition(depth - 1)),
            5 => format!(
                "({} and {})",
                self.condition(depth - 1),
                self.condition(depth - 1)
            ),
            _ => format!("({} or {})", self.condition(depth - 1), self.condition(depth - 1)),
        }
    }

    fn statement(&mut self) -> String {
        let key = self.key();
        let editor = match self.roll(10) {
            0..=3 => format!("set(log.attributes[{key:?}], {})", self.value(2)),
            4 => format!("delete_key(log.attributes, {key:?})"),
            5 => format!(
                "keep_matching_keys(log.attributes, {:?})",
                self.of(&["^http", "e", "made|none"])
            ),
            6 => format!(
                "replace_all_patterns(log.attributes, \"value\", {:?}, {:?})",
                self.of(&["[a-m]+", "/", "\\d"]),
                self.of(&["*", "<$0>", ""])
            ),
            7 => format!(
                "merge_maps(log.attributes, {{\"made\": {}}}, {:?})",
                self.text(1),
                self.of(&["insert", "update", "upsert"])
            ),
            8 => format!("set(log.severity_text, {})", self.text(2)),
            // Not `limit`: deleting changes the order of attributes in the Collector, and so what it leaves.
            _ => format!("keep_keys(log.attributes, [{key:?}, \"made\"])"),
        };
        match self.roll(2) {
            0 => editor,
            _ => format!("{editor} where {}", self.condition(2)),
        }
    }
}

fn logs(seed: u64) -> Batch {
    let config = GeneratorConfig {
        seed,
        ..GeneratorConfig::default()
    };
    Generator::new(config.spread(20, Duration::from_secs(60))).batch(Signal::Logs, 20)
}

#[test]
fn generated_statements_come_out_as_in_the_collector() {
    let processors = peer_or_skip!(Processors::statements());
    let seed: Option<u64> = std::env::var("CUPOLA_SEED")
        .ok()
        .map(|seed| seed.parse().unwrap());
    let seeds = seed.map_or(0..300, |seed| seed..seed + 1);
    let asked: Vec<_> = seeds
        .clone()
        .map(|seed| {
            let mut dice = Dice(seed);
            let statements: Vec<String> = (0..=dice.roll(3)).map(|_| dice.statement()).collect();
            let config = json!({ "error_mode": "propagate", "log_statements": statements });
            (Processor::Transform, config, logs(seed))
        })
        .collect();
    let mut done = 0;
    for ((seed, (processor, config, batch)), theirs) in
        seeds.zip(&asked).zip(run::outcomes(&processors, &asked))
    {
        let ours = run::outcome(*processor, config, batch.clone());
        let case = format!("CUPOLA_SEED={seed}: {config}");
        match (ours, theirs) {
            (Ok(Some(ours)), Ok(Some(theirs))) => {
                assert_eq!(difference(batch, &ours), difference(batch, &theirs), "{case}");
                done += 1;
            }
            (Ok(None), Ok(None)) => done += 1,
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{case}\nhere: {ours:?}\nthere: {theirs:?}"),
        }
    }
    // Statements that fail show little.
    assert!(
        seed.is_some() || done > asked.len() / 2,
        "{done} of {}",
        asked.len()
    );
}
