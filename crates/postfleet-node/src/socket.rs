//! Listening sockets: TCP and Unix, opened the way every listener scope wants them.

use crate::notices::{Severity, notice};
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockRef, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How a listener's socket is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: i32,
    pub(crate) file_mode: u32,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
}

/// A socket that is listening. A Unix socket's path goes with it.
pub(crate) struct Listening {
    kind: Kind,
}

enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: OwnedPath },
}

struct OwnedPath {
    path: PathBuf,
    inode: u64,
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // Another process may have taken the path over meanwhile; its socket stays.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// An accepted connection.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The address it was accepted at; clients of a Unix socket count as coming from this machine.
    pub(crate) fn local_address(&self) -> SocketAddr {
        match self {
            Self::Tcp(stream) => stream.local_addr().unwrap_or(LOCAL),
            Self::Unix(_) => LOCAL,
        }
    }
}

impl Socket {
    /// Raises the send buffer where it is smaller; a kernel that does not want to is not pressed.
    pub(crate) fn want_send_buffer(&self, bytes: usize) {
        let Self::Tcp(stream) = self else { return };
        let socket = socket2::SockRef::from(stream);
        if socket.send_buffer_size().is_ok_and(|now| now < bytes) {
            let _refused = socket.set_send_buffer_size(bytes);
        }
    }

    /// The user at the other end of a Unix socket.
    pub(crate) fn user(&self) -> Option<String> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => stream.peer_cred().ok().map(|peer| crate::system::user_name(peer.uid())),
        }
    }
}

/// Where clients of a Unix socket come from, as `Peer` stanzas and counts see it.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long accepting pauses after a failure, such as a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Listening {
    pub(crate) fn open(endpoint: &Endpoint, options: &SocketOptions) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => Self::open_tcp(*address, options, false),
            Endpoint::Unix(path) => {
                make_way(path)?;
                let listener = UnixListener::bind(path)?;
                let inode = std::fs::symlink_metadata(path)?.ino();
                let owned = OwnedPath { path: path.clone(), inode };
                // The process runs with umask 0077: until here only its own user could connect.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(options.file_mode))?;
                Ok(Self { kind: Kind::Unix { listener, path: owned } })
            }
        }
    }

    fn open_tcp(address: SocketAddr, options: &SocketOptions, share_port: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(share_port)?;
        if address.is_ipv6() {
            // IPv6 sockets never take IPv4 connections, so that `*:25` and `[*]:25` can coexist.
            socket.set_only_v6(true)?;
        }
        set_buffers(SockRef::from(&socket), options)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Self { kind: Kind::Tcp(listener) })
    }

    /// Opens a socket that the sockets `others` of this process may be in the way of: `*:25` beside `192.0.2.1:25`.
    ///
    /// The system lets two sockets of one user overlap when both say so. They say it for this moment only, so that no
    /// second process can join them unnoticed.
    pub(crate) fn open_beside(
        endpoint: &Endpoint,
        options: &SocketOptions,
        others: &[Arc<Self>],
    ) -> io::Result<Self> {
        let opened = Self::open(endpoint, options);
        let (Err(error), Endpoint::Tcp(address)) = (&opened, endpoint) else { return opened };
        let others: Vec<SockRef<'_>> = others
            .iter()
            .filter(|other| {
                other.local().is_some_and(|local| local.port() == address.port() && local != *address)
            })
            .filter_map(|other| other.tcp())
            .collect();
        if error.kind() != io::ErrorKind::AddrInUse || others.is_empty() {
            return opened;
        }
        let share = |on: bool| others.iter().try_for_each(|other| other.set_reuse_port(on));
        let beside = share(true).and_then(|()| Self::open_tcp(*address, options, true));
        share(false)?;
        let beside = beside?;
        if let Some(socket) = beside.tcp() {
            socket.set_reuse_port(false)?;
        }
        Ok(beside)
    }

    fn tcp(&self) -> Option<SockRef<'_>> {
        match &self.kind {
            Kind::Tcp(listener) => Some(SockRef::from(listener)),
            Kind::Unix { .. } => None,
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix { .. } => None,
        }
    }

    /// Takes new options while connections come in. A buffer size that is no longer set stays as it is.
    pub(crate) fn adopt(&self, options: &SocketOptions) -> io::Result<()> {
        match &self.kind {
            Kind::Tcp(listener) => {
                set_buffers(SockRef::from(listener), options)?;
                SockRef::from(listener).listen(options.backlog)
            }
            Kind::Unix { path, .. } => {
                std::fs::set_permissions(&path.path, std::fs::Permissions::from_mode(options.file_mode))
            }
        }
    }

    /// A connection that the system has accepted and nobody has taken yet.
    fn waiting(&self) -> Option<(Socket, SocketAddr)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (socket, peer) = SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                socket.set_tcp_nodelay(true).ok()?;
                Some((Socket::Tcp(TcpStream::from_std(socket.into()).ok()?), peer.as_socket()?))
            }
            Kind::Unix { listener, .. } => {
                let (socket, _) = SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                Some((Socket::Unix(UnixStream::from_std(socket.into()).ok()?), LOCAL))
            }
        }
    }

    async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are written whole; waiting for more to send would only delay them.
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), peer))
            }
            Kind::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), LOCAL))
            }
        }
    }

    /// Accepts until the socket is to be closed, and serves each connection in a task of its own. Connections that
    /// have been made until then are served.
    pub(crate) async fn serve<F>(
        &self,
        name: &str,
        closing: impl Future<Output = ()>,
        mut connection: impl FnMut(Socket, SocketAddr) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut failing = false;
        let mut closing = std::pin::pin!(closing);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut closing => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    if std::mem::take(&mut failing) {
                        notice(Severity::Notice, format_args!("{name}: connections are accepted again"));
                    }
                    drop(tokio::spawn(connection(socket, peer)));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        notice(
                            Severity::Error,
                            format_args!(
                                "{name}: cannot accept connections: {error}; trying again until it works"
                            ),
                        );
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while let Some((socket, peer)) = self.waiting() {
            drop(tokio::spawn(connection(socket, peer)));
        }
    }
}

/// Reading and writing of a type that is one of several streams.
macro_rules! one_of_streams {
    ($name:ident { $($variant:ident),+ }) => {
        impl tokio::io::AsyncRead for $name {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $(Self::$variant(stream) => std::pin::Pin::new(stream).poll_read(cx, buffer)),+ }
            }
        }

        impl tokio::io::AsyncWrite for $name {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() { $(Self::$variant(stream) => std::pin::Pin::new(stream).poll_write(cx, bytes)),+ }
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $(Self::$variant(stream) => std::pin::Pin::new(stream).poll_flush(cx)),+ }
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $(Self::$variant(stream) => std::pin::Pin::new(stream).poll_shutdown(cx)),+ }
            }
        }
    };
}
pub(crate) use one_of_streams;

one_of_streams!(Socket { Tcp, Unix });

fn set_buffers(socket: SockRef<'_>, options: &SocketOptions) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

/// Removes a dead socket of ours at `path`. Anything else there is an error: it is not ours to remove.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let taken = |why: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {why}", path.display()));
    if !found.file_type().is_socket() {
        return Err(taken("something that is not a socket is in the way; move it"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(taken("a socket of another user is in the way"));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(taken("another process is listening there; stop it or choose another path"));
    }
    std::fs::remove_file(path)
}

/// Makes everything that this process creates private unless it is opened up on purpose.
pub(crate) fn set_private_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}
