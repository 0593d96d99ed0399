//! The resource: what of an application all that it records has in common.

/// What the resource is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSettings {
    /// Set by hand, in front of what is found. Texts: variables and files have no others.
    pub attributes: Vec<(String, String)>,
}

/// A resource as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// A `Resource` message.
    pub message: Vec<u8>,
    pub schema_url: String,
}

impl ResourceSettings {
    /// The resource of this process.
    pub fn resource(&self) -> Resource {
        let mut set = crate::attributes::Attributes::new(
            1,
            crate::attributes::AttributeLimits {
                count: usize::MAX,
                value_length: None,
            },
        );
        for (key, value) in &self.attributes {
            set.set(key, value);
        }
        Resource {
            message: set.as_bytes().to_vec(),
            schema_url: String::new(),
        }
    }
}
