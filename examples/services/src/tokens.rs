//! Tokens of a made-up set of users: JSON Web Tokens, signed with HS256. A real shop has them from its identity provider.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// A real one is nowhere in the code.
const SECRET: &[u8] = b"the secret of the example";
const VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// With the tenant of each.
pub const USERS: [(&str, &str); 6] = [
    ("alice", "acme"),
    ("bob", "acme"),
    ("carol", "globex"),
    ("dan", "globex"),
    ("erin", "initech"),
    ("frank", "initech"),
];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub tenant: String,
}

/// A token of a user, valid for a day.
pub fn token(user: &User) -> String {
    let until = now() + VALID_FOR.as_secs();
    let payload = json!({ "sub": user.id, "tenant": user.tenant, "exp": until }).to_string();
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(HEADER.as_bytes()), encode(payload.as_bytes()));
    let signature = mac(&signed).finalize().into_bytes();
    format!("{signed}.{}", encode(&signature))
}

/// Whose token it is, if it is one of ours and still valid.
pub fn verify(token: &str) -> Option<User> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    // What the header asks for is not done: there is one algorithm.
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    if header["alg"] != "HS256" {
        return None;
    }
    mac(signed).verify_slice(&decode(signature)?).ok()?;
    let payload: Value = serde_json::from_slice(&decode(payload)?).ok()?;
    (payload["exp"].as_u64()? > now()).then_some(())?;
    Some(User {
        id: payload["sub"].as_str()?.to_owned(),
        tenant: payload["tenant"].as_str()?.to_owned(),
    })
}

fn mac(signed: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length will do");
    mac.chain_update(signed)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_user_and_one_that_was_changed_of_nobody() {
        let user = |id: &str| User {
            id: id.to_owned(),
            tenant: "acme".to_owned(),
        };
        let (alice, bob) = (token(&user("alice")), token(&user("bob")));
        assert_eq!(verify(&alice), Some(user("alice")));
        let (signed, _) = alice.rsplit_once('.').unwrap();
        let (_, signature) = bob.rsplit_once('.').unwrap();
        let unsigned = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let (_, payload) = signed.split_once('.').unwrap();
        for forged in [
            format!("{signed}.{signature}"),
            format!("{signed}."),
            format!("{unsigned}.{payload}."),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(verify(&forged), None, "{forged}");
        }
    }
}
