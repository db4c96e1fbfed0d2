//! Server certificates and verification of client certificates. Knows PEM and TLS; not when files are read.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::file::{ClientAuth, File, Tls, Version};
use crate::config::error::Error;

/// Contents of the PEM files that the configuration names.
#[derive(Clone, Default, PartialEq)]
pub struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

impl Pem {
    pub fn read(file: &File, tls: &Tls) -> Result<Pem, Error> {
        let read = |key: &str, path: &Path| {
            std::fs::read(path).map_err(|error| wrong(file, key, format!("{} cannot be read: {error}", path.display())))
        };
        Ok(Pem {
            certificate: read("cert_file", &tls.cert_file)?,
            key: read("key_file", &tls.key_file)?,
            authorities: match &tls.client_ca_file {
                Some(path) => read("client_ca_file", path)?,
                None => Vec::new(),
            },
        })
    }

    /// The TLS configuration with these certificates.
    pub fn server(&self, file: &File, tls: &Tls) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(tls))
            .map_err(|error| wrong(file, "min_version", error.to_string()))?;
        let builder = match self.clients(file, tls, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificate)
            .map_err(|why| wrong(file, "cert_file", format!("{}: {why}", tls.cert_file.display())))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| wrong(file, "key_file", format!("{}: {error}", tls.key_file.display())))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let files = format!("{} and {}", tls.cert_file.display(), tls.key_file.display());
            wrong(file, "cert_file", format!("{files}: {error}"))
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn clients(
        &self,
        file: &File,
        tls: &Tls,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        let (ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert, Some(path)) =
            (tls.client_auth_type, &tls.client_ca_file)
        else {
            return Ok(None);
        };
        let refused = |why: String| wrong(file, "client_ca_file", format!("{}: {why}", path.display()));
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authorities).map_err(refused)? {
            roots.add(authority).map_err(|error| refused(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match tls.client_auth_type {
            ClientAuth::VerifyClientCertIfGiven => builder.allow_unauthenticated(),
            _ => builder,
        };
        let verifier = builder.build().map_err(|error| refused(error.to_string()))?;
        Ok(Some(match &tls.client_allowed_sans {
            Some(names) => Arc::new(NameVerifier { names: names.clone(), verifier }),
            None => verifier,
        }))
    }
}

fn wrong(file: &File, key: &str, text: String) -> Error {
    file.error(&format!("tls_server_config.{key}"), text)
}

fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    let (min, max) = (tls.min_version.unwrap_or(Version::TLS12), tls.max_version.unwrap_or(Version::TLS13));
    let all = [(Version::TLS13, &TLS13), (Version::TLS12, &TLS12)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("contains no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// Accepts valid certificates with one of these subject alternative names.
#[derive(Debug)]
struct NameVerifier {
    names: Vec<String>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl NameVerifier {
    fn has_allowed_name(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
        names.value.general_names.iter().any(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                self.names.iter().any(|allowed| allowed == name)
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
                address.is_ok_and(|address| self.names.iter().any(|allowed| allowed.parse() == Ok(address)))
            }
            _ => false,
        })
    }
}

impl ClientCertVerifier for NameVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.verifier.verify_client_cert(certificate, intermediates, now)?;
        match self.has_allowed_name(certificate) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
