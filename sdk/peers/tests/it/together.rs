//! All back-ends at once, each with a level of its own.

use cupola_peers::collector::Collector;
use cupola_peers::far_end::FarEnd;
use cupola_peers::{free_port, kafka, opensearch, peer_or_skip, postgres};

use crate::application::run;
use crate::levels::at_least;
use crate::{collector, elasticsearch, files, kafka as of_kafka, postgres as of_postgres};

#[test]
fn each_back_end_has_what_is_severe_enough_for_it_and_all_else() {
    let (grpc, http, far_end) = (free_port(), free_port(), FarEnd::start());
    let collecting = peer_or_skip!(Collector::start(&collector::configuration(grpc, http, &far_end)));
    let database = peer_or_skip!(postgres::start());
    let broker = peer_or_skip!(kafka::start(0));
    let node = peer_or_skip!(opensearch::start());
    let backends = [
        "{backend_type: filesystem, level: FATAL, config: {log_file: ./shop.jsonl, max_bytes: 1GiB}}"
            .to_owned(),
        format!("{{backend_type: otlp, level: DEBUG, config: {{endpoint: http://127.0.0.1:{http}}}}}"),
        of_postgres::backend(&database, "INFO"),
        of_kafka::backend(&broker, "WARN"),
        elasticsearch::backend(&node, "ERROR"),
    ];
    let ran = run(100, &backends);
    let exported = ran.checked();
    files::check(&ran.directory.path().join("shop.jsonl"), &exported, 21);
    collector::check(&far_end, &at_least(&exported, 5), &collecting);
    of_postgres::check(&database, &at_least(&exported, 9));
    of_kafka::check(&broker, &at_least(&exported, 13));
    elasticsearch::check(&node, &at_least(&exported, 17));
}
