//! Rows in PostgreSQL's binary COPY format. Owns the encoding of each type and where rows begin and end; refuses to know
//! what the columns mean. <https://www.postgresql.org/docs/current/sql-copy.html>

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A field count of -1.
const TRAILER: &[u8] = &[0xff, 0xff];
/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since the epoch.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Stands where a NUL stood, which no text of PostgreSQL can hold: U+2400, symbol for null.
pub(super) const NUL_SYMBOL: &str = "\u{2400}";

/// How a column is stored, as the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Uuid,
    Timestamp,
    Text,
    Int2,
    Int4,
    Int8,
    Float8,
    Bool,
    Json,
    Jsonb,
}

impl Stored {
    /// By the name that `pg_type` has for it.
    pub(super) fn of(name: &str) -> Option<Stored> {
        Some(match name {
            "uuid" => Stored::Uuid,
            "timestamptz" | "timestamp" => Stored::Timestamp,
            "text" | "varchar" => Stored::Text,
            "int2" => Stored::Int2,
            "int4" => Stored::Int4,
            "int8" => Stored::Int8,
            "float8" => Stored::Float8,
            "bool" => Stored::Bool,
            "json" => Stored::Json,
            "jsonb" => Stored::Jsonb,
            _ => return None,
        })
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Uuid(u128),
    /// Nanoseconds since the epoch; microseconds are stored.
    Time(u64),
    Text(Cow<'a, str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// JSON text.
    Json(Cow<'a, str>),
}

/// A value that its column cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit;

/// Rows of a batch, any range of which can be copied.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Appends a row; `false` and nothing appended if a value does not fit its column.
    pub(super) fn push<'a>(
        &mut self,
        columns: usize,
        cells: impl Iterator<Item = (Stored, Cell<'a>)>,
    ) -> Result<(), Unfit> {
        let start = self.bytes.len();
        let columns = i16::try_from(columns).map_err(|_| Unfit)?;
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        for (stored, cell) in cells {
            if let Err(unfit) = write(&mut self.bytes, stored, cell) {
                self.bytes.truncate(start);
                return Err(unfit);
            }
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// A whole COPY of these rows.
    pub(super) fn copy(&self, rows: Range<usize>) -> Bytes {
        let end_of = |row: usize| match row {
            0 => 0,
            row => self.ends.get(row - 1).copied().unwrap_or(self.bytes.len()),
        };
        let body = self
            .bytes
            .get(end_of(rows.start)..end_of(rows.end))
            .unwrap_or_default();
        Bytes::from([HEADER, body, TRAILER].concat())
    }
}

fn write(out: &mut Vec<u8>, stored: Stored, cell: Cell<'_>) -> Result<(), Unfit> {
    match (stored, cell) {
        (_, Cell::Null) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        (Stored::Uuid, Cell::Uuid(id)) => field(out, &id.to_be_bytes())?,
        (Stored::Timestamp, Cell::Time(nanos)) => {
            // A u64 of nanoseconds ends in 2554: all of it can be stored.
            let micros = (nanos / 1_000) as i64 - POSTGRES_EPOCH_MICROS;
            field(out, &micros.to_be_bytes())?;
        }
        (Stored::Text, Cell::Text(text)) => field(out, without_nul(&text).as_bytes())?,
        (Stored::Int2, Cell::Int(value)) => {
            field(out, &i16::try_from(value).map_err(|_| Unfit)?.to_be_bytes())?
        }
        (Stored::Int4, Cell::Int(value)) => {
            field(out, &i32::try_from(value).map_err(|_| Unfit)?.to_be_bytes())?
        }
        (Stored::Int8, Cell::Int(value)) => field(out, &value.to_be_bytes())?,
        (Stored::Float8, Cell::Double(value)) => field(out, &value.to_be_bytes())?,
        (Stored::Bool, Cell::Bool(value)) => field(out, &[u8::from(value)])?,
        (Stored::Json, Cell::Json(json)) => field(out, without_escaped_nul(&json).as_bytes())?,
        (Stored::Jsonb, Cell::Json(json)) => {
            let json = without_escaped_nul(&json);
            // Version 1 of jsonb's binary form: a byte that says so, then text.
            length(out, json.len() + 1)?;
            out.push(1);
            out.extend_from_slice(json.as_bytes());
        }
        _ => return Err(Unfit),
    }
    Ok(())
}

fn length(out: &mut Vec<u8>, bytes: usize) -> Result<(), Unfit> {
    let bytes = i32::try_from(bytes).map_err(|_| Unfit)?;
    out.extend_from_slice(&bytes.to_be_bytes());
    Ok(())
}

fn field(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Unfit> {
    length(out, value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', NUL_SYMBOL)),
        false => Cow::Borrowed(text),
    }
}

/// The same for JSON text, in which a NUL is the escape `\u0000`.
fn without_escaped_nul(json: &str) -> Cow<'_, str> {
    const ESCAPED: &str = "\\u0000";
    if !json.contains(ESCAPED) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = escape.strip_prefix(ESCAPED) {
            out.push_str(NUL_SYMBOL);
            rest = after;
            continue;
        }
        // The escaped character is passed with its backslash, so that `\\u0000` is not taken for an escape.
        let end = escape.char_indices().nth(2).map_or(escape.len(), |(at, _)| at);
        let (kept, after) = escape.split_at(end);
        out.push_str(kept);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[(Stored, Cell<'static>)]) -> Rows {
        let mut rows = Rows::default();
        for _ in 0..3 {
            rows.push(cells.len(), cells.iter().cloned()).unwrap();
        }
        rows
    }

    #[test]
    fn a_range_of_rows_is_a_whole_copy() {
        let rows = rows(&[(Stored::Int4, Cell::Int(7)), (Stored::Text, Cell::Null)]);
        let row = [&[0, 2, 0, 0, 0, 4, 0, 0, 0, 7][..], &[0xff; 4]].concat();
        assert_eq!(rows.copy(0..0), [HEADER, TRAILER].concat());
        assert_eq!(rows.copy(1..2), [HEADER, &row, TRAILER].concat());
        assert_eq!(rows.copy(0..3), [HEADER, &row, &row, &row, TRAILER].concat());
        assert_eq!(rows.copy(2..9), [HEADER, &row, TRAILER].concat());
    }

    #[test]
    fn values_are_written_as_their_column_stores_them() {
        let written = |stored, cell| {
            let mut out = Vec::new();
            write(&mut out, stored, cell).map(|()| out)
        };
        let micros = |nanos| written(Stored::Timestamp, Cell::Time(nanos)).unwrap()[4..].to_vec();
        assert_eq!(micros(946_684_800_000_001_999), 1_i64.to_be_bytes());
        assert_eq!(micros(0), (-POSTGRES_EPOCH_MICROS).to_be_bytes());
        assert_eq!(
            micros(u64::MAX),
            (18_446_744_073_709_551 - POSTGRES_EPOCH_MICROS).to_be_bytes()
        );
        assert_eq!(written(Stored::Int2, Cell::Int(40_000)), Err(Unfit));
        assert_eq!(written(Stored::Int4, Cell::Text("1".into())), Err(Unfit));
        assert_eq!(
            written(Stored::Jsonb, Cell::Json("{}".into())).unwrap(),
            b"\0\0\0\x03\x01{}"
        );
        assert_eq!(
            written(Stored::Text, Cell::Text("a\0b".into())).unwrap(),
            "\0\0\0\x05a\u{2400}b".as_bytes()
        );
    }

    #[test]
    fn a_row_that_does_not_fit_leaves_nothing_behind() {
        let mut all = rows(&[(Stored::Int8, Cell::Int(1))]);
        let before = all.copy(0..3);
        let cells = [
            (Stored::Text, Cell::Text("kept out".into())),
            (Stored::Int2, Cell::Int(1 << 20)),
        ];
        assert_eq!(all.push(2, cells.into_iter()), Err(Unfit));
        assert_eq!((all.len(), all.copy(0..3)), (3, before));
    }

    #[test]
    fn only_escapes_that_mean_nul_are_replaced_in_json() {
        assert_eq!(without_escaped_nul(r#""a\u0000b""#), "\"a\u{2400}b\"");
        assert_eq!(without_escaped_nul(r#""a\\u0000b""#), r#""a\\u0000b""#);
        assert_eq!(
            without_escaped_nul(r#""\\\u0000é\"\u0001""#),
            "\"\\\\\u{2400}é\\\"\\u0001\""
        );
        assert_eq!(without_escaped_nul(r#""\u0000\"#), "\"\u{2400}\\");
    }

    #[test]
    fn json_without_nul_means_what_the_text_means_without_it() {
        let alphabet = ['\0', '\\', 'u', '0', '"', 'é'];
        for number in 0..6_u32.pow(5) {
            let text: String = (0..5)
                .map(|place| alphabet[(number / 6_u32.pow(place) % 6) as usize])
                .collect();
            let json = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&without_escaped_nul(&json)).unwrap();
            assert_eq!(read, without_nul(&text));
        }
    }
}
