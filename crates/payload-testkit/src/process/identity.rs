//! Certificates for tests of encrypted connections: an authority of the test's own, and what it vouches for.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows to its guests.
#[derive(Clone, Debug)]
pub struct Identity {
    /// In PEM.
    pub certificate: String,
    /// In PEM.
    pub key: String,
}

impl Authority {
    /// One that nobody believes yet.
    ///
    /// # Panics
    ///
    /// If the machine has no random numbers.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority vouches for itself"))
    }

    /// What its believers need, in PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Vouches for a host.
    ///
    /// # Panics
    ///
    /// If that is no name of a host.
    pub fn identity(&self, host: &str) -> Identity {
        let params = CertificateParams::new([host.to_owned()]).expect("hosts have names");
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.0).expect("the authority can sign");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
