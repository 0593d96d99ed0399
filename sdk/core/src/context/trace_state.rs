//! `tracestate`: what vendors keep beside the ids, newest first.
//!
//! <https://www.w3.org/TR/trace-context-2/#tracestate-header>

use std::fmt;
use std::sync::Arc;

/// Most members of a list.
const MEMBERS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 256;

/// Why something is not, or cannot become, a trace state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceStateError {
    #[error("{0:?} is no key of a trace state")]
    Key(String),
    #[error("the value of {key} in a trace state cannot be {value:?}")]
    Value { key: String, value: String },
    #[error("{0:?} is no member of a trace state; it needs a key, '=' and a value")]
    Member(String),
    #[error("{0} is in a trace state twice")]
    Twice(String),
    #[error("a trace state has at most {MEMBERS_MAX} members")]
    TooMany,
}

/// A list of members as its header says it. Cheap to clone; most are empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TraceState(Option<Arc<str>>);

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceState({:?})", self.as_str())
    }
}

impl TraceState {
    /// Without members.
    pub const fn empty() -> TraceState {
        TraceState(None)
    }

    /// Reads a header, or several joined by commas. Empty members are passed over.
    pub fn parse(header: &str) -> Result<TraceState, TraceStateError> {
        let mut members: Vec<(&str, &str)> = Vec::new();
        for member in header.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member
                .split_once('=')
                .ok_or_else(|| TraceStateError::Member(member.to_owned()))?;
            check(key, value)?;
            if members.iter().any(|(known, _)| *known == key) {
                return Err(TraceStateError::Twice(key.to_owned()));
            }
            if members.len() == MEMBERS_MAX {
                return Err(TraceStateError::TooMany);
            }
            members.push((key, value));
        }
        Ok(TraceState::of(members))
    }

    fn of<'m>(members: impl IntoIterator<Item = (&'m str, &'m str)>) -> TraceState {
        let mut header = String::new();
        for (key, value) in members {
            if !header.is_empty() {
                header.push(',');
            }
            header.extend([key, "=", value]);
        }
        TraceState((!header.is_empty()).then(|| header.into()))
    }

    /// As a header has it; empty if there is none.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keys and values, newest first.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.as_str()
            .split(',')
            .filter_map(|member| member.split_once('='))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.members()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// With a member in front, in place of an earlier one of its key. The last one gives way where there are too many.
    pub fn with(&self, key: &str, value: &str) -> Result<TraceState, TraceStateError> {
        check(key, value)?;
        let others = self.members().filter(|(known, _)| *known != key);
        Ok(TraceState::of(
            [(key, value)].into_iter().chain(others).take(MEMBERS_MAX),
        ))
    }

    /// Without the member of this key.
    #[must_use]
    pub fn without(&self, key: &str) -> TraceState {
        TraceState::of(self.members().filter(|(known, _)| *known != key))
    }
}

fn check(key: &str, value: &str) -> Result<(), TraceStateError> {
    if !is_key(key) {
        return Err(TraceStateError::Key(key.to_owned()));
    }
    let printable = value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=');
    if value.is_empty() || value.len() > VALUE_BYTES_MAX || !printable || value.ends_with(' ') {
        return Err(TraceStateError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(())
}

/// A letter or digit, then such, `_`, `-`, `*`, `/` and `@`. Of where `@` may stand and how long its sides may be, the first
/// version of the specification was stricter; what only the second allows is taken.
fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    first && key.len() <= KEY_BYTES_MAX && bytes.all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_whole_or_not_at_all() {
        let state = TraceState::parse("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE,,\t ,a@b=1").unwrap();
        assert_eq!(state.as_str(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a@b=1");
        assert_eq!(
            (state.get("congo"), state.get("none")),
            (Some("t61rcWkgMzE"), None)
        );
        for (header, error) in [
            ("a=1,a=2", TraceStateError::Twice("a".to_owned())),
            ("a=1,b", TraceStateError::Member("b".to_owned())),
            ("A=1", TraceStateError::Key("A".to_owned())),
            ("-a=1", TraceStateError::Key("-a".to_owned())),
            (
                "a=",
                TraceStateError::Value {
                    key: "a".to_owned(),
                    value: String::new(),
                },
            ),
            (
                "a=b=c",
                TraceStateError::Value {
                    key: "a".to_owned(),
                    value: "b=c".to_owned(),
                },
            ),
        ] {
            assert_eq!(TraceState::parse(header), Err(error), "{header}");
        }
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("k{n}=v"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(TraceState::parse(&many(32)).unwrap().members().count(), 32);
        assert_eq!(TraceState::parse(&many(33)), Err(TraceStateError::TooMany));
        assert!(TraceState::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_changed_member_comes_first_and_the_last_gives_way() {
        let many = (0..32).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let state = TraceState::parse(&many).unwrap().with("k3", "new").unwrap();
        assert!(state.as_str().starts_with("k3=new,k0=v,"));
        assert_eq!(state.members().count(), 32);
        let state = state.with("ot", "th:8").unwrap();
        assert_eq!((state.members().count(), state.get("k31")), (32, None));
        assert_eq!(state.without("ot").members().count(), 31);
        assert!(state.with("ot", "a,b").is_err());
    }
}
