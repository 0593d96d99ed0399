//! Names of addresses in this process: functions, files and lines, with what was inlined. Reads the program's own file,
//! which takes memory: given back with [`forget`].

use std::ffi::c_void;

/// A function, and a line of it where the program was built with lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// The functions that an address is in, the innermost of what was inlined first. None if nothing is known of it. Blocks.
pub(super) fn functions(address: u64) -> Vec<Function> {
    let mut found = Vec::new();
    // The library takes addresses to be those after a call, and looks one byte before them: ours are already within.
    let after = address.wrapping_add(1) as *mut c_void;
    backtrace::resolve(after, |symbol| {
        let Some(name) = symbol.name() else { return };
        found.push(Function {
            // Without the hash that tells apart versions of a crate.
            name: format!("{name:#}"),
            file: symbol
                .filename()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    found
}

/// The outermost function of an address.
#[cfg(test)]
pub(super) fn function(address: u64) -> Option<Function> {
    functions(address).pop()
}

/// Gives back what was read.
pub(super) fn forget() {
    backtrace::clear_symbol_cache();
}
