//! Stacks with numbers, as a profile that `go tool pprof` and others open: `profile.proto`, compressed.
//!
//! <https://github.com/google/pprof/blob/main/proto/profile.proto>

use std::collections::HashMap;
use std::io::Write as _;

use cupola_telemetry::wire::{VARINT, close, open, write_bytes, write_key, write_varint};

use super::symbols;
use super::unwind::unwinder;

/// What a number counts, and in which unit.
pub(super) type ValueType = (&'static str, &'static str);

/// A profile before its addresses have names.
pub(super) struct Profile {
    pub(super) types: Vec<ValueType>,
    /// The index of the one to show first.
    pub(super) default_type: usize,
    /// What was counted between two samples, and how much of it.
    pub(super) period: (ValueType, i64),
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) duration_nanos: u64,
    /// Addresses, the innermost first, and a number for each type.
    pub(super) samples: Vec<(Box<[u64]>, Vec<i64>)>,
    /// What to know about it.
    pub(super) comments: Vec<String>,
    /// Functions that readers leave out, with what they call: an expression that a whole name matches.
    pub(super) uninteresting: Option<&'static str>,
}

impl Profile {
    /// The compressed message. Looks up names, which blocks.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut encoder = Encoder::default();
        encoder.text("");
        encoder.profile(self);
        symbols::forget();
        let mut compressed = flate2::write::GzEncoder::new(
            Vec::with_capacity(encoder.out.len() / 4),
            flate2::Compression::fast(),
        );
        compressed.write_all(&encoder.out)?;
        compressed.finish()
    }
}

/// Field numbers of `Profile`.
mod field {
    pub(super) const SAMPLE_TYPE: u32 = 1;
    pub(super) const SAMPLE: u32 = 2;
    pub(super) const MAPPING: u32 = 3;
    pub(super) const LOCATION: u32 = 4;
    pub(super) const FUNCTION: u32 = 5;
    pub(super) const STRING_TABLE: u32 = 6;
    pub(super) const DROP_FRAMES: u32 = 7;
    pub(super) const TIME_NANOS: u32 = 9;
    pub(super) const DURATION_NANOS: u32 = 10;
    pub(super) const PERIOD_TYPE: u32 = 11;
    pub(super) const PERIOD: u32 = 12;
    pub(super) const COMMENT: u32 = 13;
    pub(super) const DEFAULT_SAMPLE_TYPE: u32 = 14;
}

#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<u64, u64>,
}

impl Encoder {
    fn profile(&mut self, profile: &Profile) {
        for value in &profile.types {
            self.value_type(field::SAMPLE_TYPE, *value);
        }
        for index in 0..unwinder().modules.len() {
            self.mapping(index);
        }
        for (stack, values) in &profile.samples {
            let locations: Vec<u64> = stack.iter().map(|address| self.location(*address)).collect();
            let sample = open(&mut self.out, field::SAMPLE);
            packed(&mut self.out, 1, locations);
            packed(&mut self.out, 2, values.iter().map(|value| *value as u64));
            close(&mut self.out, sample);
        }
        if let Some(functions) = profile.uninteresting {
            let text = self.text(functions) as u64;
            number(&mut self.out, field::DROP_FRAMES, text);
        }
        number(&mut self.out, field::TIME_NANOS, profile.start);
        number(&mut self.out, field::DURATION_NANOS, profile.duration_nanos);
        self.value_type(field::PERIOD_TYPE, profile.period.0);
        number(&mut self.out, field::PERIOD, profile.period.1 as u64);
        let comments: Vec<u64> = profile
            .comments
            .iter()
            .map(|comment| self.text(comment) as u64)
            .collect();
        packed(&mut self.out, field::COMMENT, comments);
        if let Some((name, _)) = profile.types.get(profile.default_type) {
            let text = self.text(name) as u64;
            number(&mut self.out, field::DEFAULT_SAMPLE_TYPE, text);
        }
    }

    /// The index of a text, which is written the first time.
    fn text(&mut self, text: &str) -> i64 {
        if let Some(index) = self.texts.get(text) {
            return *index;
        }
        let index = self.texts.len() as i64;
        write_bytes(&mut self.out, field::STRING_TABLE, text.as_bytes());
        self.texts.insert(text.to_owned(), index);
        index
    }

    fn value_type(&mut self, at: u32, (name, unit): ValueType) {
        let (name, unit) = (self.text(name), self.text(unit));
        let start = open(&mut self.out, at);
        number(&mut self.out, 1, name as u64);
        number(&mut self.out, 2, unit as u64);
        close(&mut self.out, start);
    }

    fn mapping(&mut self, index: usize) {
        let Some(module) = unwinder().modules.get(index) else {
            return;
        };
        let path = self.text(&module.path) as u64;
        let start = open(&mut self.out, field::MAPPING);
        let fields = [
            (1, index as u64 + 1),
            (2, module.start),
            (3, module.end),
            (5, path),
        ];
        // Everything has a name already: readers need not look for the file.
        for (at, value) in fields.into_iter().chain([(7, 1), (8, 1), (9, 1), (10, 1)]) {
            number(&mut self.out, at, value);
        }
        close(&mut self.out, start);
    }

    /// The number of an address, which is written the first time.
    fn location(&mut self, address: u64) -> u64 {
        if let Some(id) = self.locations.get(&address) {
            return *id;
        }
        let module = unwinder().module(address);
        let mut functions = symbols::functions(address);
        if functions.is_empty() {
            functions.push(symbols::Function {
                name: match module {
                    Some((_, module)) => format!("{}+{:#x}", module.name(), address - module.start),
                    None => format!("{address:#x}"),
                },
                file: String::new(),
                line: 0,
            });
        }
        let lines: Vec<(u64, u32)> = functions.iter().map(|of| (self.function(of), of.line)).collect();
        let id = self.locations.len() as u64 + 1;
        self.locations.insert(address, id);
        let start = open(&mut self.out, field::LOCATION);
        number(&mut self.out, 1, id);
        if let Some((index, _)) = module {
            number(&mut self.out, 2, index as u64 + 1);
        }
        number(&mut self.out, 3, address);
        for (function, line) in lines {
            let of = open(&mut self.out, 4);
            number(&mut self.out, 1, function);
            number(&mut self.out, 2, u64::from(line));
            close(&mut self.out, of);
        }
        close(&mut self.out, start);
        id
    }

    fn function(&mut self, of: &symbols::Function) -> u64 {
        let (name, file) = (self.text(&of.name), self.text(&of.file));
        if let Some(id) = self.functions.get(&(name, file)) {
            return *id;
        }
        let id = self.functions.len() as u64 + 1;
        self.functions.insert((name, file), id);
        let start = open(&mut self.out, field::FUNCTION);
        // Without a name of the linker's, so that readers leave ours as it is.
        for (at, value) in [(1, id), (2, name as u64), (4, file as u64)] {
            number(&mut self.out, at, value);
        }
        close(&mut self.out, start);
        id
    }
}

/// A field that is a number. Zero is what an absent one means.
fn number(out: &mut Vec<u8>, at: u32, value: u64) {
    if value != 0 {
        write_key(out, at, VARINT);
        write_varint(out, value);
    }
}

fn packed(out: &mut Vec<u8>, at: u32, values: impl IntoIterator<Item = u64>) {
    let start = open(out, at);
    for value in values {
        write_varint(out, value);
    }
    close(out, start);
}
