//! What both sides make of their settings: certificates, keys, authorities, versions and suites.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_config::Secret;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ProtocolVersion, RootCertStore, SupportedProtocolVersion, version};

use super::TlsError;
use super::settings::TlsVersion;
use crate::reloading::Files;

/// What servers and clients both have.
pub(super) struct Common<'s> {
    pub(super) cert: (Option<&'s Path>, Option<&'s str>),
    pub(super) key: (Option<&'s Path>, Option<&'s Secret>),
    pub(super) min: Option<TlsVersion>,
    pub(super) max: Option<TlsVersion>,
    pub(super) suites: &'s [String],
    pub(super) curves: &'s [String],
    pub(super) tpm: bool,
}

/// Refuses what cannot work.
pub(super) fn check(common: &Common<'_>) -> Result<(), TlsError> {
    let wrong = |key, problem: &str| Err(TlsError::new(key, problem));
    if common.tpm {
        return wrong("tpm", "keys in a TPM cannot be used; set `key_file` or `key_pem`");
    }
    let (cert_file, cert_pem) = common.cert;
    let (key_file, key_pem) = common.key;
    if cert_file.is_some() && cert_pem.is_some() {
        return wrong("cert_pem", "`cert_file` is given too; leave one out");
    }
    if key_file.is_some() && key_pem.is_some() {
        return wrong("key_pem", "`key_file` is given too; leave one out");
    }
    match (
        cert_file.is_some() || cert_pem.is_some(),
        key_file.is_some() || key_pem.is_some(),
    ) {
        (true, false) => return wrong("key_file", "is missing: a certificate needs its key"),
        (false, true) => return wrong("cert_file", "is missing: a key needs its certificate"),
        _ => {}
    }
    versions(common)?;
    provider(common).map(drop)
}

/// Versions within the bounds. Those before 1.2 are never spoken, which is stricter than what a lower bound asks for.
pub(super) fn versions(common: &Common<'_>) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let min = common.min.unwrap_or(TlsVersion::V12);
    if let Some(max) = common.max {
        if max < TlsVersion::V12 {
            return Err(TlsError::new("max_version", "TLS before 1.2 cannot be spoken"));
        }
        if min > max {
            return Err(TlsError::new("min_version", "is above `max_version`"));
        }
    }
    let of = |version: &SupportedProtocolVersion| match version.version {
        ProtocolVersion::TLSv1_3 => TlsVersion::V13,
        _ => TlsVersion::V12,
    };
    let all: [&'static SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];
    Ok(all
        .into_iter()
        .filter(|version| of(version) >= min && common.max.is_none_or(|max| of(version) <= max))
        .collect())
}

/// Suites of TLS 1.3 by the names of Go, which files may have.
const ALWAYS_ON: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// The algorithms. As with Go, a choice of suites is one of TLS 1.2: those of 1.3 cannot be left out.
pub(super) fn provider(common: &Common<'_>) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = crypto::ring::default_provider();
    if !common.suites.is_empty() {
        let name = |suite: &tokio_rustls::rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        let is_13 = |name: &str| name.starts_with("TLS13_");
        let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        let suites: Vec<&String> = common
            .suites
            .iter()
            .filter(|wanted| !ALWAYS_ON.contains(&wanted.as_str()))
            .collect();
        if let Some(unknown) = suites.iter().find(|wanted| !known.contains(wanted)) {
            let known: Vec<&str> = known
                .iter()
                .map(String::as_str)
                .filter(|name| !is_13(name))
                .collect();
            return Err(TlsError::new(
                "cipher_suites",
                format!("there is no `{unknown}`; there are {}", known.join(", ")),
            ));
        }
        provider.cipher_suites.retain(|suite| {
            let name = name(suite);
            is_13(&name) || suites.contains(&&name)
        });
    }
    if !common.curves.is_empty() {
        let of = |curve: &str| match curve {
            "X25519" => Some(crypto::ring::kx_group::X25519),
            "P256" => Some(crypto::ring::kx_group::SECP256R1),
            "P384" => Some(crypto::ring::kx_group::SECP384R1),
            // In files of Collectors, beside others.
            _ => None,
        };
        let known = ["X25519", "P256", "P384", "P521", "X25519MLKEM768"];
        let groups: Vec<_> = common.curves.iter().filter_map(|curve| of(curve)).collect();
        if groups.is_empty() || common.curves.iter().any(|curve| !known.contains(&curve.as_str())) {
            return Err(TlsError::new(
                "curve_preferences",
                "one of X25519, P256 and P384 is needed, and nothing but names of curves may be there",
            ));
        }
        provider.kx_groups = groups;
    }
    Ok(Arc::new(provider))
}

/// Files that certificate and key are read from.
pub(super) fn files(common: &Common<'_>) -> Vec<PathBuf> {
    [common.cert.0, common.key.0]
        .into_iter()
        .flatten()
        .map(Path::to_owned)
        .collect()
}

/// The certificate with its key, if there is one; they must belong together.
pub(super) fn identity(
    common: &Common<'_>,
    provider: &CryptoProvider,
    files: &Files,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(chain) = pem("cert_file", common.cert.0, common.cert.1, files)? else {
        return Ok(None);
    };
    let secret = common.key.1.map(Secret::expose);
    let Some(key) = pem("key_file", common.key.0, secret, files)? else {
        return Ok(None);
    };
    let chain = certificates("cert_file", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TlsError::new("key_file", "holds no private key in PEM"))?;
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| TlsError::new("key_file", format!("does not fit the certificate: {error}")))?;
    Ok(Some(Arc::new(key)))
}

/// What is given as a text, or in a file.
pub(super) fn pem<'a>(
    key: &'static str,
    file: Option<&Path>,
    text: Option<&'a str>,
    files: &'a Files,
) -> Result<Option<&'a [u8]>, TlsError> {
    match (file, text) {
        (Some(file), _) => files
            .get(file)
            .map(Some)
            .map_err(|problem| TlsError::new(key, problem)),
        (None, text) => Ok(text.map(str::as_bytes)),
    }
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError::new(key, "holds no certificate in PEM")),
        Err(error) => Err(TlsError::new(key, format!("is no PEM: {error}"))),
    }
}

/// Adds the authorities of a bundle.
pub(super) fn add_authorities(
    roots: &mut RootCertStore,
    key: &'static str,
    pem: &[u8],
) -> Result<(), TlsError> {
    for certificate in certificates(key, pem)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::new(key, format!("holds what is no authority: {error}")))?;
    }
    Ok(())
}

/// Adds what the system trusts. What it has and cannot be read is passed over, as everywhere.
pub(super) fn add_system(roots: &mut RootCertStore) -> Result<(), TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let problem = "the system has no certificates of authorities";
        return Err(TlsError::new("include_system_ca_certs_pool", problem));
    }
    Ok(())
}
