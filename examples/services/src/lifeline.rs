//! Until when a process runs: until it is asked to end, or until whoever started it is gone, however that ended. The kernel
//! closes the other end of a pipe, also when nobody could say good bye.

use std::io;

use tokio::sync::oneshot;

/// Completes when the process is to end.
pub async fn ended(is_tied: bool) {
    match is_tied {
        true => input_ended().await,
        // Without a way to be asked, it runs until it is killed.
        false if tokio::signal::ctrl_c().await.is_err() => std::future::pending().await,
        false => {}
    }
}

/// On a thread of its own, which holds nothing up that ends for another reason.
async fn input_ended() {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read has ended too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
