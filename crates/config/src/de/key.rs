//! The keys of mappings as serde reads them.

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::mistake::Mistake;

/// A key: a text, that numbers may be read from too.
pub(super) struct Named<'k>(pub(super) StrDeserializer<'k, Mistake>);

macro_rules! number_from_key {
    ($($method:ident: $type:ty => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let text = String::deserialize(self.0)?;
            match text.parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_string(text),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Named<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    number_from_key!(
        deserialize_i8: i64 => visit_i64, deserialize_i16: i64 => visit_i64, deserialize_i32: i64 => visit_i64,
        deserialize_i64: i64 => visit_i64, deserialize_u8: u64 => visit_u64, deserialize_u16: u64 => visit_u64,
        deserialize_u32: u64 => visit_u64, deserialize_u64: u64 => visit_u64, deserialize_f64: f64 => visit_f64,
        deserialize_bool: bool => visit_bool
    );

    forward_to_deserialize_any! {
        i128 u128 f32 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
