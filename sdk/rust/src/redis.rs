//! Commands of the crate `redis`: a span and a measurement for each, and one for each pipeline. Names of spans, attributes and
//! metrics are those of the semantic conventions.
//!
//! <https://opentelemetry.io/docs/specs/semconv/db/redis/>
//!
//! A [`TracedConnection`] stands where an asynchronous connection stood, whichever of those of `redis` it is. Of a command, its
//! name is told and how many arguments it has; what they are is not, as keys are often made of what identifies people. With
//! [`with_keys`](TracedConnection::with_keys), the first key of what reads and writes single keys is told as well.
//!
//! ```
//! use cupola_sdk::redis::TracedConnection;
//! use redis::AsyncCommands as _;
//!
//! # async fn visit(sdk: &cupola_sdk::core::Sdk) -> redis::RedisResult<()> {
//! let client = redis::Client::open("redis://127.0.0.1/")?;
//! let connection = client.get_multiplexed_async_connection().await?;
//! let mut connection = TracedConnection::new(sdk, connection).server(client.get_connection_info());
//! let visits: u64 = connection.incr("visits", 1).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use cupola_sdk_core::Sdk;
use redis::aio::ConnectionLike;
use redis::{
    Arg, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisFuture, ServerError,
    Value,
};

use crate::context::InContext as _;
use crate::database::{Client, Failure, Operation, Place, Running};

/// Longest name of a command, in bytes; what is longer is none.
const NAME_BYTES_MAX: usize = 32;
/// Longest key that is told, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// Most arguments, and most commands of a pipeline, that are told; the rest is `…`.
const PARTS_MAX: usize = 32;
/// How deep errors are looked for in what is answered.
const DEPTH_MAX: usize = 8;

/// A connection whose commands are traced and measured.
#[derive(Clone)]
pub struct TracedConnection<C> {
    inner: C,
    client: Arc<Client>,
    tells_keys: bool,
}

impl<C: ConnectionLike> TracedConnection<C> {
    pub fn new(sdk: &Sdk, connection: C) -> TracedConnection<C> {
        let place = Place {
            system: "redis",
            namespace: Some(connection.get_db().to_string()),
            ..Place::default()
        };
        TracedConnection {
            inner: connection,
            client: Arc::new(Client::new(sdk, "cupola-sdk/redis", place)),
            tells_keys: false,
        }
    }

    /// Says where the server is, as [`Client::get_connection_info`](redis::Client::get_connection_info) has it.
    #[must_use]
    pub fn server(mut self, info: &ConnectionInfo) -> TracedConnection<C> {
        let (address, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), Some(*port))
            }
            ConnectionAddr::Unix(path) => (path.to_string_lossy().into_owned(), None),
            // There may be more in later versions.
            _ => return self,
        };
        let place = &mut Arc::make_mut(&mut self.client).place;
        (place.address, place.port) = (Some(address), port);
        self
    }

    /// Tells keys too: for those who know that nothing in them is anybody's business.
    #[must_use]
    pub fn with_keys(mut self) -> TracedConnection<C> {
        self.tells_keys = true;
        self
    }
}

impl<C> fmt::Debug for TracedConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedConnection").finish_non_exhaustive()
    }
}

/// The connection itself, whose commands are not traced.
impl<C> Deref for TracedConnection<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C> DerefMut for TracedConnection<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.inner
    }
}

