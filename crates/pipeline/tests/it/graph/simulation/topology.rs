//! Graphs drawn at random, as configuration; and, beside it, what they do, said as plainly as possible.
//!
//! Receivers feed pipelines of a first layer. These have processors, and hand on to destinations and to connectors:
//! `forward` to one pipeline of a second layer, `routing` to two of them by the last digit of an item, `failover` to the
//! first of two that takes it. Pipelines of the second layer have one destination each.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::Dice;

/// One of a set of destinations is to have an item.
type AnyOf = BTreeSet<usize>;

pub(super) struct Topology {
    pub(super) receivers: usize,
    pub(super) destinations: usize,
    /// Destinations whose queue is on the disk.
    durable: Vec<bool>,
    first: Vec<First>,
    connectors: Vec<Connector>,
    /// The destination of each pipeline of the second layer.
    second: Vec<usize>,
}

struct First {
    receivers: Vec<usize>,
    batches: bool,
    renames: bool,
    /// Items that end in this digit are filtered out.
    drops: Option<u64>,
    destinations: Vec<usize>,
    connectors: Vec<usize>,
}

/// With the pipelines of the second layer that it feeds.
#[derive(Clone, Copy)]
enum Connector {
    Forward(usize),
    /// Even items to the first.
    Routing(usize, usize),
    Failover(usize, usize),
}

pub(super) fn receiver(number: usize) -> String {
    format!("push/{number}")
}

impl Topology {
    pub(super) fn draw(dice: &mut Dice) -> Topology {
        let receivers = dice.below(2) as usize + 1;
        let own = dice.below(3) as usize + 1;
        let mut second = Vec::new();
        let mut destinations = own;
        let mut pipeline = |second: &mut Vec<usize>| {
            second.push(destinations);
            destinations += 1;
            second.len() - 1
        };
        let mut connectors = Vec::new();
        for _ in 0..dice.below(3) {
            let one = pipeline(&mut second);
            connectors.push(match dice.below(3) {
                0 => Connector::Forward(one),
                1 => Connector::Routing(one, pipeline(&mut second)),
                _ => Connector::Failover(one, pipeline(&mut second)),
            });
        }
        let numbers = |end: usize| (0..end).collect::<Vec<_>>();
        let mut first: Vec<First> = (0..dice.below(3) + 1)
            .map(|_| First {
                receivers: dice.some_of(&numbers(receivers)),
                batches: dice.one_in(2),
                renames: dice.one_in(2),
                drops: dice.one_in(3).then(|| dice.below(10)),
                destinations: dice.some_of(&numbers(own)),
                connectors: Vec::new(),
            })
            .collect();
        // Nothing may be left unconnected, for it would not be started.
        first[0].receivers = numbers(receivers);
        first[0].destinations = numbers(own);
        first[0].connectors = numbers(connectors.len());
        Topology {
            receivers,
            destinations,
            durable: (0..destinations).map(|_| dice.one_in(2)).collect(),
            first,
            connectors,
            second,
        }
    }

    /// What an item that a receiver accepts must reach: one destination of each set.
    pub(super) fn wanted(&self, item: u64, receiver: usize) -> Vec<AnyOf> {
        let mut wanted = Vec::new();
        for pipeline in &self.first {
            if !pipeline.receivers.contains(&receiver) || pipeline.drops == Some(item % 10) {
                continue;
            }
            wanted.extend(pipeline.destinations.iter().map(|one| AnyOf::from([*one])));
            for connector in &pipeline.connectors {
                let of = |pipeline: usize| self.second[pipeline];
                wanted.push(match self.connectors[*connector] {
                    Connector::Forward(one) => AnyOf::from([of(one)]),
                    Connector::Routing(even, odd) => {
                        AnyOf::from([of(if item.is_multiple_of(2) { even } else { odd })])
                    }
                    Connector::Failover(one, other) => AnyOf::from([of(one), of(other)]),
                });
            }
        }
        wanted
    }

