//! Authorities and certificates that tests make for themselves, in PEM and as files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("ring makes keys");
        let pem = params.self_signed(&key).expect("an authority signs itself").pem();
        let issuer = Issuer::new(params, key);
        Authority { issuer, pem }
    }

    /// Its own certificate, which whoever trusts it has.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names that certificates can have");
        let key = KeyPair::generate().expect("ring makes keys");
        let signed = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Certificate {
            chain: signed.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Certificate {
    /// Writes `NAME.pem` and `NAME.key` into a folder, over those that are there.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        write(&certificate, &self.chain);
        write(&key, &self.key);
        (certificate, key)
    }
}

/// In one step, as certificates should be changed.
pub fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a folder of the test can be written to");
    std::fs::rename(&new, path).expect("a file of the test can be replaced");
}
