//! What a probe hands out piece by piece: items, entries, fields and words.

use std::cell::Cell;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Cause, Miss, Probe};
use crate::schema::shape::Step;

pub(super) struct Items<'w> {
    pub(super) next: usize,
    pub(super) count: usize,
    pub(super) tuple: bool,
    pub(super) probe: Probe<'w>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Miss;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Miss> {
        if self.next >= self.count {
            return Ok(None);
        }
        let step = if self.tuple {
            Step::Index(self.next)
        } else {
            Step::Item
        };
        self.next += 1;
        let child = self.probe.child(step);
        let path = child.path.clone();
        seed.deserialize(child).map(Some).map_err(|miss| miss.at(&path))
    }
}

/// One entry of a mapping whose keys are not known.
pub(super) struct Entry<'w> {
    pub(super) open: bool,
    pub(super) probe: Probe<'w>,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Miss;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Miss> {
        if !std::mem::take(&mut self.open) {
            return Ok(None);
        }
        let child = self.probe.child(Step::Key);
        let path = child.path.clone();
        seed.deserialize(child).map(Some).map_err(|miss| miss.at(&path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Miss> {
        let child = self.probe.child(Step::Value);
        let path = child.path.clone();
        seed.deserialize(child).map_err(|miss| miss.at(&path))
    }
}

pub(super) struct Fields<'w> {
    pub(super) offered: std::vec::IntoIter<&'static str>,
    pub(super) last: &'w Cell<Option<&'static str>>,
    pub(super) probe: Probe<'w>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Miss;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Miss> {
        self.last.set(self.offered.next());
        let Some(field) = self.last.get() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Miss> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Miss> {
        let Some(field) = self.last.get() else {
            return Err(Miss::new(Cause::Other));
        };
        let child = self.probe.child(Step::Field(field));
        let path = child.path.clone();
        seed.deserialize(child).map_err(|miss| miss.at(&path))
    }
}

pub(super) struct Word<'w> {
    pub(super) word: &'static str,
    pub(super) probe: Probe<'w>,
}

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Miss;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Miss> {
        let name: StrDeserializer<'_, Miss> = self.word.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Word<'_> {
    fn content<T>(self, read: impl FnOnce(Probe<'_>) -> Result<T, Miss>) -> Result<T, Miss> {
        let child = self.probe.child(Step::Variant(self.word));
        let path = child.path.clone();
        read(child).map_err(|miss| miss.at(&path))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Miss;

    fn unit_variant(self) -> Result<(), Miss> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Miss> {
        self.content(|probe| seed.deserialize(probe))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Miss> {
        self.content(|probe| probe.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Miss> {
        let word = self.word;
        self.content(|probe| probe.deserialize_struct(word, fields, visitor))
    }
}
