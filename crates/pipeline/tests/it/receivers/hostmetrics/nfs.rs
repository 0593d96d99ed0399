//! NFS as the kernel counts it: files of the Collector's own tests, and what it makes of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Measuring, comparable, names, points, tree};

const CLIENT: &str = "\
net 8 843 666 157
rpc 220 790 662
proc3 22 191 360 118 3970 4550 77 581 182 3330 767 2350 558 371 873 877 652 2650 463 4160 2000 942 235
proc4 69 320 829 218 1850 789 7670 813 5120 615 355 207 211 992 234 736 629 862 860 117 752 128 200 494 372 158 420 757 783 46 725 180 301 3050 856 965 416 653 340 500 650 545 1550 6200 354 959 9650 986 526 3670 388 3730 786 890 4590 810 679 939 583 7900 333 455 115 155 884 571 409 540 293 7210
";

const SERVER: &str = "\
rc 795 819 351
fh 709 9 178 461 14
io 111 464
th 261 966 8600 728 589 845 366 825 913 257 7890 770
ra 579 364 872 902 542 886 245 835 517 4370 593 152
net 1 430 26 597
rpc 874 367 960 94 748
proc3 22 124 554 529 640 928 316 531 43 724 822 237 665 620 22 335 137 236 222 658 654 209 382
proc4 2 512 878
proc4ops 76 7250 607 978 86 442 8780 262 489 962 909 563 468 722 104 47 214 305 564 776 373 444 6 265 163 397 817 73 90 630 664 984 981 502 682 210 639 484 924 337 857 667 985 498 760 515 657 596 31 781 437 997 846 867 241 648 169 64 151 447 848 625 185 586 8900 446 317 503 32 935 459 386 291 8170 74 592 562
wdeleg_getattr 901
";

/// The recorded host with these files, where there are any.
fn host(client: Option<&str>, server: Option<&str>) -> tempfile::TempDir {
    let folder = tree::recorded();
    let rpc = folder.path().join("proc/net/rpc");
    fs::create_dir_all(&rpc).unwrap();
    for (name, text) in [("nfs", client), ("nfsd", server)] {
        if let Some(text) = text {
            fs::write(rpc.join(name), text).unwrap();
        }
    }
    folder
}

async fn start(root: &Path) -> Measuring {
    // Beside one that always has something.
    let settings = format!(
        "{{root_path: {}, initial_delay: 0s, collection_interval: 1h, scrapers: {{nfs: , load: }}}}",
        root.display()
    );
    Measuring::start(&settings).await
}

async fn measured(measuring: &Measuring) -> Vec<Value> {
    let mut found = points(&measuring.batch(1).await);
    found.retain(|point| point["name"].as_str().unwrap().starts_with("nfs."));
    found
}

/// `nfs.json` is what the Collector made of these files, one point a line. It reads them below `/` alone, so that it was run
/// in a root that has nothing else.
#[tokio::test]
async fn client_and_server_have_the_metrics_that_the_collector_makes_of_them() {
    let folder = host(Some(CLIENT), Some(SERVER));
    let measuring = start(folder.path()).await;
    let found = comparable(measured(&measuring).await);
    let theirs: Vec<Value> = serde_json::from_str(include_str!("nfs.json")).unwrap();
    for (found, theirs) in found.iter().zip(&theirs) {
        assert_eq!(found, theirs);
    }
    assert_eq!((found.len(), names(&found)), (theirs.len(), names(&theirs)));
    assert_eq!(
        measuring.count("otelcol_scraper_errored_metric_points", Some("nfs")),
        0.0
    );
    measuring.running.shutdown().await;
}

#[tokio::test]
async fn what_is_not_there_is_no_error_and_what_is_odd_is_one() {
    let more = "proc3 23 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22\n";
    for (client, server, found, errors) in [
        (None, None, 0, 0.0),
        (Some("rpc 1 2 3\n"), None, 3, 0.0),
        // A kernel that knows more than there are names for.
        (Some(more), Some("wdeleg_getattr 901\nra 1\n"), 22, 0.0),
        (Some("rpc 1 2\n"), Some("fh 1\n"), 1, 97.0),
        (Some("rpc 1 2 3\nproc3 22 1 2\n"), None, 0, 97.0),
        (Some(""), Some("th x\n"), 0, 115.0),
        (Some("odd\n"), Some("io 1 -2\n"), 0, 212.0),
    ] {
        let folder = host(client, server);
        let measuring = start(folder.path()).await;
        assert_eq!(measured(&measuring).await.len(), found, "{client:?} {server:?}");
        assert_eq!(
            measuring.count("otelcol_scraper_errored_metric_points", Some("nfs")),
            errors,
            "{client:?} {server:?}"
        );
        measuring.running.shutdown().await;
    }
}
