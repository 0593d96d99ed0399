//! JSON Schemas of settings, and where their secrets are, found out from the types alone: `T::deserialize` is driven by
//! a deserializer that notes what it is asked for and answers with samples.
//!
//! A sample that is refused is replaced by the next one; what refuses them all is left out of the next attempt and
//! stays open in the schema. So a schema may allow too much, and never refuses what can be read. Refuses to describe
//! what a setting is for: types do not say.

mod json;
mod probe;
mod shape;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::show::SecretPath;
use probe::{Cause, Miss, Probe};
use shape::{Kind, Shape, Step, TypePath};

/// The dialect of the schemas, to be named by `$schema` of a whole document.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// How often a type is asked to read itself.
const ATTEMPTS_MAX: usize = 20_000;

/// The schema of what a `T` is read from, as a part that others may be built of.
pub fn schema<T: DeserializeOwned>() -> Value {
    json::value(&explore::<T>())
}

/// The paths of the fields of type [`Secret`](crate::Secret) within a `T`.
pub fn secret_paths<T: DeserializeOwned>() -> Vec<SecretPath> {
    json::secrets(&explore::<T>())
}

/// What is known of a type so far, and what the next attempt is to try.
#[derive(Default)]
pub(crate) struct Walk {
    shapes: HashMap<TypePath, Shape>,
    nullable: HashSet<TypePath>,
    /// The sample in use where it is not the first.
    choices: HashMap<TypePath, usize>,
    skipped: HashSet<TypePath>,
    /// Other names of a field, with the path of the field.
    aliases: HashMap<TypePath, TypePath>,
    /// Fields offered before the others.
    first: HashSet<TypePath>,
    /// The struct that is offered what it requires and nothing else.
    bare: Option<TypePath>,
    required: HashMap<TypePath, BTreeSet<&'static str>>,
    /// Samples that were refused for their kind.
    refused: HashSet<(TypePath, usize)>,
    attempts: usize,
}

fn explore<T: DeserializeOwned>() -> Walk {
    let walk = RefCell::new(Walk::default());
    let attempt = || -> Result<(), Miss> {
        walk.borrow_mut().attempts += 1;
        let probe = Probe::root(&walk);
        T::deserialize(probe)
            .map(drop)
            .map_err(|miss| miss.at(&Vec::new()))
    };
    settle(&walk, &attempt);
    try_alternatives(&walk, &attempt);
    find_required(&walk, &attempt);
    walk.into_inner()
}

/// Attempts until one succeeds, or there is nothing left to change.
fn settle(walk: &RefCell<Walk>, attempt: &dyn Fn() -> Result<(), Miss>) -> bool {
    while walk.borrow().attempts < ATTEMPTS_MAX {
        match attempt() {
            Ok(()) => return true,
            Err(miss) => {
                if !walk.borrow_mut().advance(&miss) {
                    return false;
                }
            }
        }
    }
    false
}

/// Tries the other words of enums and the other kinds of open values, one at a time.
fn try_alternatives(walk: &RefCell<Walk>, attempt: &dyn Fn() -> Result<(), Miss>) {
    let mut tried: HashSet<(TypePath, usize)> = HashSet::new();
    loop {
        let next = walk
            .borrow()
            .alternatives()
            .find(|candidate| !tried.contains(candidate));
        let Some((path, choice)) = next else { return };
        if walk.borrow().attempts >= ATTEMPTS_MAX {
            return;
        }
        tried.insert((path.clone(), choice));
        let before = walk.borrow().choices.clone();
        walk.borrow_mut().lead_to(&path);
        walk.borrow_mut().choices.insert(path.clone(), choice);
        // What lies deeper may need other samples; the choice itself stays.
        while let Err(miss) = attempt() {
            let mut walk = walk.borrow_mut();
            if miss.path.as_ref() == Some(&path) {
                if miss.cause == Cause::Type {
                    walk.refused.insert((path.clone(), choice));
                }
                break;
            }
            let deeper = miss.path.as_ref().is_some_and(|missed| missed.starts_with(&path));
            if walk.attempts >= ATTEMPTS_MAX
                || !deeper
                || !walk.advance(&miss)
                || walk.choices.get(&path) != Some(&choice)
            {
                break;
            }
        }
        // Samples found deeper down stay; the choices above go back.
        walk.borrow_mut()
            .choices
            .retain(|at, _| at.starts_with(&path) && *at != path);
        walk.borrow_mut().choices.extend(before);
    }
}

