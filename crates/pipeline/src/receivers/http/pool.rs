//! Where work that takes long is done: on the blocking pool, as much at a time as there are processors.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::refusal::Refusal;

/// Runs `work` on the blocking pool when a processor has time for it.
pub(crate) async fn on_pool<T: Send + 'static>(
    cpu: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let place = cpu.clone().acquire_owned().await.map_err(|_| Refusal::Closing)?;
    let working = tokio::task::spawn_blocking(move || {
        // Kept by the work, which goes on when nobody waits for it any more.
        let _place = place;
        work()
    });
    match working.await {
        Ok(worked) => worked,
        // A bug of ours, which the same bytes would meet again.
        Err(error) if error.is_panic() => Err(Refusal::invalid("body", "the body could not be processed")),
        // The runtime is going down.
        Err(_) => Err(Refusal::Closing),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test]
    async fn a_request_given_up_keeps_its_processor_until_its_work_is_done() {
        let cpu = Arc::new(Semaphore::new(1));
        let (begun, begins) = sync_channel(1);
        let (end, ends) = sync_channel::<()>(1);
        let request = tokio::spawn({
            let cpu = cpu.clone();
            async move {
                on_pool(&cpu, move || {
                    begun.send(()).unwrap();
                    ends.recv().unwrap();
                    Ok(())
                })
                .await
            }
        });
        tokio::task::spawn_blocking(move || begins.recv().unwrap())
            .await
            .unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(cpu.available_permits(), 0, "somebody is still working");
        end.send(()).unwrap();
        drop(cpu.acquire().await.unwrap());
    }
}
