//! Syslog over UDP: packets, held in a queue of a bounded length while the sink takes its time. What does not fit is dropped
//! by the system, or here for want of memory; both are counted, since no sender is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cupola_telemetry::memory::Reservation;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::config::UdpConfig;
use super::work::{BATCH_RECORDS_MAX, Peer, Record, Work};
use crate::receivers::http::stats::count;
use crate::receivers::text::delivery::Delivered;
use crate::receivers::text::split::{After, Split};

/// A packet has no more.
pub(super) const PACKET_BYTES_MAX: usize = 64 << 10;
/// Packets that wait, unless `async.max_queue_length` says otherwise.
const QUEUE_PACKETS: usize = 1024;

/// The records of a packet, and their memory: reserved once, so that what waits for the sink has all that it will need.
type Packet = (Vec<Record>, Reservation);

/// Receives until the receiver ends.
pub(super) async fn receive(socket: Arc<UdpSocket>, udp: Arc<UdpConfig>, work: Work) {
    let length = if udp.r#async.max_queue_length == 0 {
        QUEUE_PACKETS
    } else {
        udp.r#async.max_queue_length
    };
    let (queue, packets) = mpsc::channel::<Packet>(length);
    let Ok(split) = udp.split() else {
        return;
    };
    work.tasks.spawn(send(packets, udp, work.clone()));
    let local = socket.local_addr().ok();
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        // A place first: what is in the system's buffer is safer there than here.
        let place = tokio::select! {
            place = queue.reserve() => place,
            () = work.stop.cancelled() => return,
        };
        let Ok(place) = place else {
            return;
        };
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = work.stop.cancelled() => return,
        };
        let (bytes, address) = match received {
            Ok((length, address)) => (&buffer[..length], address),
            Err(error) => {
                tracing::warn!(%error, "cannot receive");
                continue;
            }
        };
        count(&work.stats.packets, 1);
        let packet = Record {
            bytes: Bytes::copy_from_slice(trimmed(bytes)),
            peer: Peer { address, local },
        };
        let records = records(&split, &packet);
        match work.try_reserve(&records) {
            Some(reserved) => place.send((records, reserved)),
            None => count(&work.stats.packets_dropped, 1),
        }
    }
}

/// Without line ends, NUL and the like at the end.
fn trimmed(packet: &[u8]) -> &[u8] {
    let end = packet
        .iter()
        .rposition(|byte| *byte >= b' ')
        .map_or(0, |at| at + 1);
    &packet[..end]
}

async fn send(mut packets: mpsc::Receiver<Packet>, udp: Arc<UdpConfig>, work: Work) {
    let keep = (
        udp.preserve_leading_whitespaces,
        udp.preserve_trailing_whitespaces,
    );
    let mut waiting = Vec::new();
    loop {
        // Ends when the receiving side has, and the queue is empty.
        if packets.recv_many(&mut waiting, BATCH_RECORDS_MAX).await == 0 {
            return;
        }
        let lost = waiting.len() as u64;
        let (mut records, mut reserved) = (Vec::new(), work.memory.reservation());
        for (of_packet, its) in waiting.drain(..) {
            records.extend(of_packet);
            reserved.absorb(its);
        }
        let attributes = udp.add_attributes.then_some("IP.UDP");
        if work
            .hand_over((records, reserved), udp.encoding, keep, attributes)
            .await
            == Delivered::Stopped
        {
            work.stats.packets_dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

fn records(split: &Split, packet: &Record) -> Vec<Record> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(token) = split.next(&packet.bytes[at..], After::Nothing) {
        found.push(Record {
            bytes: packet.bytes.slice(at + token.start..at + token.end),
            peer: packet.peer,
        });
        at += token.advance;
    }
    found
}
