//! One row of CSV.

/// What quotes mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quotes {
    /// A quoted field may have delimiters, line ends and doubled quotes in it.
    Strict,
    /// The same; a quote elsewhere is a letter.
    Lazy,
    /// Nothing.
    Ignored,
}

/// The fields of a row.
pub(crate) fn split(row: &str, delimiter: char, quotes: Quotes) -> Result<Vec<String>, &'static str> {
    if quotes == Quotes::Ignored {
        return Ok(row.split(delimiter).map(str::to_owned).collect());
    }
    if row.is_empty() {
        return Err("there is no row");
    }
    let lazy = quotes == Quotes::Lazy;
    let mut fields = Vec::new();
    let mut letters = row.chars().peekable();
    loop {
        let mut field = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next() {
                    None if lazy => break,
                    None => return Err("a quote is not closed"),
                    Some('"') if letters.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') if letters.peek().is_none_or(|next| *next == delimiter) => break,
                    Some('"') if !lazy => return Err("something follows a closing quote"),
                    Some(letter) => field.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != delimiter) {
                if letter == '"' && !lazy {
                    return Err("a quote stands within a field");
                }
                field.push(letter);
            }
        }
        fields.push(field);
        if letters.next().is_none() {
            return Ok(fields);
        }
    }
}
