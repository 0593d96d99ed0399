//! Lines of an htpasswd file: names and the forms in which passwords are kept there.
//! <https://httpd.apache.org/docs/current/misc/password_encryptions.html>

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Users and their passwords.
pub(super) struct Table {
    users: HashMap<String, Kept>,
    /// What a password for a name that is not there is compared with, so that its answer takes as long.
    nobody: Kept,
}

/// A password as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Bcrypt(String),
    Apr1 {
        salt: String,
        digest: [u8; 16],
    },
    /// SHA-1, with what follows the digest as salt, if anything does.
    Sha {
        digest: [u8; 20],
        salt: Vec<u8>,
    },
    Plain(String),
}

impl Table {
    /// Reads lines; a later one of the same name counts. The error says which line, and nothing of what is in it.
    pub(super) fn parse(text: &str) -> Result<Table, String> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let told = |problem: &str| format!("line {}: {problem}", number + 1);
            let (user, kept) = line
                .split_once(':')
                .ok_or_else(|| told("there is no colon between a name and a password"))?;
            let kept = Kept::parse(kept).map_err(|problem| told(&problem))?;
            users.insert(user.to_owned(), kept);
        }
        let nobody = users
            .values()
            .max_by_key(|kept| kept.cost())
            .cloned()
            .ok_or("there is no user in it")?;
        Ok(Table { users, nobody })
    }

    /// Whether the password is that of the user. May take long: see [`is_slow`](Self::is_slow).
    pub(super) fn verify(&self, user: &str, password: &str) -> bool {
        match self.users.get(user) {
            Some(kept) => kept.verify(password),
            None => {
                self.nobody.verify(password);
                false
            }
        }
    }

    /// Whether comparing takes so long that it must not be done where requests are served.
    pub(super) fn is_slow(&self, user: &str) -> bool {
        self.users.get(user).unwrap_or(&self.nobody).cost() > 0
    }
}

impl Kept {
    fn parse(text: &str) -> Result<Kept, String> {
        if text.is_empty() {
            return Err("the password is empty".to_owned());
        }
        if ["$2y$", "$2a$", "$2b$", "$2x$"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            text.parse::<bcrypt::HashParts>()
                .map_err(|_| "what looks like bcrypt is none".to_owned())?;
            return Ok(Kept::Bcrypt(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            let broken = || "what looks like MD5 of Apache is none".to_owned();
            let (salt, digest) = rest.split_once('$').ok_or_else(broken)?;
            return Ok(Kept::Apr1 {
                salt: salt.chars().take(apr1::SALT_CHARACTERS_MAX).collect(),
                digest: apr1::decode(digest).ok_or_else(broken)?,
            });
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return Err("SHA-crypt is not there; make the line anew with `htpasswd -B`".to_owned());
        }
        for (prefix, is_salted) in [("{SHA}", false), ("{SSHA}", true)] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let bytes = STANDARD.decode(rest).unwrap_or_default();
                return match bytes.split_first_chunk::<20>() {
                    Some((digest, salt)) if is_salted != salt.is_empty() => Ok(Kept::Sha {
                        digest: *digest,
                        salt: salt.to_vec(),
                    }),
                    _ => Err(format!("what follows {prefix} is no digest in base64")),
                };
            }
        }
        if let Some(plain) = text.strip_prefix("{PLAIN}") {
            return Ok(Kept::Plain(plain.to_owned()));
        }
        // Taken for a password, the hash itself would open the door.
        if text.starts_with('$') || (text.starts_with('{') && text.contains('}')) {
            return Err(
                "the password is of a kind that is not known; write {PLAIN} before one that begins like this"
                    .to_owned(),
            );
        }
        Ok(Kept::Plain(text.to_owned()))
    }

    fn verify(&self, password: &str) -> bool {
        match self {
            // Only the first 72 bytes count, as everywhere.
            Kept::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Kept::Apr1 { salt, digest } => {
                let of = apr1::digest(password.as_bytes(), salt.as_bytes());
                of.ct_eq(digest).into()
            }
            Kept::Sha { digest, salt } => {
                let of: [u8; 20] = Sha1::new()
                    .chain_update(password)
                    .chain_update(salt)
                    .finalize()
                    .into();
                of.ct_eq(digest).into()
            }
            Kept::Plain(kept) => equal(password.as_bytes(), kept.as_bytes()),
        }
    }

    /// How long verifying takes, in steps that double it: 0 is next to nothing.
    fn cost(&self) -> u32 {
        match self {
            Kept::Bcrypt(hash) => hash
                .parse::<bcrypt::HashParts>()
                .map_or(0, |parts| parts.get_cost()),
            Kept::Apr1 { .. } => 1,
            Kept::Sha { .. } | Kept::Plain(_) => 0,
        }
    }
}

