//! "Did you mean": the known word nearest to one that is not known.

/// The nearest of `known` if it is near enough to be a slip of the pen. Case does not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: enough for typing errors, too little for another word.
    let distance_max = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, candidate)| candidate)
}

fn letters(word: &str) -> Vec<char> {
    word.chars().map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (letters(left), letters(right));
    let width = right.len() + 1;
    let mut rows = vec![0_usize; width * (left.len() + 1)];
    for (column, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = column;
    }
    for row in 1..=left.len() {
        rows[row * width] = row;
        for column in 1..width {
            let same = left[row - 1] == right[column - 1];
            let mut best = (rows[(row - 1) * width + column] + 1).min(rows[row * width + column - 1] + 1);
            best = best.min(rows[(row - 1) * width + column - 1] + usize::from(!same));
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                best = best.min(rows[(row - 2) * width + column - 2] + 1);
            }
            rows[row * width + column] = best;
        }
    }
    rows[rows.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["endpoint", "include_metadata", "max_recv_msg_size_mib"];
        assert_eq!(nearest("endpont", known), Some("endpoint"));
        assert_eq!(nearest("ednpoint", known), Some("endpoint"));
        assert_eq!(nearest("max_recv_msg_size", known), Some("max_recv_msg_size_mib"));
        assert_eq!(nearest("Endpoint", known), Some("endpoint"));
        assert_eq!(nearest("colour", known), None);
    }
}
