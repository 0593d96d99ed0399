//! What an application says about a whole request, and every service that has a part in it hears: the tenant, the user, the
//! correlation id.
//!
//! <https://www.w3.org/TR/baggage/>, <https://opentelemetry.io/docs/specs/otel/baggage/api/>

use std::sync::Arc;

/// Most members, and most bytes of all as a header: what every implementation must pass on, and as much as ours does.
pub const MEMBERS_MAX: usize = 64;
pub const HEADER_BYTES_MAX: usize = 8192;

/// Why something cannot be in baggage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaggageError {
    #[error("{0:?} cannot be a name in baggage; it may have letters, digits and !#$%&'*+-.^_`|~")]
    Name(String),
    #[error(
        "baggage has at most {MEMBERS_MAX} members and {HEADER_BYTES_MAX} bytes; {0} does not fit any more"
    )]
    Full(String),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Not encoded.
    pub value: String,
    /// As the header has them behind the value, without the first semicolon; passed on as they came.
    pub properties: String,
}

impl Member {
    /// Bytes in a header.
    fn header_bytes(&self) -> usize {
        let properties = match self.properties.len() {
            0 => 0,
            length => length + 1,
        };
        self.name.len() + 1 + encoded_bytes(&self.value) + properties
    }
}

/// Names and values, each name once. Never changed, cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baggage(Option<Arc<[Member]>>);

impl Baggage {
    /// Nothing.
    pub const fn none() -> Baggage {
        Baggage(None)
    }

    pub fn members(&self) -> &[Member] {
        self.0.as_deref().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.members().iter().find(|member| member.name == name)?;
        Some(&found.value)
    }

    /// With a member, in place of an earlier one of its name.
    pub fn with(&self, name: &str, value: &str) -> Result<Baggage, BaggageError> {
        self.with_properties(name, value, "")
    }

    /// With a member that has properties, as the header has them; those that it cannot have are left out.
    pub fn with_properties(
        &self,
        name: &str,
        value: &str,
        properties: &str,
    ) -> Result<Baggage, BaggageError> {
        if !is_token(name) {
            return Err(BaggageError::Name(name.to_owned()));
        }
        let properties = match is_visible(properties) && !properties.contains(',') {
            true => trimmed(properties),
            false => "",
        };
        let mut members = self.without(name).members().to_vec();
        members.push(Member {
            name: name.to_owned(),
            value: value.to_owned(),
            properties: properties.to_owned(),
        });
        let bytes: usize = members.iter().map(|member| member.header_bytes() + 1).sum();
        if members.len() > MEMBERS_MAX || bytes - 1 > HEADER_BYTES_MAX {
            return Err(BaggageError::Full(name.to_owned()));
        }
        Ok(Baggage::of(members))
    }

    /// Without the member of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Baggage {
        match self.get(name) {
            Some(_) => {
                let others = self.members().iter().filter(|member| member.name != name);
                Baggage::of(others.cloned().collect())
            }
            None => self.clone(),
        }
    }

    fn of(members: Vec<Member>) -> Baggage {
        Baggage((!members.is_empty()).then(|| members.into()))
    }

    /// Reads a header, or several joined by commas. Members that are none are left out, as are those beyond the bounds; of two
    /// of a name the later one counts.
    pub fn parse(header: &str) -> Baggage {
        let mut members: Vec<Member> = Vec::new();
        let mut bytes = 0;
        for text in header.split(',') {
            let Some(member) = parse_member(text) else {
                continue;
            };
            let length = member.header_bytes() + usize::from(!members.is_empty());
            if bytes + length > HEADER_BYTES_MAX {
                break;
            }
            match members.iter().position(|known| known.name == member.name) {
                Some(at) => members[at] = member,
                None if members.len() == MEMBERS_MAX => break,
                None => members.push(member),
            }
            bytes += length;
        }
        Baggage::of(members)
    }

    /// As a header; empty if there is nothing in it.
    pub fn to_header(&self) -> String {
        let mut header = String::new();
        for member in self.members() {
            if !header.is_empty() {
                header.push(',');
            }
            header.extend([&member.name, "="]);
            encode(&member.value, &mut header);
            if !member.properties.is_empty() {
                header.extend([";", &member.properties]);
            }
        }
        header
    }
}

fn parse_member(text: &str) -> Option<Member> {
    let (pair, properties) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = pair.split_once('=')?;
    let (name, value) = (trimmed(name), trimmed(value));
    (is_token(name) && is_visible(value) && is_visible(properties)).then(|| Member {
        name: name.to_owned(),
        value: decode(value),
        properties: trimmed(properties).to_owned(),
    })
}

/// Characters that a header can have.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A `token` of HTTP.
fn is_token(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// A byte that stands for itself in a value: `baggage-octet` without the percent sign.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x24 | 0x26..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

fn encoded_bytes(value: &str) -> usize {
    value.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

pub(crate) fn encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// A percent sign without two digits stands for itself; what is no UTF-8 becomes replacement characters.
pub(crate) fn decode(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = value.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_read_as_the_specification_has_it() {
        let baggage = Baggage::parse(
            "userId = alice ;p=1;q , tenant.id=a%20b%C3%BC,broken,=x,ke y=1,n=100%,tenant.id=c",
        );
        let pairs: Vec<_> = baggage
            .members()
            .iter()
            .map(|member| {
                (
                    member.name.as_str(),
                    member.value.as_str(),
                    member.properties.as_str(),
                )
            })
            .collect();
        assert_eq!(
            pairs,
            [
                ("userId", "alice", "p=1;q"),
                ("tenant.id", "c", ""),
                ("n", "100%", "")
            ]
        );
        assert_eq!(baggage.to_header(), "userId=alice;p=1;q,tenant.id=c,n=100%25");
        assert!(Baggage::parse("").is_empty());
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let many = (0..70).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let baggage = Baggage::parse(&many);
        assert_eq!(
            (baggage.members().len(), baggage.get("k63"), baggage.get("k64")),
            (64, Some("v"), None)
        );
        assert_eq!(
            baggage.with("new", "v"),
            Err(BaggageError::Full("new".to_owned()))
        );
        assert!(baggage.with("k3", "other").is_ok());
        let long = "x".repeat(HEADER_BYTES_MAX - 2);
        let baggage = Baggage::default().with("a", &long).unwrap();
        assert_eq!(baggage.to_header().len(), HEADER_BYTES_MAX);
        assert!(baggage.with("b", "").is_err());
        assert!(baggage.with("a", &format!("{long}x")).is_err());
        assert_eq!(Baggage::parse(&baggage.to_header()), baggage);
        assert_eq!(
            Baggage::default().with("a b", ""),
            Err(BaggageError::Name("a b".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_arrives(pairs in prop::collection::vec(("[a-z]{1,5}", any::<String>()), 0..20)) {
            let mut baggage = Baggage::default();
            for (name, value) in &pairs {
                baggage = baggage.with(name, value).unwrap();
            }
            let arrived = Baggage::parse(&baggage.to_header());
            prop_assert_eq!(&arrived, &baggage);
            for (name, _) in &pairs {
                prop_assert_eq!(arrived.get(name), baggage.get(name));
            }
        }

        #[test]
        fn any_header_is_read_within_the_bounds(header in any::<String>()) {
            let baggage = Baggage::parse(&header);
            prop_assert!(baggage.to_header().len() <= HEADER_BYTES_MAX);
            prop_assert_eq!(Baggage::parse(&baggage.to_header()), baggage);
        }
    }
}
