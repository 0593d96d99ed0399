//! One exporter in the place of another: what the one had, the other has.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_that_is_replaced_gives_back_what_is_not_delivered() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    for storage in [None, Some(Simulated::default())] {
        let exporter = start(&sink, DeliveryConfig::default(), storage.as_ref()).await;
        for number in 0..30 {
            exporter.send(batch(number)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut left: Vec<u64> = exporter.retire().await.iter().map(number_of).collect();
        left.sort_unstable();
        // What is on disk stays there.
        let kept = storage.map_or(30, |_| 0);
        assert_eq!(left, (0..kept).collect::<Vec<_>>());
        assert_eq!(samples(&exporter)["cupola_exporter_lost_items"], 0.0);
    }
}

/// Their senders have been answered, so that nobody hears what becomes of them.
#[tokio::test(start_paused = true)]
async fn what_was_taken_over_is_given_back_again_though_senders_wait_for_results() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let first = start(&sink, DeliveryConfig::default(), None).await;
    first.send(batch(7)).await.unwrap();
    let left = first.retire().await;
    let mut config = DeliveryConfig::default();
    config.sending_queue.wait_for_result = true;
    let second = start(&sink, config, None).await;
    for batch in left {
        second.take_over(batch).await;
    }
    let left: Vec<u64> = second.retire().await.iter().map(number_of).collect();
    assert_eq!(left, [7]);
}
