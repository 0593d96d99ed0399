//! The deserializer that answers with samples and notes what it was asked for.

mod access;
mod miss;

use std::cell::{Cell, RefCell};

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, Expected, IntoDeserializer, Visitor};

use access::{Entry, Fields, Items, Word};
pub(super) use miss::{Cause, Miss};

use super::Walk;
use super::shape::{INTEGERS, Kind, NUMBERS, OPEN, Sample, Shape, Step, TEXTS, TypePath};
use crate::leaf;

/// Steps into a type; what lies deeper is left open.
const DEPTH_MAX: usize = 32;

pub(crate) struct Probe<'w> {
    walk: &'w RefCell<Walk>,
    path: TypePath,
    /// The structs on the way, by name and fields, to notice one within itself.
    structs: Vec<(&'static str, &'static [&'static str])>,
}

impl<'w> Probe<'w> {
    pub(crate) fn root(walk: &'w RefCell<Walk>) -> Self {
        Self {
            walk,
            path: Vec::new(),
            structs: Vec::new(),
        }
    }

    fn child(&self, step: Step) -> Probe<'w> {
        let mut path = self.path.clone();
        path.push(step);
        Probe {
            walk: self.walk,
            path,
            structs: self.structs.clone(),
        }
    }

    /// Notes what is asked for; the number of the sample to answer with.
    fn note(&self, kind: Kind, expected: &dyn Expected) -> usize {
        let mut walk = self.walk.borrow_mut();
        if !walk.shapes.contains_key(&self.path) {
            let expected = expected.to_string();
            walk.shapes.insert(self.path.clone(), Shape { kind, expected });
        }
        walk.choices.get(&self.path).copied().unwrap_or(0)
    }

    fn is_skipped(&self, step: Step) -> bool {
        let path = [self.path.as_slice(), &[step]].concat();
        self.walk.borrow().skipped.contains(&path)
    }

    fn integer<'de, V: Visitor<'de>>(self, min: i128, max: i128, visitor: V) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::Integer { min, max }, &visitor);
        let number = INTEGERS[choice.min(INTEGERS.len() - 1)];
        let read = match min < 0 {
            true => visitor.visit_i64(number),
            false => visitor.visit_u64(number.unsigned_abs()),
        };
        read.map_err(|miss: Miss| miss.at(&self.path))
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::Number, &visitor);
        let read = visitor.visit_f64(NUMBERS[choice.min(NUMBERS.len() - 1)]);
        read.map_err(|miss: Miss| miss.at(&self.path))
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::String, &visitor);
        let read = visitor.visit_str(TEXTS[choice.min(TEXTS.len() - 1)]);
        read.map_err(|miss: Miss| miss.at(&self.path))
    }

    fn items<'de, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Miss> {
        self.note(kind.clone(), &visitor);
        let path = self.path.clone();
        let access = Items {
            next: 0,
            count: match kind {
                Kind::Tuple(length) => length,
                _ => usize::from(!self.is_skipped(Step::Item)),
            },
            tuple: matches!(kind, Kind::Tuple(_)),
            probe: self,
        };
        visitor.visit_seq(access).map_err(|miss: Miss| miss.at(&path))
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Miss;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::Open, &visitor);
        let nothing = || std::iter::empty::<(&str, &str)>();
        let read = match OPEN[choice.min(OPEN.len() - 1)] {
            Sample::Text(text) => visitor.visit_str(text),
            Sample::Integer(number) => visitor.visit_i64(number),
            Sample::Number(number) => visitor.visit_f64(number),
            Sample::Bool(flag) => visitor.visit_bool(flag),
            Sample::Nothing => visitor.visit_unit(),
            Sample::Sequence => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<&str>())),
            Sample::Mapping => visitor.visit_map(MapDeserializer::new(nothing())),
        };
        read.map_err(|miss: Miss| miss.at(&self.path))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::Bool, &visitor);
        visitor
            .visit_bool(choice == 1)
            .map_err(|miss: Miss| miss.at(&self.path))
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(i8::MIN.into(), i8::MAX.into(), visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(i16::MIN.into(), i16::MAX.into(), visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(i32::MIN.into(), i32::MAX.into(), visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(i64::MIN.into(), i64::MAX.into(), visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(i64::MIN.into(), u64::MAX.into(), visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(0, u8::MAX.into(), visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(0, u16::MAX.into(), visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(0, u32::MAX.into(), visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(0, u64::MAX.into(), visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.integer(0, u64::MAX.into(), visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.number(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.number(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.walk.borrow_mut().nullable.insert(self.path.clone());
        let path = self.path.clone();
        visitor.visit_some(self).map_err(|miss: Miss| miss.at(&path))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.note(Kind::Nothing, &visitor);
        visitor.visit_unit().map_err(|miss: Miss| miss.at(&self.path))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Miss> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Miss> {
        let path = self.path.clone();
        let read = match leaf::named(name) {
            Some(leaf) => {
                let choice = self.note(Kind::Leaf(leaf), &visitor);
                let example = leaf.examples.get(choice).copied().unwrap_or_default();
                let text: StrDeserializer<'_, Miss> = example.into_deserializer();
                visitor.visit_newtype_struct(text)
            }
            None => visitor.visit_newtype_struct(self),
        };
        read.map_err(|miss: Miss| miss.at(&path))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.items(Kind::Sequence, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Miss> {
        self.items(Kind::Tuple(length), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Miss> {
        self.items(Kind::Tuple(length), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.note(Kind::Map, &visitor);
        let path = self.path.clone();
        let access = Entry {
            open: !self.is_skipped(Step::Value),
            probe: self,
        };
        visitor.visit_map(access).map_err(|miss: Miss| miss.at(&path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Miss> {
        if self.structs.contains(&(name, fields)) || self.path.len() >= DEPTH_MAX {
            self.note(Kind::Cut, &visitor);
            return Err(Miss::new(Cause::Stop).at(&self.path));
        }
        self.note(Kind::Struct(fields), &visitor);
        self.structs.push((name, fields));
        let path = self.path.clone();
        let last = Cell::new(None);
        let offered = self.walk.borrow().offered(&path, fields);
        let access = Fields {
            offered: offered.into_iter(),
            last: &last,
            probe: self,
        };
        visitor.visit_map(access).map_err(|mut miss: Miss| {
            if miss.path.is_none() {
                miss.key = last.get();
            }
            miss.at(&path)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Miss> {
        let choice = self.note(Kind::Enum(words), &visitor);
        let path = self.path.clone();
        let Some(word) = words.get(choice).copied() else {
            return Err(Miss::new(Cause::Stop).at(&path));
        };
        visitor
            .visit_enum(Word { word, probe: self })
            .map_err(|miss: Miss| miss.at(&path))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.text(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Miss> {
        self.note(Kind::Open, &visitor);
        visitor.visit_unit().map_err(|miss: Miss| miss.at(&self.path))
    }
}

impl Walk {
    /// The fields of a struct that it is given, in order.
    fn offered(&self, path: &TypePath, fields: &'static [&'static str]) -> Vec<&'static str> {
        let at = |field: &'static str| [path.as_slice(), &[Step::Field(field)]].concat();
        if self.bare.as_ref() == Some(path) {
            let required = self.required.get(path).into_iter().flatten();
            return required
                .copied()
                .filter(|field| !self.skipped.contains(&at(field)))
                .collect();
        }
        let mut offered: Vec<&'static str> = fields
            .iter()
            .copied()
            .filter(|field| !self.skipped.contains(&at(field)))
            .collect();
        offered.sort_by_key(|field| !self.first.contains(&at(field)));
        offered
    }
}
