//! `Array`: the elements of an array value.

use super::field::Fields;
use super::value::{ARRAY_LEVELS, Lazy, Value, nesting_of};
use crate::wire::{close, open};

/// Number of the array in an `AnyValue`, and of an element in an `ArrayValue`.
const ARRAY: u32 = 5;
const ELEMENT: u32 = 1;

/// Elements of an array value. Bytes until changed.
#[derive(Clone, Debug, Default)]
pub struct Array<'a> {
    /// The encoded `AnyValue` that this came from: its unknown fields stay.
    around: &'a [u8],
    /// `None` as long as `around` says it all.
    items: Option<Vec<Lazy<'a>>>,
}

impl<'a> Array<'a> {
    pub fn new() -> Self {
        Self {
            around: &[],
            items: Some(Vec::new()),
        }
    }

    pub(super) fn of_any_value(raw: &'a [u8]) -> Self {
        Self {
            around: raw,
            items: None,
        }
    }

    fn list(&self) -> &'a [u8] {
        Fields::new(self.around).next_contents(ARRAY).unwrap_or_default()
    }

    fn raw_elements(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut fields = Fields::new(self.list());
        std::iter::from_fn(move || fields.next_contents(ELEMENT))
    }

    pub fn len(&self) -> usize {
        match &self.items {
            Some(items) => items.len(),
            None => self.raw_elements().count(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match &self.items {
            Some(items) => items.get(index).map(Lazy::get),
            None => self.raw_elements().nth(index).map(Value::decode),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a, '_> {
        let loaded = self.items.as_deref().unwrap_or_default().iter().map(Lazy::get);
        let raw = self
            .items
            .is_none()
            .then(|| self.raw_elements().map(Value::decode));
        loaded.chain(raw.into_iter().flatten())
    }

    fn items_mut(&mut self) -> &mut Vec<Lazy<'a>> {
        if self.items.is_none() {
            self.items = Some(self.raw_elements().map(Lazy::raw).collect());
        }
        self.items.get_or_insert_default()
    }

    pub fn push(&mut self, value: Value<'a>) {
        self.items_mut().push(Lazy::value(value));
    }

    /// Replaces an element. Says whether there is one.
    pub fn set(&mut self, index: usize, value: Value<'a>) -> bool {
        if index >= self.len() {
            return false;
        }
        if let Some(item) = self.items_mut().get_mut(index) {
            *item = Lazy::value(value);
        }
        true
    }

    /// The map or array that an element is, to be changed.
    pub fn inner_mut(&mut self, index: usize) -> Option<&mut Value<'a>> {
        if !matches!(self.get(index)?, Value::Map(_) | Value::Array(_)) {
            return None;
        }
        self.items_mut().get_mut(index).map(Lazy::get_mut)
    }

    /// Removes the elements from `start` up to `end`; nothing if there are not so many.
    pub fn remove(&mut self, start: usize, end: usize) {
        let items = self.items_mut();
        if start <= end && end <= items.len() {
            items.drain(start..end);
        }
    }

    pub(super) fn nesting(&self) -> usize {
        match &self.items {
            None => nesting_of(self.around),
            Some(items) => items
                .iter()
                .map(|item| ARRAY_LEVELS + item.nesting())
                .max()
                .unwrap_or(1),
        }
    }

    /// Appends the contents of an `AnyValue` that holds this.
    pub(super) fn write_any_value(&self, out: &mut Vec<u8>) {
        let Some(items) = &self.items else {
            out.extend_from_slice(self.around);
            return;
        };
        if self.around.is_empty() {
            write_list(out, items, &[]);
            return;
        }
        for field in Fields::new(self.around) {
            match field.number {
                ARRAY => write_list(out, items, field.value),
                _ => out.extend_from_slice(field.whole),
            }
        }
    }
}

/// Writes the array and what else stands in the list that it came from.
fn write_list(out: &mut Vec<u8>, items: &[Lazy<'_>], list: &[u8]) {
    let start = open(out, ARRAY);
    for item in items {
        let element = open(out, ELEMENT);
        item.write(out);
        close(out, element);
    }
    for unknown in Fields::new(list).filter(|field| field.number != ELEMENT) {
        out.extend_from_slice(unknown.whole);
    }
    close(out, start);
}

impl<'a> FromIterator<Value<'a>> for Array<'a> {
    fn from_iter<I: IntoIterator<Item = Value<'a>>>(values: I) -> Self {
        Self {
            around: &[],
            items: Some(values.into_iter().map(Lazy::value).collect()),
        }
    }
}
