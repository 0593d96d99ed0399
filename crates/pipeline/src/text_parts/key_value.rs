//! Pairs such as `level=info msg="a b"`.

/// Keys and their values, in the order of the text.
pub(crate) fn pairs(
    text: &str,
    delimiter: &str,
    pair_delimiter: &str,
) -> Result<Vec<(String, String)>, String> {
    if text.is_empty() {
        return Err("there is nothing to parse".to_owned());
    }
    let pair = |pair: String| match pair.split_once(delimiter) {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(format!("the pair {pair:?} has no {delimiter:?}")),
    };
    split(text, pair_delimiter)?.into_iter().map(pair).collect()
}

/// Pieces between delimiters that stand in no quotes; the quotes are left out, unless there is a backslash before them.
fn split(text: &str, delimiter: &str) -> Result<Vec<String>, String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let (mut quote, mut escaped) = (None, false);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if quote.is_none()
            && let Some(after) = rest.strip_prefix(delimiter)
        {
            if !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
            }
            rest = after;
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match (escaped, quote) {
            (true, _) => escaped = false,
            (false, None) if matches!(letter, '"' | '\'') => {
                quote = Some(letter);
                continue;
            }
            (false, Some(open)) if letter == open => {
                quote = None;
                continue;
            }
            _ => escaped = letter == '\\',
        }
        piece.push(letter);
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    Ok(pieces)
}