    /// The same graph with settings that differ from draw to draw in what does not matter.
    pub(super) fn configuration(&self, dice: &mut Dice, broken: bool) -> String {
        let mut text = String::from("receivers:\n");
        for number in 0..self.receivers {
            let label = dice.below(3);
            let _ = writeln!(text, "  {}: {{label: v{label}}}", receiver(number));
        }
        self.processors(&mut text, dice);
        text.push_str("exporters:\n");
        let broken = broken.then(|| dice.below(self.destinations as u64) as usize);
        for number in 0..self.destinations {
            self.exporter(&mut text, dice, number, broken == Some(number));
        }
        if !self.connectors.is_empty() {
            text.push_str("connectors:\n");
        }
        for (number, connector) in self.connectors.iter().enumerate() {
            let _ = match connector {
                Connector::Forward(_) => writeln!(text, "  {}: ", self.connector(number)),
                Connector::Routing(even, odd) => writeln!(
                    text,
                    "  {}: {{default_pipelines: [logs/second-{odd}], table: [{{context: log, \
                     condition: 'IsMatch(body, \"[02468]$\")', pipelines: [logs/second-{even}]}}]}}",
                    self.connector(number)
                ),
                Connector::Failover(one, other) => writeln!(
                    text,
                    "  {}: {{priority_levels: [[logs/second-{one}], [logs/second-{other}]], retry_interval: {}ms}}",
                    self.connector(number),
                    dice.below(5000) + 100
                ),
            };
        }
        self.pipelines(&mut text);
        text
    }

    fn processors(&self, text: &mut String, dice: &mut Dice) {
        text.push_str("processors:\n");
        let _ = writeln!(
            text,
            "  batch: {{timeout: {}ms, send_batch_size: {}, send_batch_max_size: 30}}",
            dice.below(400) + 1,
            dice.below(20) + 1
        );
        let _ = writeln!(
            text,
            "  attributes: {{actions: [{{key: version, value: {}, action: upsert}}]}}",
            dice.below(5)
        );
        for (number, pipeline) in self.first.iter().enumerate() {
            if let Some(digit) = pipeline.drops {
                let _ = writeln!(
                    text,
                    "  filter/{number}: {{logs: {{log_record: ['IsMatch(body, \"{digit}$\")']}}}}"
                );
            }
        }
    }

    fn exporter(&self, text: &mut String, dice: &mut Dice, number: usize, broken: bool) {
        let when_full =
            ["refuse", "drop_newest", "drop_oldest", "drop_while_failing"][dice.below(4) as usize];
        // Whoever waits for the result cannot have a queue that drops.
        let waits = when_full == "refuse" && dice.one_in(4);
        let _ = writeln!(
            text,
            "  moody/{number}: {{number: {number}, durable: {}, broken: {broken}, delivery: {{timeout: 2s, \
             sending_queue: {{queue_size: {}, num_consumers: {}, when_full: {when_full}, wait_for_result: {waits}}}, \
             retry_on_failure: {{initial_interval: {}ms, max_elapsed_time: {}s}}}}}}",
            self.durable[number],
            dice.below(100) + 5,
            dice.below(4) + 1,
            dice.below(2000) + 50,
            [0, 40, 300][dice.below(3) as usize],
        );
    }

    fn connector(&self, number: usize) -> String {
        let kind = match self.connectors[number] {
            Connector::Forward(_) => "forward",
            Connector::Routing(..) => "routing",
            Connector::Failover(..) => "failover",
        };
        format!("{kind}/{number}")
    }

    fn pipelines(&self, text: &mut String) {
        text.push_str("service:\n  pipelines:\n");
        for (number, pipeline) in self.first.iter().enumerate() {
            let receivers: Vec<String> = pipeline
                .receivers
                .iter()
                .map(|number| receiver(*number))
                .collect();
            let filter = format!("filter/{number}");
            let processors = [
                (pipeline.renames, "attributes"),
                (pipeline.drops.is_some(), filter.as_str()),
                (pipeline.batches, "batch"),
            ];
            let processors: Vec<&str> = processors
                .into_iter()
                .filter_map(|(has, name)| has.then_some(name))
                .collect();
            let destinations = pipeline
                .destinations
                .iter()
                .map(|number| format!("moody/{number}"));
            let connectors = pipeline.connectors.iter().map(|number| self.connector(*number));
            let exporters: Vec<String> = destinations.chain(connectors).collect();
            let _ = writeln!(
                text,
                "    logs/first-{number}: {{receivers: [{}], processors: [{}], exporters: [{}]}}",
                receivers.join(", "),
                processors.join(", "),
                exporters.join(", ")
            );
        }
        for (number, connector) in self.connectors.iter().enumerate() {
            let fed = match *connector {
                Connector::Forward(one) => vec![one],
                Connector::Routing(one, other) | Connector::Failover(one, other) => vec![one, other],
            };
            for pipeline in fed {
                let _ = writeln!(
                    text,
                    "    logs/second-{pipeline}: {{receivers: [{}], exporters: [moody/{}]}}",
                    self.connector(number),
                    self.second[pipeline]
                );
            }
        }
    }
}

/// The pipelines, for whoever reads of a failure.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.pipelines(&mut text);
        f.write_str(&text)
    }
}
