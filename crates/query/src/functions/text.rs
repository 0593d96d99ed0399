//! Text: word search and bodies.

mod body_text;
mod match_words;

pub(crate) use body_text::BodyText;
pub(crate) use match_words::MatchWords;
