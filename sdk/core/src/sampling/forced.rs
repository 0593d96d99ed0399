//! Traces that somebody wants to see whatever samplers say: how a request asks for it. Propagation carries it on, in the baggage
//! or the debug flags of B3 and Jaeger.
//!
//! Off unless it is configured: whoever may set the flag makes the application, and every service behind it, record and export all
//! of a request. An edge that cannot trust its callers leaves it off, or asks who they are first, and does not believe callers that
//! say it is set already ([`ForceSettings::from_callers`]).

/// The usual name of the flag in a query.
pub const FORCE_QUERY: &str = "force_full_trace";
/// The usual name of the header.
pub const FORCE_HEADER: &str = "x-force-full-trace";
/// The attribute, `true`, of spans that were recorded because they were forced to be.
pub const FORCED: &str = "cupola.forced";

/// What of a request forces its trace to be recorded. By default what other services say, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForceSettings {
    /// The name of a flag in the query: `?force_full_trace=1`.
    pub query: Option<String>,
    /// The name of a header, of which the case does not count.
    pub header: Option<String>,
    /// Whether it counts that a caller says that its trace is forced: by the baggage, or the debug flags of B3 and Jaeger. A
    /// service at the border says no: a forced trace of a stranger is then one that is sampled, as its headers say.
    pub from_callers: bool,
}

impl Default for ForceSettings {
    fn default() -> ForceSettings {
        ForceSettings {
            query: None,
            header: None,
            from_callers: true,
        }
    }
}

impl ForceSettings {
    /// By query and header under their usual names.
    pub fn usual() -> ForceSettings {
        ForceSettings {
            query: Some(FORCE_QUERY.to_owned()),
            header: Some(FORCE_HEADER.to_owned()),
            ..ForceSettings::default()
        }
    }

    /// Whether a request asks for it: of this query, without `?`, and with the headers that `header` finds by name.
    pub fn is_asked<'r>(&self, query: Option<&str>, header: impl FnOnce(&str) -> Option<&'r str>) -> bool {
        let by_query = || Some(force_from_query(query?, self.query.as_deref()?));
        let by_header = || Some(force_from_header(header(self.header.as_deref()?)?));
        by_query().unwrap_or(false) || by_header().unwrap_or(false)
    }
}

/// Whether a query has this flag, set: `?force_full_trace`, `=1`, `=true`, `=yes` or `=on`. Of several the last counts. Names with
/// characters that a query has to encode are not found.
pub fn force_from_query(query: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let pairs = query.trim_start_matches('?').split('&');
    let mut flags = pairs.filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
        (key == name).then_some(value)
    });
    flags.next_back().is_some_and(is_set)
}

/// Whether the value of a header sets the flag.
pub fn force_from_header(value: &str) -> bool {
    is_set(value.trim())
}

fn is_set(value: &str) -> bool {
    ["1", "true", "yes", "on"]
        .iter()
        .any(|set| value.eq_ignore_ascii_case(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sets_the_flag_or_does_not() {
        for (query, is_forced) in [
            ("force_full_trace", true),
            ("?force_full_trace=1", true),
            ("a=b&force_full_trace=TRUE&c", true),
            ("force_full_trace=yes", true),
            ("force_full_trace=0", false),
            ("force_full_trace=", false),
            ("force_full_trace=1&force_full_trace=0", false),
            ("not_force_full_trace=1", false),
            ("a=force_full_trace", false),
            ("", false),
            ("&&==&=1", false),
        ] {
            assert_eq!(force_from_query(query, FORCE_QUERY), is_forced, "{query}");
        }
        assert!(!force_from_query("", "") && !force_from_query("=1", ""));
    }

    #[test]
    fn nobody_can_force_anything_unless_it_is_configured() {
        let both = |settings: &ForceSettings| {
            [
                settings.is_asked(Some("force_full_trace=1"), |_| None),
                settings.is_asked(None, |name| (name == FORCE_HEADER).then_some(" 1 ")),
                settings.is_asked(Some("force_full_trace=0"), |_| Some("0")),
            ]
        };
        assert_eq!(both(&ForceSettings::default()), [false, false, false]);
        assert_eq!(both(&ForceSettings::usual()), [true, true, false]);
        let query_alone = ForceSettings {
            header: None,
            ..ForceSettings::usual()
        };
        assert_eq!(both(&query_alone), [true, false, false]);
    }
}