impl<C: ConnectionLike + Send> ConnectionLike for TracedConnection<C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let (context, mut running) = self.client.begin(Operation {
            name: name_of(command),
            text: Some(text_of(command, self.tells_keys)),
            ..Operation::default()
        });
        let asked = context.clone().run(|| self.inner.req_packed_command(command));
        Box::pin(async move {
            let answer = asked.in_context(context).await;
            match &answer {
                Ok(value) => end(&mut running, std::slice::from_ref(value)),
                Err(error) => fail(&mut running, error),
            }
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let (context, mut running) = self.client.begin(batch(pipeline, self.tells_keys));
        let asked = context
            .clone()
            .run(|| self.inner.req_packed_commands(pipeline, offset, count));
        Box::pin(async move {
            let answer = asked.in_context(context).await;
            match &answer {
                Ok(values) => end(&mut running, values),
                Err(error) => fail(&mut running, error),
            }
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// All commands of a pipeline as one operation.
fn batch(pipeline: &Pipeline, tells_keys: bool) -> Operation {
    let kind = if pipeline.is_transaction() {
        "MULTI"
    } else {
        "PIPELINE"
    };
    let mut names = pipeline.cmd_iter().map(name_of);
    let first = names.next().flatten();
    let name = match first {
        Some(first) if names.all(|name| name.as_ref() == Some(&first)) => format!("{kind} {first}"),
        _ => kind.to_owned(),
    };
    let texts = pipeline.cmd_iter().take(PARTS_MAX);
    let mut texts: Vec<String> = texts.map(|command| text_of(command, tells_keys)).collect();
    if pipeline.len() > PARTS_MAX {
        texts.push("…".to_owned());
    }
    Operation {
        name: Some(name),
        text: Some(texts.join("; ")),
        batch: Some(pipeline.len()).filter(|size| *size > 1),
        ..Operation::default()
    }
}

/// The command in capitals, if it looks like one.
fn name_of(command: &Cmd) -> Option<String> {
    let Some(Arg::Simple(name)) = command.args_iter().next() else {
        return None;
    };
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    let name = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    Some(name.to_ascii_uppercase())
}

/// The command with `?` for what it is given.
fn text_of(command: &Cmd, tells_keys: bool) -> String {
    let name = name_of(command);
    let mut text = name.as_deref().unwrap_or("?").to_owned();
    let has_key = tells_keys && name.is_some_and(|name| KEYED.contains(&name.as_str()));
    for (at, argument) in command.args_iter().skip(1).enumerate() {
        if at == PARTS_MAX {
            text.push_str(" …");
            break;
        }
        let key = match argument {
            Arg::Simple(key) if has_key && at == 0 && key.len() <= KEY_BYTES_MAX => {
                std::str::from_utf8(key).ok()
            }
            _ => None,
        };
        text.push(' ');
        text.push_str(key.unwrap_or("?"));
    }
    text
}

fn end(running: &mut Running, values: &[Value]) {
    match refused(values, DEPTH_MAX) {
        Some(error) => fail(running, &RedisError::from(error.clone())),
        None => running.succeeded(None),
    }
}

/// The first error in what was answered: those of a transaction are within its array.
fn refused(values: &[Value], depth: usize) -> Option<&ServerError> {
    values.iter().find_map(|value| refused_in(value, depth))
}

fn refused_in(value: &Value, depth: usize) -> Option<&ServerError> {
    let deeper = depth.checked_sub(1);
    match value {
        Value::ServerError(error) => Some(error),
        Value::Array(values) | Value::Set(values) => refused(values, deeper?),
        Value::Map(pairs) => pairs
            .iter()
            .find_map(|(key, value)| refused_in(key, deeper?).or_else(|| refused_in(value, deeper?))),
        Value::Attribute { data, .. } => refused_in(data, deeper?),
        _ => None,
    }
}

fn fail(running: &mut Running, error: &RedisError) {
    let is_name =
        |code: &&str| code.len() <= NAME_BYTES_MAX && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let (kind, message) = match error.kind() {
        _ if error.is_timeout() => ("timeout", "no answer came in time"),
        _ if error.is_connection_refusal() => ("connect", "there is no server"),
        ErrorKind::Io => ("io", "the connection broke"),
        ErrorKind::AuthenticationFailed => ("authentication", "the server does not know who asks"),
        ErrorKind::Parse => ("parse", "the server answered what is not understood"),
        ErrorKind::Server(_) | ErrorKind::Extension => ("server", "the server refused the command"),
        _ => ("_OTHER", ""),
    };
    running.failed(&Failure {
        kind,
        code: error.code().filter(is_name),
        message,
    });
}

/// Commands whose first argument is a key.
const KEYED: &[&str] = &[
    "APPEND",
    "BITCOUNT",
    "BITFIELD",
    "BITPOS",
    "DECR",
    "DECRBY",
    "DEL",
    "DUMP",
    "EXISTS",
    "EXPIRE",
    "EXPIREAT",
    "EXPIRETIME",
    "GEOADD",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEOSEARCH",
    "GET",
    "GETBIT",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "HDEL",
    "HEXISTS",
    "HGET",
    "HGETALL",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HMSET",
    "HRANDFIELD",
    "HSCAN",
    "HSET",
    "HSETNX",
    "HSTRLEN",
    "HVALS",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LINDEX",
    "LINSERT",
    "LLEN",
    "LPOP",
    "LPOS",
    "LPUSH",
    "LPUSHX",
    "LRANGE",
    "LREM",
    "LSET",
    "LTRIM",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PEXPIRETIME",
    "PFADD",
    "PFCOUNT",
    "PSETEX",
    "PTTL",
    "RESTORE",
    "RPOP",
    "RPUSH",
    "RPUSHX",
    "SADD",
    "SCARD",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SISMEMBER",
    "SMEMBERS",
    "SMISMEMBER",
    "SPOP",
    "SRANDMEMBER",
    "SREM",
    "SSCAN",
    "STRLEN",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNLINK",
    "XACK",
    "XADD",
    "XCLAIM",
    "XDEL",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREVRANGE",
    "XTRIM",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZINCRBY",
    "ZLEXCOUNT",
    "ZMSCORE",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZREVRANGE",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_told_without_what_it_is_given() {
        let set = redis::cmd("set")
            .arg("session:4711")
            .arg("hunter2")
            .arg("EX")
            .arg(5)
            .take();
        assert_eq!(text_of(&set, false), "SET ? ? ? ?");
        assert_eq!(text_of(&set, true), "SET session:4711 ? ? ?");
        let auth = redis::cmd("AUTH").arg("alice").arg("hunter2").take();
        assert_eq!(text_of(&auth, true), "AUTH ? ?");
        let many = redis::cmd("DEL").arg(vec!["a"; 100]).take();
        assert_eq!(text_of(&many, false), format!("DEL{} …", " ?".repeat(PARTS_MAX)));
        assert_eq!(
            (name_of(&redis::cmd("a b")), text_of(&redis::cmd("a b"), true)),
            (None, "?".to_owned())
        );
        assert_eq!(name_of(&Cmd::new()), None);
    }

    #[test]
    fn an_error_is_found_wherever_it_is_in_the_answer() {
        let error = redis::parse_redis_value(b"-ERR no\r\n").unwrap();
        let none = || (Value::Nil, Value::Int(1));
        for answer in [
            error.clone(),
            Value::Array(vec![Value::Okay, error.clone()]),
            Value::Set(vec![Value::Array(vec![error.clone()])]),
            Value::Map(vec![none(), (Value::Nil, error.clone())]),
            Value::Attribute {
                data: Box::new(error.clone()),
                attributes: vec![none()],
            },
        ] {
            assert!(
                refused(std::slice::from_ref(&answer), DEPTH_MAX).is_some(),
                "{answer:?}"
            );
        }
        assert!(refused(&[Value::Array(vec![Value::Okay])], DEPTH_MAX).is_none());
        let nest = |levels| (0..levels).fold(error.clone(), |value, _| Value::Array(vec![value]));
        assert!(refused(&[nest(DEPTH_MAX)], DEPTH_MAX).is_some());
        assert!(refused(&[nest(DEPTH_MAX + 1)], DEPTH_MAX).is_none());
    }

    #[test]
    fn a_pipeline_is_one_operation() {
        let mut same = redis::pipe();
        same.cmd("SET").arg("a").arg(1).cmd("SET").arg("b").arg(2);
        let told = batch(&same, false);
        assert_eq!(told.name.as_deref(), Some("PIPELINE SET"));
        assert_eq!(
            (told.text.as_deref(), told.batch),
            (Some("SET ? ?; SET ? ?"), Some(2))
        );
        let mut mixed = redis::pipe();
        mixed.atomic().cmd("SET").arg("a").arg(1).cmd("GET").arg("a");
        assert_eq!(batch(&mixed, false).name.as_deref(), Some("MULTI"));
        let mut one = redis::pipe();
        one.cmd("GET").arg("a");
        assert_eq!(batch(&one, false).batch, None);
    }

    proptest! {
        #[test]
        fn no_argument_is_told(
            name in prop::collection::vec(any::<u8>(), 0..40),
            arguments in prop::collection::vec("[a-z]{3,9}", 0..40),
        ) {
            let command = Cmd::new().arg(name.as_slice()).arg(arguments.as_slice()).take();
            let told = text_of(&command, false);
            prop_assert!(arguments.iter().all(|argument| !told.contains(argument.as_str())));
        }
    }
}
