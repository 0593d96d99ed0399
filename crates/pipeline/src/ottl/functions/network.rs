//! Converters of addresses.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::{Arguments, Converter, Kind, converter, optional, plain, value};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("IsInCIDR", &[value("target"), value("networks")], |_| {
        plain(is_in_cidr)
    }),
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

fn is_in_cidr<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let networks = arguments.take(1).into_list()?;
    let address: Option<IpAddr> = arguments.get(0).as_str()?.parse().ok();
    let mut inside = false;
    for network in networks.iter() {
        let network = Value::from(network);
        let text = network.as_str()?;
        let Some((network, length)) = parse_network(text) else {
            return Err(Fault::of(format_args!(
                "{text:?} is no network, as in `10.0.0.0/8`"
            )));
        };
        // What is no address is in no network.
        inside |= address.is_some_and(|address| contains(network, length, address));
    }
    Ok(Value::Bool(inside))
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse()
        .map_err(|_| Fault::of(format_args!("{text:?} is no IP address")))
}

fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

fn contains(network: IpAddr, length: u32, address: IpAddr) -> bool {
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
