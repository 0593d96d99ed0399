//! `basicauth` of a server: names and passwords of an htpasswd file. <https://www.rfc-editor.org/rfc/rfc7617>
//!
//! bcrypt is slow on purpose, a tenth of a second of a processor and more. So it runs on the blocking pool, few at a time
//! and few waiting; and credentials that were found right are remembered as a keyed hash until the file changes, so that
//! they cost nothing from the second request on. Wrong ones are not remembered: whoever guesses waits each time.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_config::Secret;
use cupola_export::Sample;
use cupola_export::auth::{Denied, Identity, ServerAuth};
use cupola_export::reloading::Reloading;
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::htpasswd::Table;

/// Credentials that are remembered as right; beyond, all are checked once more.
const KNOWN_MAX: usize = 4096;
/// Passwords that wait to be checked; beyond, requests are refused for now.
const WAITING_MAX: usize = 64;
/// Longer ones are wrong.
const PASSWORD_BYTES_MAX: usize = 1024;
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"cupola\", charset=\"UTF-8\"");

/// `htpasswd`: who may send. Lines here go before those of the file, which is looked at again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Htpasswd {
    pub file: Option<PathBuf>,
    pub inline: Secret,
}

impl Htpasswd {
    /// What is wrong, with its key.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.file.is_none() && self.inline.is_empty() {
            return Err((
                "htpasswd.inline",
                "is missing; set `inline` or `file` to lines of an htpasswd file".to_owned(),
            ));
        }
        if self.inline.is_empty() {
            return Ok(());
        }
        Table::parse(self.inline.expose())
            .map(drop)
            .map_err(|problem| ("htpasswd.inline", problem))
    }
}

/// Knows users by their passwords.
#[derive(Debug)]
pub struct BasicServer {
    users: Reloading<Users>,
    /// Checks that run, and those that wait for it.
    running: Arc<Semaphore>,
    waiting: Semaphore,
    checked: AtomicU64,
}

/// A table, and what was found right by it.
struct Users {
    table: Table,
    known: Mutex<HashSet<[u8; 32]>>,
    key: Uuid,
}

impl BasicServer {
    /// Reads the file, which is looked at every `every`; must be called on a tokio runtime if there is one.
    pub fn new(settings: &Htpasswd, every: Duration) -> Result<BasicServer, String> {
        let of = settings.clone();
        let paths = of.file.iter().cloned().collect();
        let users = Reloading::new("passwords", paths, every, move |files| {
            let mut lines = String::new();
            if let Some(file) = &of.file {
                lines.push_str(files.text(file)?);
                lines.push('\n');
            }
            lines.push_str(of.inline.expose());
            Ok(Users {
                table: Table::parse(&lines)?,
                known: Mutex::default(),
                key: Uuid::new_v4(),
            })
        })?;
        // Half of the processors are left to those who are known.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(BasicServer {
            users,
            running: Arc::new(Semaphore::new(processors.div_ceil(2))),
            waiting: Semaphore::new(WAITING_MAX),
            checked: AtomicU64::new(0),
        })
    }

    /// Passwords that were checked the slow way.
    pub fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    async fn verify(&self, user: String, password: String) -> Result<bool, Denied> {
        let users = self.users.current();
        if !users.table.is_slow(&user) {
            return Ok(users.table.verify(&user, &password));
        }
        let hash = users.hash(&user, &password);
        if users.known.lock().contains(&hash) {
            return Ok(true);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| Denied::Busy)?;
        let running = self.running.clone().acquire_owned().await;
        let running = running.map_err(|_| Denied::Busy)?;
        // Another request of the same client may have been first.
        if users.known.lock().contains(&hash) {
            return Ok(true);
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        let checking = tokio::task::spawn_blocking(move || {
            // Kept by the work, which goes on when nobody waits for it any more.
            let _running = running;
            let is_right = users.table.verify(&user, &password);
            if is_right {
                users.remember(hash);
            }
            is_right
        });
        checking.await.map_err(|_| Denied::Busy)
    }
}

impl Users {
    fn hash(&self, user: &str, password: &str) -> [u8; 32] {
        let hash = Sha256::new()
            .chain_update(self.key.as_bytes())
            .chain_update((user.len() as u64).to_be_bytes())
            .chain_update(user)
            .chain_update(password);
        hash.finalize().into()
    }

