//! Full files as crashes leave them.

use proptest::prelude::*;

use super::super::rotation::rotate;
use super::*;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Plain,
    Gzip,
    /// Of a crash between naming the compressed file and removing the plain one.
    Both,
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::Free),
        Just(Place::Plain),
        Just(Place::Gzip),
        Just(Place::Both)
    ]
}

fn gzip(path: &Path, text: &str) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

fn put(path: &Path, number: usize, place: Place) {
    let line = format!("line {number}\n");
    let plain = path.with_extension(format!("jsonl.{number}"));
    if matches!(place, Place::Plain | Place::Both) {
        std::fs::write(&plain, &line).unwrap();
    }
    if matches!(place, Place::Gzip | Place::Both) {
        gzip(&plain.with_extension(format!("{number}.gz")), &line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any step of an earlier move or compression may have been the last before a crash: nothing goes but the oldest, and that
    /// only if every place is taken. And what is compressed is there once.
    #[test]
    fn whatever_a_crash_has_left_nothing_is_thrown_away_for_it(places in prop::collection::vec(place(), 1..6), compresses in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.jsonl");
        let config = JsonLinesConfig {
            backup_count: places.len(),
            compression: if compresses { JsonLinesCompression::Gzip } else { JsonLinesCompression::None },
            ..config(&path)
        };
        std::fs::write(&path, "line 0\n").unwrap();
        for (index, place) in places.iter().enumerate() {
            put(&path, index + 1, *place);
        }
        let locked = Locked::open(&config).unwrap();
        rotate(&config).unwrap();
        drop(locked);
        FullFiles::new(&config).compress();
        let is_full = places.iter().all(|place| *place != Place::Free);
        let there = (1..=places.len())
            .filter(|number| places[number - 1] != Place::Free)
            .filter(|number| !is_full || *number < places.len());
        let wanted = std::iter::once(0).chain(there).map(|number| format!("line {number}"));
        assert_once(directory.path(), wanted);
    }
}

#[test]
fn what_is_left_of_a_compression_that_was_cut_short_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    std::fs::write(directory.path().join("app.jsonl.1"), "full\n").unwrap();
    std::fs::write(directory.path().join("app.jsonl.77.unfinished"), "half").unwrap();
    // Of somebody else.
    let theirs = directory.path().join("app.jsonl.theirs.unfinished");
    std::fs::write(&theirs, "theirs\n").unwrap();
    let config = JsonLinesConfig {
        max_bytes: ByteSize(1),
        backup_count: 3,
        compression: JsonLinesCompression::Zstd,
        ..config(&path)
    };
    let mut writer = Writer::new(config.clone());
    for n in ["0", "1"] {
        writer.append(&text([n])).unwrap();
    }
    assert!(writer.is_compression_due());
    FullFiles::new(&config).compress();
    assert_once(directory.path(), ["0", "1", "full", "theirs"].map(str::to_owned));
    let plain = |number: usize| directory.path().join(format!("app.jsonl.{number}")).exists();
    assert!(!plain(1) && !plain(2) && theirs.exists());
}

#[test]
fn a_compressed_file_that_holds_something_else_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let config = JsonLinesConfig {
        compression: JsonLinesCompression::Gzip,
        ..config(&path)
    };
    put(&path, 1, Place::Gzip);
    std::fs::write(directory.path().join("app.jsonl.1"), "something else\n").unwrap();
    FullFiles::new(&config).compress();
    assert_once(directory.path(), ["line 1", "something else"].map(str::to_owned));
}
