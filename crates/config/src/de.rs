//! From a tree to a type: serde's view of a node. Each mistake gets the place and the path of the innermost node that
//! made it. Refuses to word mistakes; that is of `read`.

mod key;
mod mistake;

use std::cell::Cell;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use key::Named;
use mistake::Path;
pub(crate) use mistake::{Kind, Mistake, Spot, Step};

use crate::leaf::{self, Leaf};
use crate::tree::{Entry, Node, Value};

/// Reads `node` as a `T`, up to the first mistake.
pub(crate) fn read<'de, T: Deserialize<'de>>(node: &Node) -> Result<T, Mistake> {
    let reader = Reader {
        node,
        path: &Path::Root,
        leaf: None,
    };
    T::deserialize(reader).map_err(|mistake: Mistake| reader.placed(mistake))
}

#[derive(Clone, Copy)]
struct Reader<'r> {
    node: &'r Node,
    path: &'r Path<'r>,
    leaf: Option<&'static Leaf>,
}

impl Reader<'_> {
    /// Gives a mistake this place, unless a node further in has given it one.
    fn placed(self, mut mistake: Mistake) -> Mistake {
        if mistake.0.spot.is_none() {
            // A mapping begins at its first key, which says less than the key it belongs to.
            let place = match self.path {
                Path::Key(_, entry) if self.node.is_mapping() || self.node.is_null() => &entry.place,
                _ => self.node.place(),
            };
            mistake.0.spot = Some(Spot {
                path: self.path.steps(),
                node: self.node.clone(),
                place: place.clone(),
                leaf: self.leaf,
            });
        }
        mistake
    }

    fn place<T>(self, read: Result<T, Mistake>) -> Result<T, Mistake> {
        read.map_err(|mistake| self.placed(mistake))
    }

    /// The text, for settings of type text. Ports and versions look like numbers; nothing is a text only where a
    /// reference led to nothing.
    fn as_text(&self) -> Option<&str> {
        self.node
            .text()
            .filter(|_| !self.node.is_null() || !self.node.origin().is_written())
    }

    fn entries<'de, V: Visitor<'de>>(self, entries: &[Entry], visitor: V) -> Result<V::Value, Mistake> {
        let last = Cell::new(None);
        let access = Entries {
            entries,
            next: 0,
            last: &last,
            reader: self,
        };
        let read = visitor.visit_map(access);
        read.map_err(|mistake| match (&mistake.0.kind, last.get()) {
            // A key under two names is the fault of the later one.
            (Kind::DuplicateKey(_), Some(index)) => mistake.of_key(self.path, &entries[index]),
            _ => self.placed(mistake),
        })
    }

    fn sequence<'de, V: Visitor<'de>>(self, items: &[Node], visitor: V) -> Result<V::Value, Mistake> {
        let next = Cell::new(0);
        let access = Items {
            items,
            next: &next,
            path: self.path,
        };
        let read = self.place(visitor.visit_seq(access))?;
        // A tuple takes what it needs and leaves the rest.
        match items.get(next.get()) {
            Some(_) => self.place(Err(Mistake::custom(format!(
                "{} items are expected, not {}",
                next.get(),
                items.len()
            )))),
            None => Ok(read),
        }
    }
}

fn entry_reader<T>(path: &Path<'_>, entry: &Entry, work: impl FnOnce(Reader<'_>) -> T) -> T {
    work(Reader {
        node: &entry.value,
        path: &Path::Key(path, entry),
        leaf: None,
    })
}

