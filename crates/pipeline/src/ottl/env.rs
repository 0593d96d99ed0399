//! What functions may know of the world: a clock and random numbers, passed in so that tests can hold them.

/// A clock and a source of random numbers.
pub trait Env: Sync {
    /// Nanoseconds since the epoch.
    fn now_unix_nano(&self) -> u64;

    /// Sixteen random bytes.
    fn random(&self) -> u128;
}

/// The clock and the randomness of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn now_unix_nano(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
    }
}
