//! Hosts whose files cannot be read, do not answer, or say anything; and sinks that refuse.

use std::fs;
use std::path::Path;

use cupola_pipeline::receivers::hostmetrics::HostMetricsReceiver;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Measuring, decode, everything, names, points, tree};
use crate::receivers::{retryable, sink};

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_costs_nothing_else() {
    let folder = tree::recorded();
    let proc = folder.path().join("proc");
    // Ended between the list and the look; and files that are there and cannot be read.
    fs::create_dir(proc.join("4711")).unwrap();
    for file in ["902/io", "vmstat"] {
        fs::remove_file(proc.join(file)).unwrap();
        fs::create_dir(proc.join(file)).unwrap();
    }
    let settings = |muted: bool| {
        format!(
            "{{root_path: {}, initial_delay: 0s, collection_interval: 1h, scrapers: {{paging: , process: {{mute_process_io_error: {muted}}}}}}}",
            folder.path().display()
        )
    };
    for (muted, errors) in [(false, 1.0), (true, 0.0)] {
        let measuring = Measuring::start(&settings(muted)).await;
        let points = points(&measuring.batch(1).await);
        let name = "otelcol_scraper_errored_metric_points";
        assert_eq!(measuring.count(name, Some("process")), errors);
        assert_eq!(measuring.count(name, Some("paging")), 2.0);
        assert!(names(&points).contains("system.paging.usage"));
        let writer: Vec<_> = points
            .iter()
            .filter(|point| point["resource"]["process.pid"] == 902)
            .cloned()
            .collect();
        let expected = [
            "process.cpu.time",
            "process.memory.usage",
            "process.memory.virtual",
        ];
        assert_eq!(names(&writer), expected.into());
        assert!(
            points
                .iter()
                .all(|point| point["resource"]["process.pid"] != 4711)
        );
        measuring.running.shutdown().await;
    }
}

#[tokio::test]
async fn a_scrape_that_is_refused_is_offered_until_the_next_is_due() {
    let folder = tree::recorded();
    let settings = |interval: &str| {
        format!(
            "{{root_path: {}, initial_delay: 0s, collection_interval: {interval}, scrapers: {{load: }}}}",
            folder.path().display()
        )
    };
    let config = cupola_config::yaml::from_str(&settings("1h")).unwrap();
    let (taking, memory) = sink();
    for _ in 0..2 {
        taking.answer(Err(cupola_export::SendError::retryable("full")));
    }
    let running = HostMetricsReceiver::start(config, taking.clone(), memory.clone())
        .await
        .unwrap();
    let measuring = Measuring {
        running,
        sink: taking,
    };
    assert_eq!(points(&measuring.batch(1).await).len(), 3);
    assert_eq!(
        measuring.count("otelcol_receiver_refused_metric_points", None),
        6.0
    );
    assert_eq!(
        measuring.count("otelcol_receiver_accepted_metric_points", None),
        3.0
    );
    measuring.running.shutdown().await;
    assert_eq!(memory.used(), 0, "everything that was reserved is given back");

    // Each is refused for longer than the interval: lost, and said so, and the next one is made.
    let config = cupola_config::yaml::from_str(&settings("50ms")).unwrap();
    let (refusing, memory) = sink();
    for _ in 0..2 {
        refusing.answer(Err(retryable()));
    }
    let running = HostMetricsReceiver::start(config, refusing.clone(), memory)
        .await
        .unwrap();
    let measuring = Measuring {
        running,
        sink: refusing,
    };
    measuring.batch(1).await;
    assert_eq!(
        measuring.count("cupola_receiver_scraped_points_lost_total", None),
        6.0
    );
    measuring.running.shutdown().await;
}

#[tokio::test]
async fn a_file_that_does_not_answer_holds_up_one_scrape_and_no_end() {
    let folder = tree::recorded();
    let pipe = folder.path().join("proc/loadavg");
    fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let measuring = Measuring::start(&format!(
        "{{root_path: {}, initial_delay: 0s, collection_interval: 20ms, timeout: 20ms, scrapers: {{load: }}}}",
        folder.path().display()
    ))
    .await;
    measuring.until("cupola_receiver_scrapes_failed_total", 3.0).await;
    assert!(measuring.sink.batches().is_empty());
    // Whoever waits for the pipe reads this, and it is a file for those after it.
    let answer = tokio::task::spawn_blocking(move || {
        let writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        fs::remove_file(&pipe).unwrap();
        fs::write(&pipe, "1 2 3 4/5 6\n").unwrap();
        drop(writer);
    });
    answer.await.unwrap();
    let found = points(&measuring.batch(1).await);
    assert_eq!(names(&found).len(), 3);
    measuring.running.shutdown().await;
}

#[tokio::test]
async fn a_process_that_began_at_the_end_of_time_is_measured() {
    let folder = tree::recorded();
    let columns = "18446744073709551615 ".repeat(48);
    fs::write(
        folder.path().join("proc/902/stat"),
        format!("902 (a) S 1 {columns}"),
    )
    .unwrap();
    let measuring = Measuring::start(&format!(
        "{{root_path: {}, initial_delay: 0s, collection_interval: 1h, scrapers: {{process: }}}}",
        folder.path().display()
    ))
    .await;
    let points = points(&measuring.batch(1).await);
    let mut of_it = points
        .iter()
        .filter(|point| point["resource"]["process.pid"] == 902);
    assert!(of_it.any(|point| point["name"] == "process.cpu.time"));
    measuring.running.shutdown().await;
}

/// Whatever the kernel, or what is mounted in its place, says.
#[tokio::test]
async fn files_of_any_content_are_read_or_left_out() {
    let seed: u64 = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tree::recorded();
    let mut files = Vec::new();
    collect_files(folder.path(), &mut files);
    let whole: Vec<_> = files.iter().map(|file| (file, fs::read(file).unwrap())).collect();
    for _ in 0..60 {
        for (file, bytes) in &whole {
            // Without its time the host cannot be measured, which is said at the start.
            if file.ends_with("proc/stat") {
                continue;
            }
            let mut bytes = bytes.clone();
            match random.random_range(0..5) {
                0 => bytes.truncate(random.random_range(0..=bytes.len())),
                1 => bytes = (0..200).map(|_| random.random()).collect(),
                2 => bytes = b"18446744073709551615 ".repeat(60),
                3 => {
                    for _ in 0..3 {
                        let at = random.random_range(0..bytes.len().max(1));
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = random.random();
                        }
                    }
                }
                _ => {}
            }
            fs::write(file, bytes).unwrap();
        }
        let measuring = Measuring::start(&everything(folder.path()).to_string()).await;
        let batch = measuring.batch(2).await;
        let again = decode(batch.payload().to_vec());
        assert_eq!(again.payload(), batch.payload(), "what is written is canonical");
        assert_eq!(measuring.count("cupola_receiver_scrapes_failed_total", None), 0.0);
        measuring.running.shutdown().await;
    }
}

fn collect_files(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap() {
            metadata if metadata.is_dir() => collect_files(&path, files),
            metadata if metadata.is_file() => files.push(path),
            _ => {}
        }
    }
}
