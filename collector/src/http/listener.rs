//! Where the agent listens: a TCP address, a Unix socket, or what the service manager opened for it. Knows nothing of clients.

use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::privilege;

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Socket send buffer in bytes; the kernel doubles it. Its default grows up to 4 MiB for each client that does not read,
/// charged to the agent's cgroup.
const SEND_BUFFER: usize = 128 * 1024;
/// Everybody may connect: what the socket answers is for all on this host, and its peers have names.
const SOCKET_MODE: u32 = 0o666;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

impl Address {
    pub fn bind(&self) -> Result<Listener, BindError> {
        match self {
            Address::Tcp(address) => Listener::bind(*address),
            Address::Socket(path) => Listener::bind_socket(path),
        }
    }

    /// The label `listener` of `headroom_listener_up`.
    pub fn label(&self) -> &'static str {
        match self {
            Address::Tcp(_) => "tcp",
            Address::Socket(_) => "socket",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A bound address. Connections wait in the kernel until [`serve`](super::serve) takes them.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    address: Address,
    /// The file of a Unix socket, removed with it.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds `address`; port 0 takes any free port. Needs no runtime.
    pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
        let open = || Listener::over_tcp(TcpListener::bind(address)?);
        open().map_err(|error| BindError::new(Address::Tcp(address), error))
    }

    fn over_tcp(socket: TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Listener { address: Address::Tcp(socket.local_addr()?), socket: Socket::Tcp(socket), _file: None })
    }

    /// Creates the socket, and its folder if needed. A socket that nobody listens on any more is replaced; anything else there is not.
    pub fn bind_socket(path: &Path) -> Result<Listener, BindError> {
        Listener::bind_socket_for(path, SOCKET_MODE)
    }

    /// The same for those whom this mode lets connect.
    pub fn bind_socket_for(path: &Path, mode: u32) -> Result<Listener, BindError> {
        let open = || {
            privilege::create_parent(path)?;
            remove_stale(path)?;
            let socket = UnixListener::bind(path)?;
            let file = SocketFile::of(path)?;
            fs::set_permissions(path, Permissions::from_mode(mode))?;
            socket.set_nonblocking(true)?;
            sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(Listener { address: Address::Socket(path.into()), socket: Socket::Unix(socket), _file: Some(file) })
        };
        open().map_err(|error| BindError::new(Address::Socket(path.into()), error))
    }

    /// The listening sockets that the service manager passed on (sd_listen_fds(3)), each once: a second call finds nothing valid.
    pub fn inherited() -> io::Result<Vec<Listener>> {
        let passed = sd_notify::listen_fds()?;
        // SAFETY: the service manager opened these descriptors for this process, and nothing else here owns them.
        passed.map(|fd| Listener::over(unsafe { OwnedFd::from_raw_fd(fd) })).collect()
    }

    fn over(fd: OwnedFd) -> io::Result<Listener> {
        if !sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the service manager passed on a socket that does not listen",
            ));
        }
        let name = rustix::net::getsockname(&fd)?;
        if name.address_family() != AddressFamily::UNIX {
            return Listener::over_tcp(TcpListener::from(fd));
        }
        let path = SocketAddrUnix::try_from(name).ok().and_then(|name| {
            use std::os::unix::ffi::OsStringExt as _;
            Some(PathBuf::from(std::ffi::OsString::from_vec(name.path()?.to_bytes().to_vec())))
        });
        let socket = UnixListener::from(fd);
        socket.set_nonblocking(true)?;
        // The file is the service manager's.
        Ok(Listener { address: Address::Socket(path.unwrap_or_default()), socket: Socket::Unix(socket), _file: None })
    }

    /// Another descriptor of a Unix socket; `None` of anything else. The file goes with the listener.
    pub fn unix(&self) -> Option<io::Result<UnixListener>> {
        match &self.socket {
            Socket::Unix(socket) => Some(socket.try_clone()),
            Socket::Tcp(_) => None,
        }
    }

    /// The address, with the actual port.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The TCP address, with the actual port.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match &self.address {
            Address::Tcp(address) => Some(*address),
            Address::Socket(_) => None,
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // Without waiting: it is somebody's whose queue is full.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&client, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a socket that this process created.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), inode: inode(&fs::symlink_metadata(path)?) })
    }
}

fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another agent may have its own socket there by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| inode(&file) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why an address could not be bound.
#[derive(Debug)]
pub enum BindError {
    InUse(Address),
    /// No such address on this host, a privileged port, or a folder that cannot be written, for example.
    Other(Address, io::Error),
}

impl BindError {
    fn new(address: Address, error: io::Error) -> BindError {
        match error.kind() {
            ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Other(address, error),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InUse(address) => write!(f, "cannot listen on {address}: another process uses it"),
            BindError::Other(address, _) => write!(f, "cannot listen on {address}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::InUse(_) => None,
            BindError::Other(_, error) => Some(error),
        }
    }
}
