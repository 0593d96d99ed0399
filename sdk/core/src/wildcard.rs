//! Patterns of names in which `*` stands for any characters and `?` for one: those of the declarative configuration.

/// Whether a pattern fits a whole name.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where the last star is, and up to where it stands for what it stands for.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            // One character, not one byte of it.
            Some(b'?') => {
                at += 1;
                of += 1;
                while name.get(of).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    of += 1;
                }
            }
            Some(byte) if *byte == name[of] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((star_at, until)) => {
                    star = Some((star_at, until + 1));
                    at = star_at + 1;
                    of = until + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_and_question_marks_for_one() {
        for (pattern, name, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("process.*", "process.pid", true),
            ("process.*", "process", false),
            ("*.name", "host.name", true),
            ("*.name", "host.names", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("h?st.*", "höst.name", true),
            ("h?st", "hst", false),
            ("**a", "bca", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
