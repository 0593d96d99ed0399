//! Converters of addresses.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::{Arguments, Constants, Converter, Kind, Made, converter, made, optional, plain, required, value};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter(
        "IsInCIDR",
        &[value("target"), required("networks", Kind::Networks)],
        is_in_cidr,
    ),
    converter(
        "CommunityID",
        &[
            value("source_ip"),
            value("source_port"),
            value("destination_ip"),
            value("destination_port"),
            optional("protocol", Kind::Value),
            optional("seed", Kind::Value),
        ],
        |_| plain(community_id),
    ),
];

/// An address, and how many of its bits are those of the network.
type Network = (IpAddr, u32);

fn is_in_cidr(constants: &Constants) -> Made {
    let Some(networks) = constants.texts(1) else {
        return plain(is_in_calculated);
    };
    let networks: Result<Vec<Network>, String> = networks.iter().map(|text| network(text)).collect();
    let networks = networks.map_err(|problem| (1, problem))?;
    made(move |arguments| {
        // What is no address is in no network.
        let address: Option<IpAddr> = arguments.get(0).as_str()?.parse().ok();
        let inside = |address| networks.iter().any(|network| contains(*network, address));
        Ok(Value::Bool(address.is_some_and(inside)))
    })
}

fn is_in_calculated<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let networks = arguments.take(1).into_list()?;
    let address: Option<IpAddr> = arguments.get(0).as_str()?.parse().ok();
    for one in networks.iter() {
        let one = Value::from(one);
        let network = network(one.as_str()?).map_err(|problem| Fault::of(format_args!("{problem}")))?;
        if address.is_some_and(|address| contains(network, address)) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse()
        .map_err(|_| Fault::of(format_args!("{text:?} is no IP address")))
}

fn network(text: &str) -> Result<Network, String> {
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then_some((address, length))
    });
    parsed.ok_or_else(|| format!("{text:?} is no network, as in `10.0.0.0/8`"))
}

fn contains((network, length): Network, address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            differing.checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            differing.checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The id of a flow, the same in both directions. <https://github.com/corelight/community-id-spec>
fn community_id<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let mut ends = [end(arguments, 0)?, end(arguments, 2)?];
    let protocol = match arguments.get(4) {
        Value::Nil => 6u8,
        name => protocol_number(name.as_str()?)?,
    };
    let seed = match arguments.get(5) {
        Value::Nil => 0,
        seed => sixteen_bits(seed, "the seed")?,
    };
    ends.sort_by(|(a, a_port), (b, b_port)| (a.len(), a, a_port).cmp(&(b.len(), b, b_port)));
    let [(source, source_port), (destination, destination_port)] = ends;
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    hash.update(source);
    hash.update(destination);
    hash.update([protocol, 0]);
    hash.update(source_port.to_be_bytes());
    hash.update(destination_port.to_be_bytes());
    Ok(Value::text(format!("1:{}", STANDARD.encode(hash.finalize()))))
}

/// The bytes of an address and the port behind it.
fn end(arguments: &Arguments<'_, '_>, index: usize) -> Result<(Vec<u8>, u16), Fault> {
    let address = address(arguments.get(index).as_str()?)?.to_canonical();
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    Ok((bytes, sixteen_bits(arguments.get(index + 1), "a port")?))
}

fn sixteen_bits(value: &Value<'_>, what: &str) -> Result<u16, Fault> {
    let value = value.as_int()?;
    u16::try_from(value).map_err(|_| Fault::of(format_args!("{what} is at most 65535, and this is {value}")))
}

fn protocol_number(name: &str) -> Result<u8, Fault> {
    Ok(match name {
        "ICMP" => 1,
        "TCP" => 6,
        "UDP" => 17,
        "RSVP" => 46,
        "ICMP6" => 58,
        "SCTP" => 132,
        _ => {
            return Err(Fault::of(format_args!(
                "{name:?} is no protocol; there are ICMP, TCP, UDP, RSVP, ICMP6 and SCTP"
            )));
        }
    })
}
