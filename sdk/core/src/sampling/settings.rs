//! Samplers as a file or the environment names them: a tree of plain values that a sampler can be made of.

use std::sync::Arc;

use super::condition::Condition;
use super::consistent::{Composable, Composite};
use super::rules::{Rule, RuleBased};
use super::{AlwaysOff, AlwaysOn, ParentBased, RateLimited, Sampler, TraceIdRatio};

/// Deepest nesting of samplers.
const DEPTH_MAX: usize = 16;

/// Why no sampler can be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplerError {
    #[error("{0} is no share of traces; it has to be from 0 to 1")]
    Ratio(f64),
    #[error("{0} is no number of traces in a second; it has to be greater than 0")]
    PerSecond(f64),
    #[error("{0:?} is no number, which the argument of the sampler has to be")]
    Argument(String),
    #[error(
        "there is no sampler {0:?}; there are always_on, always_off, traceidratio, ratelimited, and each with parentbased_ before it"
    )]
    Name(String),
    #[error("samplers are nested more than {DEPTH_MAX} deep")]
    Depth,
}

/// A sampler that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplerSettings {
    AlwaysOn,
    AlwaysOff,
    /// A share of traces, from 0 to 1.
    TraceIdRatio(f64),
    /// Traces in a second.
    RateLimited(f64),
    ParentBased(Box<ParentBasedSettings>),
    /// The first rule that fits, or `otherwise`.
    Rules {
        rules: Vec<RuleSettings>,
        otherwise: Box<SamplerSettings>,
    },
    /// Decides by a threshold that goes along with the trace.
    Composite(Composable),
}

/// Who decides where there is a parent, and where there is none. What is not given is as [`ParentBased::new`] has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentBasedSettings {
    pub root: SamplerSettings,
    pub remote_sampled: Option<SamplerSettings>,
    pub remote_not_sampled: Option<SamplerSettings>,
    pub local_sampled: Option<SamplerSettings>,
    pub local_not_sampled: Option<SamplerSettings>,
}

/// A rule: `AlwaysOff` drops what it fits, `AlwaysOn` keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    pub conditions: Vec<Condition>,
    pub sampler: SamplerSettings,
}

impl Default for SamplerSettings {
    /// `parentbased_always_on`.
    fn default() -> SamplerSettings {
        SamplerSettings::AlwaysOn.below_parents()
    }
}

impl SamplerSettings {
    /// As the parent was decided upon, and like this where there is none.
    #[must_use]
    pub fn below_parents(self) -> SamplerSettings {
        SamplerSettings::ParentBased(Box::new(ParentBasedSettings {
            root: self,
            remote_sampled: None,
            remote_not_sampled: None,
            local_sampled: None,
            local_not_sampled: None,
        }))
    }

    /// What `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` say, and `ratelimited` besides, whose argument is traces in a
    /// second. Always one to go on with, as the specification wants it, and what was wrong.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration>
    pub fn of_names(name: &str, argument: Option<&str>) -> (SamplerSettings, Option<SamplerError>) {
        let (root, is_below_parents) = match name.strip_prefix("parentbased_") {
            Some(root) => (root, true),
            None => (name, false),
        };
        let (number, mut error) = match argument.map(str::trim).filter(|argument| !argument.is_empty()) {
            None => (None, None),
            Some(argument) => match argument.parse::<f64>() {
                Ok(number) => (Some(number), None),
                Err(_) => (None, Some(SamplerError::Argument(argument.to_owned()))),
            },
        };
        // An argument that cannot be is as none.
        let mut checked = |make: fn(f64) -> SamplerSettings, usual: f64| {
            let settings = make(number.unwrap_or(usual));
            match settings.build() {
                Ok(_) => settings,
                Err(wrong) => {
                    error = Some(wrong);
                    make(usual)
                }
            }
        };
        let settings = match root {
            // Neither has an argument: it is not looked at.
            "always_on" => return (of_root(SamplerSettings::AlwaysOn, is_below_parents), None),
            "always_off" => return (of_root(SamplerSettings::AlwaysOff, is_below_parents), None),
            "traceidratio" => checked(SamplerSettings::TraceIdRatio, 1.0),
            "ratelimited" => checked(SamplerSettings::RateLimited, PER_SECOND_DEFAULT),
            _ => {
                let unknown = SamplerError::Name(name.to_owned());
                return (SamplerSettings::default(), Some(unknown));
            }
        };
        (of_root(settings, is_below_parents), error)
    }

    /// The sampler.
    pub fn build(&self) -> Result<Arc<dyn Sampler>, SamplerError> {
        self.build_within(DEPTH_MAX)
    }

    fn build_within(&self, depth: usize) -> Result<Arc<dyn Sampler>, SamplerError> {
        let below = depth.checked_sub(1).ok_or(SamplerError::Depth)?;
        Ok(match self {
            SamplerSettings::AlwaysOn => Arc::new(AlwaysOn),
            SamplerSettings::AlwaysOff => Arc::new(AlwaysOff),
            SamplerSettings::TraceIdRatio(ratio) => {
                Arc::new(TraceIdRatio::new(*ratio).ok_or(SamplerError::Ratio(*ratio))?)
            }
            SamplerSettings::RateLimited(per_second) => {
                Arc::new(RateLimited::new(*per_second).ok_or(SamplerError::PerSecond(*per_second))?)
            }
            SamplerSettings::ParentBased(settings) => Arc::new(settings.build_within(below)?),
            SamplerSettings::Composite(composable) => Arc::new(Composite::new(composable.clone())),
            SamplerSettings::Rules { rules, otherwise } => {
                let rules: Result<_, SamplerError> = rules
                    .iter()
                    .map(|rule| {
                        Ok(Rule {
                            conditions: rule.conditions.clone(),
                            sampler: rule.sampler.build_within(below)?,
                        })
                    })
                    .collect();
                Arc::new(RuleBased::new(rules?, otherwise.build_within(below)?))
            }
        })
    }
}

/// Of `ratelimited` without an argument.
const PER_SECOND_DEFAULT: f64 = 100.0;

fn of_root(root: SamplerSettings, is_below_parents: bool) -> SamplerSettings {
    match is_below_parents {
        true => root.below_parents(),
        false => root,
    }
}

impl ParentBasedSettings {
    fn build_within(&self, depth: usize) -> Result<ParentBased, SamplerError> {
        let mut sampler = ParentBased::new(self.root.build_within(depth)?);
        let others = [
            (&self.remote_sampled, &mut sampler.remote_sampled),
            (&self.remote_not_sampled, &mut sampler.remote_not_sampled),
            (&self.local_sampled, &mut sampler.local_sampled),
            (&self.local_not_sampled, &mut sampler.local_not_sampled),
        ];
        for (settings, sampler) in others {
            if let Some(settings) = settings {
                *sampler = settings.build_within(depth)?;
            }
        }
        Ok(sampler)
    }
}
