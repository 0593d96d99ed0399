//! What a scraper can measure: one entry of its table.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sum that only grows.
    Counter,
    /// A sum that goes up and down.
    Level,
    Gauge,
}

/// One metric that a scraper knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
    /// Measured unless the settings say otherwise.
    pub(super) usual: bool,
    /// In the order in which a scraper gives their values.
    pub(super) attributes: &'static [&'static str],
    /// Of the attributes, those that points do not have unless the settings ask for them.
    pub(super) on_demand: &'static [&'static str],
    /// Of the attributes, those whose values are whole numbers.
    pub(super) numbers: &'static [&'static str],
}

impl Metric {
    const fn new(
        kind: Kind,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        attributes: &'static [&'static str],
    ) -> Metric {
        Metric {
            name,
            unit,
            description,
            kind,
            usual: true,
            attributes,
            on_demand: &[],
            numbers: &[],
        }
    }

    pub(super) const fn counter(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        attributes: &'static [&'static str],
    ) -> Metric {
        Metric::new(Kind::Counter, name, unit, description, attributes)
    }

    pub(super) const fn level(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        attributes: &'static [&'static str],
    ) -> Metric {
        Metric::new(Kind::Level, name, unit, description, attributes)
    }

    pub(super) const fn gauge(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        attributes: &'static [&'static str],
    ) -> Metric {
        Metric::new(Kind::Gauge, name, unit, description, attributes)
    }

    /// Measured only if the settings say so.
    pub(super) const fn off(self) -> Metric {
        Metric { usual: false, ..self }
    }

    /// Values of these attributes are whole numbers.
    pub(super) const fn numbers(self, numbers: &'static [&'static str]) -> Metric {
        Metric { numbers, ..self }
    }

    /// Points have these attributes only if the settings name them.
    pub(super) const fn unless_asked(self, on_demand: &'static [&'static str]) -> Metric {
        Metric { on_demand, ..self }
    }
}
