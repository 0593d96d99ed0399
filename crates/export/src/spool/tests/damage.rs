//! What a spool makes of bytes that are not what it wrote.

use proptest::prelude::*;

use super::*;

/// Twelve batches in several files, none delivered.
fn filled() -> Simulated {
    let file_system = Simulated::default();
    let (log, gate) = open(&file_system, 0).unwrap();
    for number in 0..12 {
        append(&log, &gate, &[number]).unwrap();
    }
    drop(log);
    file_system.after(Crash::Kept)
}

#[test]
fn a_flipped_byte_costs_at_most_its_batch_and_is_counted() {
    let whole = filled();
    assert!(spool_files(&whole).len() > 2);
    for (index, path) in spool_files(&whole).iter().enumerate() {
        // The last four bytes of the header mean nothing.
        for offset in (0..60).chain(64..whole.size(path).unwrap() as usize) {
            let file_system = whole.after(Crash::Kept);
            file_system.flip(path, offset);
            let context = format!("{} byte {offset}", path.display());
            let (log, gate) = open(&file_system, 0).unwrap();
            let delivered = drain(&log);
            assert!(delivered.len() >= 11, "{context}: {delivered:?}");
            let counted = log.counters.damages.load(Ordering::Relaxed);
            let torn = log.counters.torn_bytes.load(Ordering::Relaxed);
            assert!(
                counted > 0 || (torn > 0 && index + 1 == spool_files(&whole).len()),
                "{context}"
            );
            for (sequence, _) in delivered {
                log.done(sequence);
            }
            log.upkeep();
            assert_eq!(gate.held(), Load::default(), "{context}");
            if counted > 0 {
                let aside = format!("{}.damaged", path.display());
                assert!(
                    file_system.size(Path::new(&aside)).is_ok(),
                    "{context}: not set aside"
                );
            }
        }
    }
}

#[test]
fn a_byte_flipped_after_the_start_costs_at_most_its_batch_and_is_counted() {
    let whole = filled();
    for path in spool_files(&whole) {
        for offset in (64..whole.size(&path).unwrap() as usize).step_by(3) {
            let file_system = whole.after(Crash::Kept);
            let (log, gate) = open(&file_system, 0).unwrap();
            file_system.flip(&path, offset);
            let delivered = drain(&log);
            assert_eq!(delivered.len(), 11, "byte {offset}");
            delivered.iter().for_each(|(sequence, _)| log.done(*sequence));
            drain(&log);
            log.upkeep();
            assert_eq!(gate.held(), Load::default());
            assert_eq!(log.counters.damages.load(Ordering::Relaxed), 1);
            assert_eq!(log.counters.damaged_requests.load(Ordering::Relaxed), 1);
            assert_eq!(log.counters.set_aside.load(Ordering::Relaxed), 1);
        }
    }
}

#[test]
fn a_file_cut_anywhere_loses_no_batch_before_the_cut() {
    let whole = filled();
    let files = spool_files(&whole);
    for (index, path) in files.iter().enumerate() {
        for bytes in 0..whole.size(path).unwrap() {
            let file_system = whole.after(Crash::Kept);
            FileSystem::truncate(&file_system, path, bytes).unwrap();
            let (log, gate) = open(&file_system, 0).unwrap();
            let delivered = drain(&log);
            assert!(delivered.len() >= 12 - 6, "{delivered:?}");
            let sequences: BTreeSet<u64> = delivered.iter().map(|(sequence, _)| *sequence).collect();
            assert_eq!(sequences.len(), delivered.len());
            if index + 1 < files.len() {
                assert!(
                    log.counters.damages.load(Ordering::Relaxed) > 0,
                    "{index} {bytes}"
                );
            }
            assert!(append(&log, &gate, &[500]).unwrap() > *sequences.last().unwrap());
        }
    }
}

#[test]
fn a_record_within_a_payload_is_never_taken_for_one() {
    let file_system = filled();
    let (log, gate) = open(&file_system, 0).unwrap();
    let inner = file_system.read(&spool_files(&file_system)[0]).unwrap();
    let forged = Batch::from_canonical(
        Signal::Logs,
        TenantId::default_tenant(),
        Bytes::from(inner[64..160].to_vec()),
        1,
    );
    let entered = gate.try_enter(Load::of(&forged)).unwrap();
    log.append(&[forged], 5).unwrap();
    entered.keep();
    append(&log, &gate, &[50]).unwrap();
    drop(log);
    let path = spool_files(&file_system).pop().unwrap();
    // The header of the record that has the forged one in it.
    file_system.flip(&path, 64 + 5);
    let (log, _gate) = open(&file_system, 0).unwrap();
    let numbers: Vec<usize> = drain(&log).iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..12).chain([50]).collect::<Vec<_>>());
}

#[test]
fn a_damaged_or_foreign_cursor_delivers_again_rather_than_not() {
    let file_system = filled();
    let (log, _gate) = open(&file_system, 0).unwrap();
    let sequences = drain(&log);
    sequences[..3]
        .iter()
        .for_each(|(sequence, _)| log.done(*sequence));
    log.upkeep();
    drop(log);
    let (log, gate) = open(&file_system, 0).unwrap();
    assert_eq!((drain(&log).len(), gate.held().requests), (9, 9));
    drop(log);
    file_system.flip(&directory().join("cursor"), 20);
    let (log, gate) = open(&file_system, 0).unwrap();
    let left = drain(&log);
    assert!(left.len() >= 9 && gate.held().requests == left.len() as u64);
}

proptest! {
    #[test]
    fn hostile_files_never_panic_and_give_nothing(
        data in proptest::collection::vec(any::<u8>(), 0..400), whole_header: bool, cursor in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let file_system = filled();
        let path = spool_files(&file_system).pop().unwrap();
        let header = file_system.read(&path).unwrap()[..64].to_vec();
        FileSystem::remove(&file_system, &path).unwrap();
        let mut file = file_system.create(&path).unwrap();
        if whole_header {
            file.write_all(&header).unwrap();
        }
        file.write_all(&data).unwrap();
        file_system.create(&directory().join("cursor")).unwrap().write_all(&cursor).unwrap();
        let (log, _gate) = open(&file_system, 0).unwrap();
        let numbers: Vec<usize> = drain(&log).iter().map(|(_, number)| *number).collect();
        prop_assert!(numbers.len() < 12 && numbers.len() >= 6, "{:?}", numbers);
        log.upkeep();
    }
}
