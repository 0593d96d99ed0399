//! Noise on every path with every content type: never a panic, never a dropped connection, always an answer
//! with a Status in it.

use bytes::Bytes;
use cupola_telemetry::Signal;
use tonic::Code;

use crate::payloads::request;
use crate::support::{JSON, PROTOBUF, SIGNALS, frame, gzip, path, start, zstd};

/// Enough to meet every early byte with every wire type and JSON token; seeded, so a failure comes back.
const ROUNDS: u64 = 400;

/// Bytes from a small generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Random bytes, or something valid with a few bytes changed, cut or doubled: that gets deeper.
    fn body(&mut self, valid: &[u8]) -> Vec<u8> {
        if self.below(6) == 0 || valid.is_empty() {
            let length = self.below(300);
            return self.bytes(length);
        }
        let mut body = valid.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(body.len());
            match self.below(4) {
                0 => body[at] = self.next() as u8,
                1 => body[at] ^= 1 << self.below(8),
                2 => body.truncate(at.max(1)),
                _ => body.extend_from_within(at..),
            }
        }
        body
    }
}

#[tokio::test]
async fn noise_over_http_is_always_answered_with_a_status() {
    let receiver = start().await;
    let mut noise = Noise(1);
    let mut seen = std::collections::BTreeMap::<u16, u64>::new();
    for round in 0..ROUNDS {
        let signal = SIGNALS[noise.below(3)];
        let valid = request(signal);
        let kind = [
            PROTOBUF,
            JSON,
            PROTOBUF,
            JSON,
            "application/json; charset=latin1",
            "text/plain",
            "application/grpc",
            "\t;;",
        ][noise.below(8)];
        let encoding = [
            "identity",
            "identity",
            "gzip",
            "zstd",
            "deflate",
            "gzip, gzip",
            "",
        ][noise.below(7)];
        let seed: Bytes = match kind {
            JSON => {
                let batch =
                    cupola_telemetry::Batch::decode_protobuf(signal, Default::default(), valid).unwrap();
                Bytes::from(batch.to_json())
            }
            _ => valid,
        };
        let body = match (encoding, noise.below(2)) {
            ("gzip", 0) => gzip(&noise.body(&seed)).to_vec(),
            ("gzip", _) => noise.body(&gzip(&seed)),
            ("zstd", 0) => zstd(&noise.body(&seed)).to_vec(),
            ("zstd", _) => noise.body(&zstd(&seed)),
            _ => noise.body(&seed),
        };
        let own = path(signal);
        let path = [own, own, own, "/v1/logs", "/v1/traces", "/", "/v1/%00"][noise.below(7)];
        let method = if noise.below(8) == 0 { "GET" } else { "POST" };
        let headers = [("content-type", kind), ("content-encoding", encoding)];
        let answer = receiver.request(method, path, &headers, body).await;
        *seen.entry(answer.status).or_default() += 1;
        if answer.status != 200 {
            answer.rpc_status();
        }
        assert!(answer.status < 500, "round {round}: {answer:?}");
    }
    for status in [200, 400, 404, 405, 415] {
        assert!(
            seen.contains_key(&status),
            "the noise never met {status}: {seen:?}"
        );
    }
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn noise_over_grpc_is_always_answered_with_a_status() {
    let receiver = start().await;
    let mut noise = Noise(2);
    for round in 0..ROUNDS / 4 {
        let signal = SIGNALS[noise.below(3)];
        let valid = request(signal);
        let encoding = ["identity", "gzip", "zstd", "lz4"][noise.below(4)];
        let message = match encoding {
            "gzip" => noise.body(&gzip(&valid)),
            "zstd" => noise.body(&zstd(&valid)),
            _ => noise.body(&valid),
        };
        let mut body = frame(encoding != "identity", &message).to_vec();
        if noise.below(4) == 0 {
            body = noise.body(&body);
        }
        let answer = receiver
            .grpc_with(signal, &[("grpc-encoding", encoding)], Bytes::from(body))
            .await;
        let code = answer.status.code();
        let expected = [
            Code::Ok,
            Code::InvalidArgument,
            Code::Unimplemented,
            Code::ResourceExhausted,
        ];
        assert!(expected.contains(&code), "round {round}: {answer:?}");
    }
    let answer = receiver.grpc(Signal::Logs, &request(Signal::Logs)).await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(receiver.memory.used(), 0);
}
