//! The terminal: whether to colour, how wide it is.

use std::io::IsTerminal;

use crate::cli::Colour;

/// Assumed where output goes to a file or the width is unknown.
const WIDTH_FALLBACK: usize = 110;
const WIDTH_MIN: usize = 40;

pub(crate) fn colour_on_stderr(wanted: Colour) -> bool {
    colour(wanted, std::io::stderr().is_terminal())
}

pub(crate) fn colour_on_stdout(wanted: Colour) -> bool {
    colour(wanted, std::io::stdout().is_terminal())
}

/// <https://no-color.org>: any value that is not empty switches colour off, unless a flag asks for it.
fn colour(wanted: Colour, terminal: bool) -> bool {
    match wanted {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// Columns of the terminal; `None` where output goes elsewhere, which has no width.
pub(crate) fn width_if_any() -> Option<usize> {
    std::io::stdout().is_terminal().then(width)
}

/// Columns of the terminal, or of what a file is read on.
pub(crate) fn width() -> usize {
    let told = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    told.or_else(asked).unwrap_or(WIDTH_FALLBACK).max(WIDTH_MIN)
}

fn asked() -> Option<usize> {
    // SAFETY: the kernel fills the structure we own and give it; on failure it is left as it was.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) == 0).then_some(size)
    };
    size.map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
}

/// Colours of the 16 that every terminal has.
#[derive(Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(text, "2")
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(text, "1")
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint(text, "31")
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint(text, "33")
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint(text, "36")
    }

    /// One colour for each name, always the same.
    pub(crate) fn of_name(self, name: &str) -> String {
        self.of_name_bar(name, name)
    }

    /// `text` in the colour of `name`.
    pub(crate) fn of_name_bar(self, name: &str, text: &str) -> String {
        self.paint(
            text,
            NAME_CODES[hash(name.trim_end()) as usize % NAME_CODES.len()],
        )
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Colours of names.
const NAME_CODES: [&str; 6] = ["32", "34", "35", "36", "92", "94"];

/// The hash of the web page (`web/src/ui/color.ts`): FNV-1a, from where the demo's services differ, and the finalizer of
/// MurmurHash3, for its low bits alone tell similar names badly apart.
fn hash(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_a006_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// Control characters of a stranger's text must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' | '\r' => ' ',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// `1 span`, `2 spans`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// At most `width` characters, the cut marked.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_of_the_demo_can_be_told_apart() {
        let names = ["gateway", "cloud", "api", "worker"];
        let mut painted: Vec<String> = names
            .iter()
            .map(|name| Paint(true).of_name_bar(name, ""))
            .collect();
        painted.sort();
        painted.dedup();
        assert_eq!(painted.len(), names.len());
        assert_eq!(
            Paint(true).of_name_bar("cloud  ", "x"),
            Paint(true).of_name_bar("cloud", "x")
        );
    }

    #[test]
    fn escape_sequences_of_strangers_are_disarmed() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