    fn remember(&self, hash: [u8; 32]) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(hash);
    }
}

#[async_trait]
impl ServerAuth for BasicServer {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        let unknown = || Denied::Unknown { challenge: CHALLENGE };
        let (user, password) = credentials(headers).ok_or_else(unknown)?;
        match self.verify(user.clone(), password).await? {
            true => Ok(vec![("username".to_owned(), user)]),
            false => Err(unknown()),
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        samples.push(Sample::count(
            "cupola_auth_passwords_checked_total",
            "Passwords that were checked by a slow hash.",
            self.checked(),
        ));
        self.users.collect(samples);
    }
}

/// Name and password of the one header that has them.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = both.split_once(':')?;
    (password.len() <= PASSWORD_BYTES_MAX).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "user:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu";

    fn server(inline: &str) -> BasicServer {
        let settings = Htpasswd {
            file: None,
            inline: inline.into(),
        };
        settings.validate().unwrap();
        BasicServer::new(&settings, Duration::ZERO).unwrap()
    }

    /// What is found out of `user`.
    fn user() -> Identity {
        vec![("username".to_owned(), "user".to_owned())]
    }

    async fn ask(server: &BasicServer, value: &str) -> Result<Identity, Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        server.authenticate(&headers).await
    }

    async fn ask_with(server: &BasicServer, user: &str, password: &str) -> Result<Identity, Denied> {
        let both = STANDARD.encode(format!("{user}:{password}"));
        ask(server, &format!("Basic {both}")).await
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_not_checked_again_and_a_wrong_one_is() {
        let server = server(BCRYPT);
        for _ in 0..3 {
            assert_eq!(ask_with(&server, "user", "password").await, Ok(user()));
        }
        assert_eq!(server.checked(), 1);
        for _ in 0..2 {
            assert!(ask_with(&server, "user", "wrong").await.is_err());
            assert!(ask_with(&server, "nobody", "password").await.is_err());
        }
        assert_eq!(server.checked(), 5);
    }

    #[tokio::test]
    async fn many_requests_at_once_are_one_check() {
        let server = server(BCRYPT);
        let asked = (0..32).map(|_| ask_with(&server, "user", "password"));
        assert!(futures::future::join_all(asked).await.iter().all(Result::is_ok));
        let processors = std::thread::available_parallelism().unwrap().get() as u64;
        assert!(server.checked() <= processors, "{}", server.checked());
    }

    #[tokio::test]
    async fn whoever_guesses_in_parallel_is_refused_for_now() {
        let server = server(BCRYPT);
        let guesses: Vec<String> = (0..2 * WAITING_MAX).map(|guess| guess.to_string()).collect();
        let asked = guesses.iter().map(|guess| ask_with(&server, "user", guess));
        let answers = futures::future::join_all(asked).await;
        let busy = answers
            .iter()
            .filter(|answer| **answer == Err(Denied::Busy))
            .count();
        assert_eq!(busy, WAITING_MAX);
    }

    #[tokio::test]
    async fn headers_that_are_no_credentials_are_refused_with_what_is_wanted() {
        let server = server("user:password");
        let refused = Err(Denied::Unknown { challenge: CHALLENGE });
        assert_eq!(server.authenticate(&HeaderMap::new()).await, refused);
        let long = STANDARD.encode(format!("user:{}", "a".repeat(PASSWORD_BYTES_MAX + 1)));
        let no_colon = STANDARD.encode("user");
        for value in [
            "",
            "Basic",
            "Basic !",
            "Bearer dXNlcjpwYXNzd29yZA==",
            &format!("Basic {long}"),
            &format!("Basic {no_colon}"),
        ] {
            assert_eq!(ask(&server, value).await, refused, "{value}");
        }
        assert_eq!(ask(&server, "basic dXNlcjpwYXNzd29yZA==").await, Ok(user()));
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(
                AUTHORIZATION,
                HeaderValue::from_static("Basic dXNlcjpwYXNzd29yZA=="),
            );
        }
        assert_eq!(server.authenticate(&twice).await, refused);
    }
}
