//! What receivers of packets share: how much the system keeps for them, and what it drops.

use std::io;

use tokio::net::UdpSocket;

/// Asks the system to keep this many bytes of packets that nobody has taken yet. It may keep fewer, up to its own limit.
pub(super) fn set_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<()> {
    socket2::SockRef::from(socket).set_recv_buffer_size(bytes)
}

/// Packets that the system has dropped because nobody took them in time, as it tells itself.
pub(super) fn dropped_by_system(port: u16) -> Option<u64> {
    let mut dropped = None;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(text) = std::fs::read_to_string(table) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace();
            let of_port = fields
                .nth(1)
                .and_then(|local| local.rsplit_once(':'))
                .map(|(_, port)| port);
            if of_port.and_then(|port| u16::from_str_radix(port, 16).ok()) == Some(port) {
                let drops = fields.next_back().and_then(|drops| drops.parse::<u64>().ok());
                dropped = Some(dropped.unwrap_or(0) + drops.unwrap_or(0));
            }
        }
    }
    dropped
}
