//! `Client`: what a receiver knows of who sent a batch. Travels beside the batch and is no part of what it says.
//!
//! The OpenTelemetry Collector calls it client information: the address of the connection, the headers of the request
//! where the receiver keeps them, and what an authenticator found out. Values may be secrets: they are not printed.

use std::fmt;
use std::net::IpAddr;

/// Who sent a batch. Everything in it is optional.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Client {
    address: Option<IpAddr>,
    /// Sorted by name, names in lower case.
    metadata: Vec<(String, Vec<String>)>,
    /// Sorted by name.
    identity: Vec<(String, String)>,
}

impl Client {
    /// Known by its address alone.
    #[must_use]
    pub fn at(address: IpAddr) -> Client {
        Client::default().at_address(address)
    }

    /// The same at an address.
    #[must_use]
    pub fn at_address(self, address: IpAddr) -> Client {
        Client {
            address: Some(address.to_canonical()),
            ..self
        }
    }

    /// The same with headers, or whatever the protocol has in their place. A name that comes again adds a value.
    #[must_use]
    pub fn with_metadata<'h>(mut self, headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Client {
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            match self.metadata.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(found) => self.metadata[found].1.push(value.to_owned()),
                Err(free) => self.metadata.insert(free, (name, vec![value.to_owned()])),
            }
        }
        self
    }

    /// The same with what an authenticator says of it: names and values.
    #[must_use]
    pub fn with_identity(mut self, attributes: impl IntoIterator<Item = (String, String)>) -> Client {
        self.identity.extend(attributes);
        self.identity.sort();
        self
    }

    /// Of the connection; one of IPv4 is never written as one of IPv6.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The values of a header, whose name may have capitals; none if it was not there or is not kept.
    pub fn metadata(&self, name: &str) -> &[String] {
        let name = name.to_ascii_lowercase();
        self.metadata
            .binary_search_by(|(known, _)| known.cmp(&name))
            .map_or(&[], |found| &self.metadata[found].1)
    }

    /// All headers that are kept: names in lower case, in order, each with its values.
    pub fn all_metadata(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.metadata
            .iter()
            .map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// What the authenticator says, by its name.
    pub fn identity(&self, name: &str) -> Option<&str> {
        self.identity
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All that the authenticator says, in order.
    pub fn all_identity(&self) -> impl Iterator<Item = (&str, &str)> {
        self.identity
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// No more than these headers of it: what several senders can have in common.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Client {
        let is_named = |name: &str| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        Client {
            metadata: self
                .metadata
                .iter()
                .filter(|(name, _)| is_named(name))
                .cloned()
                .collect(),
            ..Client::default()
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Client::default()
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let metadata = self
            .metadata
            .iter()
            .flat_map(|(name, values)| std::iter::once(name).chain(values));
        let identity = self.identity.iter().flat_map(|(name, value)| [name, value]);
        let texts = metadata
            .chain(identity)
            .map(|text| text.len() + size_of::<String>());
        size_of::<Client>() + texts.sum::<usize>()
    }
}

/// Names alone: credentials are among the values.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.metadata.iter().map(|(name, _)| name);
        let identity = self.identity.iter().map(|(name, _)| name);
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("metadata", &names.collect::<Vec<_>>())
            .field("identity", &identity.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_any_spelling_with_all_its_values() {
        let client = Client::at("::ffff:10.0.0.7".parse().unwrap())
            .with_metadata([
                ("X-Team", "a"),
                ("Authorization", "Bearer secret"),
                ("x-team", "b"),
            ])
            .with_identity([("username".to_owned(), "mia".to_owned())]);
        assert_eq!(client.address(), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(client.metadata("X-TEAM"), ["a", "b"]);
        assert_eq!(client.metadata("x-tea"), [""; 0]);
        assert_eq!(client.identity("username"), Some("mia"));
        assert_eq!(client.identity("Username"), None);
        let said = format!("{client:?}");
        assert!(
            said.contains("authorization") && !said.contains("secret") && !said.contains("mia"),
            "{said}"
        );
    }

    #[test]
    fn what_several_senders_share_is_named_headers_alone() {
        let client = Client::at("10.0.0.7".parse().unwrap())
            .with_metadata([("x-team", "a"), ("x-other", "b")])
            .with_identity([("username".to_owned(), "mia".to_owned())]);
        let shared = client.only(&["X-Team".to_owned(), "x-missing".to_owned()]);
        assert_eq!(shared, Client::default().with_metadata([("x-team", "a")]));
        assert!(!shared.is_empty() && shared.only(&[]).is_empty());
    }
}
