//! Parts of the access tests: a folder with the web configuration, certificates, and clients.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use collector::http::Limits;
use collector::http::access::Access;
use collector_tests::scratch::{Scratch, scratch};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::endpoint::{Page, Reply, Server};

/// From the documentation of the format, for `fakepassword`: made by other software.
pub const FOREIGN: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A folder with the web configuration and the files that it names. When dropped, it is removed.
pub struct Folder(pub Scratch);

impl Folder {
    pub fn new() -> Folder {
        Folder(scratch())
    }

    /// With a certificate for `localhost` from this authority, and the authority's own certificate.
    pub fn with(authority: &Authority) -> Folder {
        let folder = Folder::new();
        authority.issue(&["localhost", "127.0.0.1"]).write(&folder);
        folder.write("ca.crt", &authority.pem);
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        // Replaced by a rename, as tools that renew certificates do.
        fs::write(self.0.join("new"), text).unwrap();
        fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    pub fn web(&self) -> PathBuf {
        self.0.join("web.yml")
    }

    pub fn serve(&self, web: &str, limits: Limits) -> Server {
        self.write("web.yml", web);
        let access = Access::open(Some(&self.web())).unwrap_or_else(|errors| panic!("{web}: {errors}"));
        Server::with(access, limits, Page::small())
    }

    pub fn refusal(&self, web: &str) -> String {
        self.write("web.yml", web);
        Access::open(Some(&self.web())).err().unwrap_or_else(|| panic!("{web} is taken")).to_string()
    }
}

pub struct Authority {
    pub pem: String,
    pub certificate: CertificateDer<'static>,
    pub issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub pem: String,
    pub key_pem: String,
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

pub fn params(names: &[&str], called: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, called);
    params
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = params(&[], "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Authority { pem: made.pem(), certificate: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let made = params(names, "somebody").signed_by(&key, &self.issuer).unwrap();
        Pair {
            pem: made.pem(),
            key_pem: key.serialize_pem(),
            certificate: made.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    pub fn client(&self) -> Client<'_> {
        Client { authority: self, identity: None, version: None }
    }
}

impl Pair {
    pub fn write(&self, folder: &Folder) {
        folder.write("server.crt", &self.pem);
        folder.write("server.key", &self.key_pem);
    }
}

/// A client that trusts an authority.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub authority: &'a Authority,
    pub identity: Option<&'a Pair>,
    /// The only TLS version that it supports, if set.
    pub version: Option<&'static SupportedProtocolVersion>,
}

impl Client<'_> {
    pub fn shake(&self, server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = self.version.map_or(vec![&TLS13, &TLS12], |version| vec![version]);
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match self.identity {
            Some(pair) => builder.with_client_auth_cert(vec![pair.certificate.clone()], pair.key.clone_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        // As Prometheus and curl offer it.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), server.connect())
    }

    /// The answer, or why there is none.
    pub fn ask(&self, server: &Server, request: &str) -> Result<Reply, String> {
        let mut stream = self.shake(server);
        // In TLS 1.3 a client learns of a refusal when it reads.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => Reply::read(&*bytes).ok_or_else(|| "closed without an answer".to_owned()),
            // After its answer to CONNECT, hyper leaves the connection as it is, without a close.
            Err(error) => {
                let whole = |reply: &Reply| reply.header("content-length") == Some(&*reply.body.len().to_string());
                Reply::read(&*bytes).filter(whole).ok_or_else(|| error.to_string())
            }
        }
    }

    pub fn get(&self, server: &Server, path: &str) -> Result<Reply, String> {
        self.ask(server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
    }

    /// The server's certificate.
    pub fn shown(&self, server: &Server) -> CertificateDer<'static> {
        let mut stream = self.shake(server);
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

pub const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

pub fn users(users: &[(&str, &str)]) -> String {
    users.iter().fold("basic_auth_users:\n".to_owned(), |text, (name, hash)| text + &format!("  {name}: {hash}\n"))
}

pub fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

pub fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("authorization: Basic {encoded}\r\n")
}

pub fn as_user(server: &Server, path: &str, user: &str, password: &str) -> Reply {
    server.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", basic(user, password)))
}
