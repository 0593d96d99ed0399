//! The two outer envelopes of a signal: per resource, per scope.

use super::repeated::Extent;
use crate::wire::Reader;

/// The two outer envelopes are alike for all signals; only field 2 differs in what it holds.
macro_rules! envelopes {
    ($data:ident, $resource:ident, $scope:ident, $item:ty, $items:ident) => {
        /// An export request, or several concatenated.
        #[derive(Clone, Copy)]
        pub struct $data<'a> {
            raw: &'a [u8],
        }

        impl<'a> $data<'a> {
            /// Views the bytes of a canonical export request.
            pub fn new(raw: &'a [u8]) -> Self {
                Self { raw }
            }

            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }

            pub fn resources(&self) -> Repeated<'a, $resource<'a>> {
                Repeated::new(self.raw, 1)
            }
        }

        /// Telemetry of one resource.
        #[derive(Clone, Copy)]
        pub struct $resource<'a> {
            raw: &'a [u8],
            resource: Option<&'a [u8]>,
            scopes: &'a [u8],
            schema_url: &'a str,
        }

        impl<'a> Message<'a> for $resource<'a> {
            fn parse(raw: &'a [u8]) -> Self {
                let (resource, scopes, schema_url) = super::envelope::parse_envelope(raw);
                Self {
                    raw,
                    resource,
                    scopes,
                    schema_url,
                }
            }
        }

        impl<'a> $resource<'a> {
            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }

            /// Whether the message names a resource at all.
            pub fn has_resource(&self) -> bool {
                self.resource.is_some()
            }

            pub fn resource(&self) -> Resource<'a> {
                Resource::parse(self.resource.unwrap_or_default())
            }

            pub fn schema_url(&self) -> &'a str {
                self.schema_url
            }

            pub fn scopes(&self) -> Repeated<'a, $scope<'a>> {
                Repeated::new(self.scopes, 2)
            }
        }

        /// Telemetry of one instrumentation scope.
        #[derive(Clone, Copy)]
        pub struct $scope<'a> {
            raw: &'a [u8],
            scope: Option<&'a [u8]>,
            items: &'a [u8],
            schema_url: &'a str,
        }

        impl<'a> Message<'a> for $scope<'a> {
            fn parse(raw: &'a [u8]) -> Self {
                let (scope, items, schema_url) = super::envelope::parse_envelope(raw);
                Self {
                    raw,
                    scope,
                    items,
                    schema_url,
                }
            }
        }

        impl<'a> $scope<'a> {
            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }

            /// Whether the message names a scope at all.
            pub fn has_scope(&self) -> bool {
                self.scope.is_some()
            }

            pub fn scope(&self) -> Scope<'a> {
                Scope::parse(self.scope.unwrap_or_default())
            }

            pub fn schema_url(&self) -> &'a str {
                self.schema_url
            }

            pub fn $items(&self) -> Repeated<'a, $item> {
                Repeated::new(self.items, 2)
            }
        }
    };
}
pub(super) use envelopes;

/// Fields 1 (resource or scope), 2 (repeated contents) and 3 (schema URL) of an envelope.
pub(super) fn parse_envelope(raw: &[u8]) -> (Option<&[u8]>, &[u8], &str) {
    let mut reader = Reader::new(raw);
    let (mut head, mut contents, mut schema_url) = (None, Extent::default(), "");
    let mut before = reader.rest();
    while let Some(key) = reader.key() {
        match key >> 3 {
            1 => head = Some(reader.bytes()),
            2 => contents.include(before, &mut reader),
            3 => schema_url = reader.string(),
            _ => reader.skip(key),
        }
        before = reader.rest();
    }
    (head, contents.fields(), schema_url)
}
