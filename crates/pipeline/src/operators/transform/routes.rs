//! `filter` and `router`: entries that end here, or go to operators that a condition names.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use rand::Rng as _;
use serde::Deserialize;

use crate::operators::build::{Built, Making, Outputs, Wrong, wrong};
use crate::operators::entry::Entry;
use crate::operators::expression::{Expression, Template};
use crate::operators::{Failed, Made, OperatorStats, Place, Work};

struct Filter {
    condition: Expression,
    drop_ratio: f64,
    stats: Arc<OperatorStats>,
}

pub(super) fn filter(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        expr: String,
        #[serde(default = "all")]
        drop_ratio: f64,
    }
    fn all() -> f64 {
        1.0
    }
    let config: Config = making.read()?;
    if !(0.0..=1.0).contains(&config.drop_ratio) {
        return Err(wrong("drop_ratio", "must be between 0 and 1"));
    }
    let condition = making.expression("expr", &config.expr)?;
    Ok(Box::new(Filter {
        condition,
        drop_ratio: config.drop_ratio,
        stats: making.stats.clone(),
    }))
}

impl Work for Filter {
    /// An entry of which the condition cannot be told is kept: the Collector loses it.
    fn run(&mut self, entry: Entry, _: DateTime<Utc>, made: &mut Made) -> Result<(), Failed> {
        match self.condition.holds(&entry) {
            Err(problem) => {
                return Err(Failed {
                    entry: entry.into(),
                    problem: format!("expr: {problem}"),
                });
            }
            Ok(true) if self.drop_ratio >= 1.0 || rand::rng().random::<f64>() < self.drop_ratio => {
                self.stats.filtered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => made.push((None, entry)),
        }
        Ok(())
    }
}

struct Router {
    routes: Vec<Route>,
    default: Vec<Place>,
    stats: Arc<OperatorStats>,
}

struct Route {
    condition: Expression,
    attributes: Vec<(String, Template)>,
    places: Vec<Place>,
}

pub(super) fn router(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        routes: Vec<RouteConfig>,
        default: Option<Outputs>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RouteConfig {
        expr: String,
        output: Outputs,
        #[serde(default)]
        attributes: std::collections::BTreeMap<String, String>,
    }
    let config: Config = making.read()?;
    let mut routes = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let key = format!("routes[{index}]");
        let template = |(name, text): (&String, &String)| {
            making
                .template(&format!("{key}.attributes"), text)
                .map(|template| (name.clone(), template))
        };
        routes.push(Route {
            condition: making.expression(&format!("{key}.expr"), &route.expr)?,
            attributes: route
                .attributes
                .iter()
                .map(template)
                .collect::<Result<_, Wrong>>()?,
            places: making.places(&format!("{key}.output"), &route.output)?,
        });
    }
    let default = config
        .default
        .map(|default| making.places("default", &default))
        .transpose()?;
    Ok(Box::new(Router {
        routes,
        default: default.unwrap_or_default(),
        stats: making.stats.clone(),
    }))
}

impl Work for Router {
    fn run(&mut self, mut entry: Entry, _: DateTime<Utc>, made: &mut Made) -> Result<(), Failed> {
        let mut places = &self.default;
        for route in &self.routes {
            match route.matches(&mut entry) {
                Ok(false) => {}
                Ok(true) => {
                    places = &route.places;
                    break;
                }
                Err(problem) => {
                    return Err(Failed {
                        entry: entry.into(),
                        problem,
                    });
                }
            }
        }
        if let Some((last, others)) = places.split_last() {
            made.extend(others.iter().map(|place| (Some(*place), entry.clone())));
            made.push((Some(*last), entry));
        } else {
            self.stats.filtered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Route {
    fn matches(&self, entry: &mut Entry) -> Result<bool, String> {
        if !self.condition.holds(entry)? {
            return Ok(false);
        }
        for (name, template) in &self.attributes {
            let value = template.render(entry)?;
            entry.attributes.set(name, value);
        }
        Ok(true)
    }
}