/// Offers each struct nothing, and then what it complains to be missing.
fn find_required(walk: &RefCell<Walk>, attempt: &dyn Fn() -> Result<(), Miss>) {
    let structs = walk.borrow().structs();
    for path in structs {
        let before = walk.borrow().choices.clone();
        walk.borrow_mut().lead_to(&path);
        walk.borrow_mut().bare = Some(path.clone());
        while walk.borrow().attempts < ATTEMPTS_MAX {
            let Err(miss) = attempt() else { break };
            let Cause::Missing(field) = miss.cause else { break };
            let mut walk = walk.borrow_mut();
            if miss.path.as_ref() != Some(&path)
                || !walk.required.entry(path.clone()).or_default().insert(field)
            {
                break;
            }
        }
        walk.borrow_mut().bare = None;
        walk.borrow_mut().choices = before;
    }
}

impl Walk {
    /// Changes what the next attempt tries, by what the last one missed; whether there was anything to change.
    fn advance(&mut self, miss: &Miss) -> bool {
        let Some(path) = &miss.path else { return false };
        if let (Cause::Duplicate(field), Some(key)) = (&miss.cause, &miss.key) {
            return self.note_alias(path, field, key);
        }
        let stop = matches!(miss.cause, Cause::Stop | Cause::Missing(_));
        let samples = self.shapes.get(path).map_or(1, |shape| shape.kind.samples());
        let choice = self.choices.get(path).copied().unwrap_or(0);
        if !stop && choice + 1 < samples {
            self.choices.insert(path.clone(), choice + 1);
            return true;
        }
        self.skip(path)
    }

    /// A field under a second name: the first is offered first, and the second no more.
    fn note_alias(&mut self, path: &TypePath, field: &'static str, key: &'static str) -> bool {
        let named = |name| [path.as_slice(), &[Step::Field(name)]].concat();
        if key == field {
            return self.first.insert(named(field)) || self.skipped.insert(named(field));
        }
        self.aliases.insert(named(key), named(field));
        self.skipped.insert(named(key))
    }

    /// Leaves out what cannot be read.
    fn skip(&mut self, path: &TypePath) -> bool {
        let Some((last, parent)) = path.split_last() else {
            return false;
        };
        match last {
            Step::Field(_) | Step::Item | Step::Value => self.skipped.insert(path.clone()),
            Step::Key => self.skipped.insert([parent, &[Step::Value]].concat()),
            Step::Index(_) | Step::Variant(_) => {
                let parent = parent.to_vec();
                let samples = self.shapes.get(&parent).map_or(1, |shape| shape.kind.samples());
                let choice = self.choices.get(&parent).copied().unwrap_or(0);
                if choice + 1 < samples {
                    self.choices.insert(parent, choice + 1);
                    return true;
                }
                self.skip(&parent)
            }
        }
    }

    /// Every choice there is at open values and enums.
    fn alternatives(&self) -> impl Iterator<Item = (TypePath, usize)> {
        self.shapes.iter().flat_map(|(path, shape)| {
            let samples = match shape.kind {
                Kind::Open | Kind::Enum(_) => shape.kind.samples(),
                _ => 0,
            };
            (0..samples).map(|choice| (path.clone(), choice))
        })
    }

    fn structs(&self) -> Vec<TypePath> {
        let is_struct =
            |(path, shape): (&TypePath, &Shape)| matches!(shape.kind, Kind::Struct(_)).then(|| path.clone());
        self.shapes.iter().filter_map(is_struct).collect()
    }

    /// Chooses the words of the enums that `path` goes through.
    fn lead_to(&mut self, path: &TypePath) {
        for (length, step) in path.iter().enumerate() {
            let Step::Variant(word) = step else { continue };
            let at = &path[..length];
            if let Some(Kind::Enum(words)) = self.shapes.get(at).map(|shape| &shape.kind)
                && let Some(choice) = words.iter().position(|known| known == word)
            {
                self.choices.insert(at.to_vec(), choice);
            }
        }
    }
}