fn visit_int<'de, V: Visitor<'de>>(visitor: V, number: i128) -> Result<V::Value, Mistake> {
    if let Ok(number) = i64::try_from(number) {
        return visitor.visit_i64(number);
    }
    match u64::try_from(number) {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => visitor.visit_i128(number),
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let read = match self.node.value() {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visit_int(visitor, *number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::String(text) => visitor.visit_str(text),
            // What a reference led to may look like a list where a single value is wanted.
            Value::Sequence(_) | Value::Mapping(_) if self.leaf.is_some() && self.as_text().is_some() => {
                visitor.visit_str(self.as_text().unwrap_or_default())
            }
            Value::Sequence(items) => return self.sequence(items, visitor),
            Value::Mapping(entries) => return self.entries(entries, visitor),
        };
        self.place(read)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.node.is_null() {
            return self.place(visitor.visit_none());
        }
        self.place(visitor.visit_some(self))
    }

    /// A key without a value is a section that says nothing: `grpc:` means gRPC with defaults.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.node.is_null() {
            let nothing = std::iter::empty::<(&str, &str)>();
            return self.place(visitor.visit_map(MapDeserializer::new(nothing)));
        }
        // The fields of a struct by their order are nothing that anybody means.
        if self.node.is_sequence() {
            return self.place(Err(Mistake::invalid_type(Unexpected::Seq, &visitor)));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.as_text() {
            Some(text) => self.place(visitor.visit_str(text)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_string(visitor)
    }

    /// A text where a list is wanted is a list separated by commas, so that a variable can hold one.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Some(text) = self.node.as_str() else {
            return self.deserialize_any(visitor);
        };
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let items: Vec<Node> = words
            .map(|word| Node::string(self.node.place().clone(), word).moved(self.node.origin(), None))
            .collect();
        // A mistake in an item is one of the text as a whole.
        self.sequence(&items, visitor).map_err(|mut mistake| {
            mistake.0.spot = None;
            self.placed(mistake)
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let reader = Reader {
            leaf: leaf::named(name).or(self.leaf),
            ..self
        };
        reader.place(visitor.visit_newtype_struct(reader))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let read = match self.node.value() {
            Value::Mapping(entries) if entries.len() == 1 => visitor.visit_enum(Variant {
                name: &entries[0].key,
                content: Some((self.path, &entries[0])),
            }),
            Value::Mapping(_) | Value::Sequence(_) | Value::Null => Err(Mistake::invalid_type(
                unexpected(self.node),
                &"one of the known words",
            )),
            _ => visitor.visit_enum(Variant {
                name: self.node.text().unwrap_or_default(),
                content: None,
            }),
        };
        self.place(read)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier
    }
}

fn unexpected(node: &Node) -> Unexpected<'_> {
    match node.value() {
        Value::Mapping(_) => Unexpected::Map,
        Value::Sequence(_) => Unexpected::Seq,
        _ => Unexpected::Unit,
    }
}

struct Items<'r> {
    items: &'r [Node],
    next: &'r Cell<usize>,
    path: &'r Path<'r>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let index = self.next.get();
        let Some(node) = self.items.get(index) else {
            return Ok(None);
        };
        let path = Path::Item(self.path, index);
        self.next.set(index + 1);
        let reader = Reader {
            node,
            path: &path,
            leaf: None,
        };
        reader.place(seed.deserialize(reader)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next.get())
    }
}

struct Entries<'r> {
    entries: &'r [Entry],
    next: usize,
    last: &'r Cell<Option<usize>>,
    reader: Reader<'r>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some(entry) = self.entries.get(self.next) else {
            return Ok(None);
        };
        self.last.set(Some(self.next));
        self.next += 1;
        let key: StrDeserializer<'_, Mistake> = entry.key.as_ref().into_deserializer();
        let read = seed.deserialize(Named(key));
        read.map(Some)
            .map_err(|mistake| mistake.of_key(self.reader.path, entry))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let entry = self.last.get().and_then(|index| self.entries.get(index));
        let Some(entry) = entry else {
            return Err(Mistake::custom("a value was read before its key"));
        };
        entry_reader(self.reader.path, entry, |reader| {
            reader.place(seed.deserialize(reader))
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len() - self.next)
    }
}

/// `word`, or `word: content`.
struct Variant<'r> {
    name: &'r str,
    content: Option<(&'r Path<'r>, &'r Entry)>,
}

impl<'r> Variant<'r> {
    fn with_content<T>(self, read: impl FnOnce(Reader<'_>) -> Result<T, Mistake>) -> Result<T, Mistake> {
        match self.content {
            Some((path, entry)) => entry_reader(path, entry, |reader| reader.place(read(reader))),
            None => Err(Mistake::custom(format!(
                "`{}` takes settings of its own",
                self.name
            ))),
        }
    }
}

impl<'de, 'r> EnumAccess<'de> for Variant<'r> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let name: StrDeserializer<'_, Mistake> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match self.content {
            Some((_, entry)) if !entry.value.is_null() => {
                Err(Mistake::custom(format!("`{}` takes no settings", self.name)))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        self.with_content(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.with_content(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.with_content(|reader| reader.deserialize_struct("", fields, visitor))
    }
}