/// Compares without saying how much was alike, not even the length.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let digest = |bytes: &[u8]| <[u8; 32]>::from(sha2::Sha256::digest(bytes));
    digest(one).ct_eq(&digest(other)).into()
}

/// Apache's variant of crypt's MD5: a thousand rounds over password and salt.
/// <https://svn.apache.org/viewvc/apr/apr/trunk/crypto/apr_md5.c>
mod apr1 {
    use md5::{Digest as _, Md5};

    pub(super) const SALT_CHARACTERS_MAX: usize = 8;
    const ROUNDS: usize = 1000;
    const MAGIC: &str = "$apr1$";
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// Which bytes of a digest each four letters hold, the least significant last.
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    const LAST: usize = 11;

    pub(super) fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
        let inner: [u8; 16] = Md5::new()
            .chain_update(password)
            .chain_update(salt)
            .chain_update(password)
            .finalize()
            .into();
        let mut start = Md5::new()
            .chain_update(password)
            .chain_update(MAGIC)
            .chain_update(salt);
        for piece in password.chunks(16) {
            start.update(&inner[..piece.len()]);
        }
        let mut bits = password.len();
        while bits > 0 {
            start.update(if bits & 1 == 1 {
                &[0]
            } else {
                password.get(..1).unwrap_or(&[])
            });
            bits >>= 1;
        }
        let mut digest: [u8; 16] = start.finalize().into();
        for round in 0..ROUNDS {
            let mut next = Md5::new();
            let is_odd = round % 2 == 1;
            next.update(if is_odd { password } else { &digest });
            if round % 3 != 0 {
                next.update(salt);
            }
            if round % 7 != 0 {
                next.update(password);
            }
            next.update(if is_odd { &digest } else { password });
            digest = next.finalize().into();
        }
        digest
    }

    /// The digest that 22 letters stand for.
    pub(super) fn decode(text: &str) -> Option<[u8; 16]> {
        let letters = text.as_bytes();
        if letters.len() != 22 {
            return None;
        }
        let number = |letters: &[u8]| {
            letters.iter().rev().try_fold(0_u32, |number, letter| {
                let value = LETTERS.iter().position(|known| known == letter)?;
                Some(number << 6 | u32::try_from(value).ok()?)
            })
        };
        let mut digest = [0; 16];
        for (four, [high, middle, low]) in letters.chunks(4).zip(ORDER) {
            let [_, first, second, third] = number(four)?.to_be_bytes();
            (digest[high], digest[middle], digest[low]) = (first, second, third);
        }
        digest[LAST] = u8::try_from(number(&letters[20..])?).ok()?;
        Some(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl passwd` and with the `crypt` of the C library.
    const FILE: &str = "\
# those who may send
md5:$apr1$saltsalt$yAAkm4libquA.ZWLHbSBq/
md5-long:$apr1$Ab/.9$vdvjYAedP01DXkNlp.jak.
sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=
ssha:{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0
bcrypt:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu
plain:password
prefixed:{PLAIN}password

";

    #[test]
    fn each_form_knows_its_password_and_no_other() {
        let table = Table::parse(FILE).unwrap();
        let long = "a password that is longer than sixteen bytes";
        for (user, password) in [
            ("md5", "password"),
            ("md5-long", long),
            ("sha", "password"),
            ("ssha", "password"),
            ("bcrypt", "password"),
            ("plain", "password"),
            ("prefixed", "password"),
        ] {
            assert!(table.verify(user, password), "{user}");
            for wrong in ["", "passwor", "password ", "Password", "{SHA}"] {
                assert!(!table.verify(user, wrong), "{user} with {wrong:?}");
            }
        }
        assert!(!table.verify("nobody", "password") && !table.verify("", ""));
        assert!(table.is_slow("bcrypt") && table.is_slow("nobody") && !table.is_slow("plain"));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_by_its_number_and_without_its_secret() {
        for line in [
            "hunter2",
            "user:",
            "user:$2y$hunter2",
            "user:$apr1$hunter2",
            "user:$apr1$salt$hunter2",
            "user:$6$salt$hunter2",
            "user:{SHA}hunter2",
            "user:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        ] {
            let problem = Table::parse(&format!("a:b\n{line}\n")).err().unwrap();
            assert!(
                problem.starts_with("line 2: ") && !problem.contains("hunter2"),
                "{line}: {problem}"
            );
        }
        assert!(Table::parse("# nobody\n").is_err());
    }
}
